"""What a test asks of its database: the arguments of the ``db_clone`` marker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from alembic_snapshot.errors import ConfigError


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
        chosen = self.contents + (["readonly=…"] if self.readonly and self.empty else [])
        if len(chosen) > 1:
            raise ConfigError(
                f"a clone can't have {' and '.join(chosen)} at once",
                hint="a layer is on top of the newest revision; an empty database has neither",
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

        Raises:
            ConfigError: an argument is unknown, or two contradict each other.
        """
        arguments: dict[str, Any] = {}
        for marker in item.iter_markers("db_clone"):
            if marker.args:
                raise _refused("the db_clone marker", ", ".join(map(repr, marker.args)))
            arguments = {**marker.kwargs, **arguments}
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
