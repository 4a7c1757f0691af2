"""The environment variables that configure the library; there are no others of this prefix."""

from __future__ import annotations

import difflib
import os
import re

from alembic_snapshot.errors import ConfigError

PREFIX = "ALEMBIC_SNAPSHOT_"
BACKEND_VARIABLE = "ALEMBIC_SNAPSHOT_BACKEND"
STORE_VARIABLE = "ALEMBIC_SNAPSHOT_DIR"
REMOTE_VARIABLE = "ALEMBIC_SNAPSHOT_REMOTE"
REMOTE_WRITE_VARIABLE = "ALEMBIC_SNAPSHOT_REMOTE_WRITE"
SCOPE_VARIABLE = "ALEMBIC_SNAPSHOT_REMOTE_SCOPE"
KEY_VARIABLE = "ALEMBIC_SNAPSHOT_REMOTE_SIGNING_KEY"
_CONFIGURING = {value for name, value in globals().items() if name.endswith("_VARIABLE")}
# What one process of the library tells another.
PLACEHOLDERS = "ALEMBIC_SNAPSHOT_PLACEHOLDERS"
PROBE = "ALEMBIC_SNAPSHOT_PROBE"
PROBE_SECONDS = "ALEMBIC_SNAPSHOT_PROBE_SECONDS"
_OWN = {PLACEHOLDERS, PROBE, PROBE_SECONDS}
_NEARLY_PREFIX = re.compile(r"ALEMBIC_?SNAPSHOTS?_", re.I)
# Options whose variable has another name, or which have none.
_AS_OPTIONS = {
    "STORE": f"did you mean {STORE_VARIABLE}?",
    "NO_REMOTE": "give a command --no-remote, and pytest --snapshot-no-remote",
}


def refuse_unknown() -> None:
    """Refuse a variable that begins as the library's do and that nobody reads.

    Raises:
        ConfigError: it names the one that may be meant.
    """
    for name in sorted(os.environ):
        start = _NEARLY_PREFIX.match(name)
        if start and name not in _CONFIGURING | _OWN:
            _refuse(name, name[start.end() :].upper())


def _refuse(name: str, rest: str) -> None:
    from alembic_snapshot.postgres.private.folder import VARIABLE as SERVER_VARIABLE

    if name == SERVER_VARIABLE:
        return
    parts = {one.removeprefix(PREFIX): one for one in sorted({*_CONFIGURING, SERVER_VARIABLE})}
    near = difflib.get_close_matches(rest, parts, 1, 0.5)
    hint = f"did you mean {parts[near[0]]}?" if near else f"known are {', '.join(parts.values())}"
    raise ConfigError(f"there is no variable {name}", hint=_AS_OPTIONS.get(rest, hint))
