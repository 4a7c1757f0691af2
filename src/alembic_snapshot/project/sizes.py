"""Sizes as people write them: ``5 GB``."""

from __future__ import annotations

import re

from alembic_snapshot.errors import ConfigError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b", re.IGNORECASE)
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}


def bytes_of(text: str) -> int:
    """The bytes of a size.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return int(float(match[1]) * _UNITS[match[2].lower()])


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
