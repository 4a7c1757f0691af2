"""A database's file packed with Zstandard, and unpacked to no more than its known size."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PART = 1 << 20
_LEVEL = 3


class Damaged(Exception):
    """What was unpacked is not what it has to be; the text says why."""


def pack(source: Path, target: Path) -> int:
    """Write a packed copy of a file; its size in bytes."""
    zstd = zstd_module()
    with open(source, "rb") as plain, zstd.open(target, "wb", level=_LEVEL) as packed:
        while part := plain.read(_PART):
            packed.write(part)
    return target.stat().st_size


def unpack(parts: Iterable[bytes], target: Path, size: int, sha256: str) -> None:
    """Write the content of packed parts to a file, which has to have that size and hash.

    Never more than ``size`` bytes are written, or held.

    Raises:
        Damaged: it is of another size, has another hash, or can't be unpacked.
    """
    zstd = zstd_module()
    unpacker = zstd.ZstdDecompressor()
    written, digest = 0, hashlib.sha256()
    with open(target, "wb") as file:
        for part in parts:
            waiting = bytes(part)
            while (waiting or not unpacker.needs_input) and not unpacker.eof:
                # One byte more than there may be tells that there is more.
                room = min(_PART, size - written + 1)
                try:
                    plain = unpacker.decompress(waiting, max_length=room)
                except zstd.ZstdError:
                    raise Damaged("its content can't be unpacked") from None
                waiting = b""
                written += len(plain)
                if written > size:
                    raise Damaged("its content is larger than its record says")
                digest.update(plain)
                file.write(plain)
    if written < size:
        raise Damaged("its content is cut off")
    if digest.hexdigest() != sha256:
        raise Damaged("its content is another one than its record says")


def zstd_module() -> Any:
    """The standard library's module, or what stands for it before Python 3.14."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
