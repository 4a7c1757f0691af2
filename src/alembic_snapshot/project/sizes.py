"""Sizes as people write them: ``5 GB``."""

from __future__ import annotations

import re

from alembic_snapshot.errors import ConfigError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b", re.IGNORECASE)
_UNITS = " kmgt"


def bytes_of(text: str) -> int:
    """The bytes of a size.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    unit = (1024 if match[3] else 1000) ** _UNITS.index(match[2].lower() or " ")
    return int(float(match[1]) * unit)


def check_size(text: str | None, what: str) -> None:
    """See that a text is a size, if there is one.

    Raises:
        ConfigError: it is none.
    """
    try:
        bytes_of(text if text is not None else "0 B")
    except ValueError:
        raise ConfigError(
            f"{what} is {text!r}, which is no size", hint="write for example 500 MB or 5 GB"
        ) from None
