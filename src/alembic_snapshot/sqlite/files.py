"""Files of SQLite databases: copied, put in the place of others, deleted with what is beside."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from pathlib import Path

from alembic_snapshot.errors import CloneError

_SIDE_FILES = ("-journal", "-wal", "-shm")
_PART = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h


def copy(source: Path, target: Path) -> None:
    """Copy a sealed database, sharing its blocks where the file system can.

    Raises:
        CloneError: the target can't be written; nothing is left there.
        FileNotFoundError: the source isn't there.
    """
    try:
        _copy_content(source, target)
    except OSError as error:
        if error.errno == errno.ENOENT and error.filename == str(source):
            raise FileNotFoundError(error.errno, error.strerror, str(source)) from error
        remove(target)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise CloneError(
            f"can't copy the snapshot to {target}: {error.strerror}",
            hint="make room on the disk" if full else "may this user write there?",
        ) from error


def replace(source: Path, target: Path) -> None:
    """Put a writable copy of a sealed database at ``target``, whole or not at all.

    Raises:
        CloneError: the target can't be written; what was there is as it was.
    """
    temporary = target.parent / f".{target.name}.{os.getpid()}"
    try:
        _refuse_as_target(target, source)
        copy(source, temporary)
        for side in side_files(target):
            side.unlink(missing_ok=True)
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            remove(temporary)
        raise CloneError(
            f"can't put a copy of the snapshot at {target}: {error.strerror}",
            hint="give another path",
        ) from error


def remove(path: Path) -> None:
    """Delete a database and its side files, as far as they are there."""
    for name in (path, *side_files(path)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            _Real.unlink(str(name))


def side_files(path: Path) -> list[Path]:
    """The names that SQLite may give to files beside a database."""
    return [path.with_name(path.name + suffix) for suffix in _SIDE_FILES]


def _refuse_as_target(target: Path, source: Path) -> None:
    if target.is_dir():
        raise CloneError(f"{target} is a folder", hint="give the path of a file")
    if not target.absolute().parent.is_dir():
        raise CloneError(f"there is no folder {target.absolute().parent}", hint="make it first")
    if target.exists() and not target.is_file():
        # A device or a pipe: whoever may, root for one, would put a file in its place.
        raise CloneError(f"{target} is no regular file", hint="give the path of a file")
    if target.exists() and target.samefile(source):
        raise CloneError(f"{target} is the snapshot itself", hint="give another path")


class _Real:
    """The system's own functions, whatever a test puts in their place."""

    open, close, fstat = staticmethod(os.open), staticmethod(os.close), staticmethod(os.fstat)
    read, write, unlink = staticmethod(os.read), staticmethod(os.write), staticmethod(os.unlink)
    sendfile, ioctl = staticmethod(os.sendfile), staticmethod(fcntl.ioctl)


def _copy_content(source: Path, target: Path) -> None:
    """Copy a file's content into another, made anew; its blocks are shared if they can be."""
    original = _Real.open(str(source), os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        copied = _Real.open(str(target), flags, 0o666)
        try:
            if not _reflink(original, copied, str(target.parent)):
                _pump(original, copied)
        finally:
            _Real.close(copied)
    finally:
        _Real.close(original)


def _pump(original: int, copied: int) -> None:
    if sys.platform == "linux":
        offset, size = 0, _Real.fstat(original).st_size
        while sent := _Real.sendfile(copied, original, offset, size - offset) if size else 0:
            offset += sent
        return
    while part := _Real.read(original, _PART):
        while part:
            part = part[_Real.write(copied, part) :]


def _reflink(original: int, copied: int, folder: str) -> bool:
    if sys.platform != "linux" or not _can_reflink(folder):
        return False
    try:
        _Real.ioctl(copied, _FICLONE, original)
    except OSError:
        _without_reflink.add(folder)
        return False
    return True


# The folders where sharing blocks was tried and refused: ext4 and tmpfs have no such thing.
_without_reflink: set[str] = set()


def _can_reflink(folder: str) -> bool:
    return folder not in _without_reflink
