"""What can go wrong in Atom: one base, and errors that carry their facts."""


class AtomError(Exception):
    """The base of every error that Atom raises on purpose."""


class NotFound(AtomError):
    """Something was asked for by its id and is not there."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"{kind} {key!r} does not exist")
        self.kind = kind
        self.key = key
