"""What a test asks of its database: the arguments of the ``db_clone`` marker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from alembic_snapshot.errors import ConfigError

# Two arguments of which a clone can't have both.
_AGAINST = [
    {"layer", "revision"},
    {"layer", "empty"},
    {"revision", "empty"},
    {"empty", "readonly"},
]


class Shared(NamedTuple):
    """A clone for several tests: the fixture's name, and the node of pytest that is its scope."""

    name: str
    node: Any


@dataclass(frozen=True)
class CloneOptions:
    """What a test asks of its database; the arguments of the marker.

    Raises:
        ConfigError: two of them contradict each other, or one is of the wrong type.
    """

    layer: str | None = None
    revision: str | None = None
    empty: bool = False
    durable: bool = False
    readonly: bool = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            is_name = name in ("layer", "revision")
            if not isinstance(value, str | None if is_name else bool):
                raise ConfigError(
                    f"db_clone does not take {name}={value!r}",
                    hint=f"{name} is " + ("one name, in quotes" if is_name else "True or False"),
                )
        if len(self.contents) > 1:
            raise ConfigError(
                f"a clone can't have {' and '.join(self.contents)} at once",
                hint="a layer is on top of the newest revision; an empty database has neither",
            )
        if self.empty and self.readonly:
            raise ConfigError(
                "a clone can't have empty=True and readonly=True at once",
                hint="an empty database is there to be written to: leave readonly=True out",
            )

    @classmethod
    def of(cls, arguments: Mapping[str, Any], who: str = "db_clone") -> CloneOptions:
        """What these arguments of the marker, or of ``who`` takes the same, ask for.

        Raises:
            ConfigError: one is unknown, or two contradict each other.
        """
        unknown = arguments.keys() - set(_NAMES)
        if unknown:
            raise _refused(who, ", ".join(sorted(unknown)))
        return cls(**arguments)

    @classmethod
    def of_test(cls, item: pytest.Item) -> CloneOptions:
        """What a test's markers ask for; a nearer marker's arguments win.

        They win over those of the same name, and over those that contradict them.

        Raises:
            ConfigError: an argument is unknown, or two contradict each other.
        """
        arguments: dict[str, Any] = {}
        for marker in reversed([*item.iter_markers("db_clone")]):
            if marker.args:
                raise _refused("the db_clone marker", ", ".join(map(repr, marker.args)))
            cls.of(marker.kwargs)
            chosen = {name for name, value in marker.kwargs.items() if value}
            beaten = {name for pair in _AGAINST if pair & chosen for name in pair}
            farther = {name: arguments[name] for name in arguments.keys() - beaten}
            arguments = {**farther, **marker.kwargs}
        return cls.of(arguments)

    @property
    def key(self) -> tuple[str | None, str | None]:
        """Which snapshot it is about."""
        return self.layer, self.revision

    @property
    def contents(self) -> list[str]:
        """The arguments that say what is in the database to begin with."""
        return [f"{name}=…" for name in ("layer", "revision", "empty") if getattr(self, name)]


_NAMES = tuple(sorted(one.name for one in dataclasses.fields(CloneOptions)))


def _refused(who: str, arguments: str) -> ConfigError:
    return ConfigError(
        f"{who} does not take {arguments}",
        hint=f"it takes {', '.join(_NAMES)}, by name",
    )
