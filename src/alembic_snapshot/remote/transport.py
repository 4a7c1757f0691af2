"""An object store as this package needs it: small reads, conditional writes, streams."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from alembic_snapshot.errors import StoreError
from alembic_snapshot.remote.settings import may_be_plain

_CONNECT, _REQUEST = timedelta(seconds=5), timedelta(seconds=300)
_RETRIES = 1
_PART = 1 << 20
# Characters of what a server says.
_LONGEST = 800
# What S3, Google and Azure call it when not only the object is missing.
_NO_BUCKET = re.compile(r"\b(NoSuchBucket|ContainerNotFound)\b")


class Found(NamedTuple):
    """An object: its bytes, when the server says that it was written, and its version there."""

    content: bytes
    modified: datetime
    version: str | None


class TooLarge(Exception):
    """An object is larger than any of its kind."""


class Transport:
    """An object store by its URL, with the credentials that its provider's variables name.

    Raises:
        StoreError: whatever a store refuses or does not answer, from every method.
    """

    def __init__(self, url: str):
        self.url = url
        with _told(url):
            self._store = _opened(url)

    def read(self, path: str, limit: int) -> Found | None:
        """An object, None if there is none.

        Raises:
            TooLarge: it has more than ``limit`` bytes.
        """
        import obstore

        with _told(self.url):
            try:
                result = obstore.get(self._store, path)
                if result.meta["size"] > limit:
                    raise TooLarge
                content = bytes(result.bytes())
            except FileNotFoundError as error:
                _see_that_the_bucket_exists(error)
                return None
            return Found(content, result.meta["last_modified"], result.meta.get("e_tag"))

    def stream(self, path: str, limit: int) -> Iterator[bytes] | None:
        """The parts of an object, None if there is none.

        Raises:
            TooLarge: it has more than ``limit`` bytes.
        """
        import obstore

        with _told(self.url):
            try:
                result = obstore.get(self._store, path)
            except FileNotFoundError as error:
                _see_that_the_bucket_exists(error)
                return None
            if result.meta["size"] > limit:
                raise TooLarge
            return self._parts(result)

    def size(self, path: str) -> int | None:
        """The bytes of an object, None if there is none."""
        import obstore

        with _told(self.url):
            try:
                return int(obstore.head(self._store, path)["size"])
            except FileNotFoundError:
                return None

    def create(self, path: str, content: bytes | Path) -> bool:
        """Write an object if there is none; whether there was none."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with _told(self.url):
            try:
                obstore.put(self._store, path, content, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

    def write(self, path: str, content: bytes | Path) -> None:
        """Write an object, whatever is there."""
        import obstore

        with _told(self.url):
            obstore.put(self._store, path, content, mode="overwrite")

    def replace(self, path: str, content: bytes, version: str | None) -> bool:
        """Write an object if it is still the version that was read; whether it was.

        Folders have no such condition: there it is deleted, and written if there is none.
        """
        import obstore
        from obstore.exceptions import PreconditionError

        with _told(self.url):
            try:
                obstore.put(self._store, path, content, mode={"e_tag": version})
                return True
            except (PreconditionError, FileNotFoundError):
                return False
            except NotImplementedError:
                self.delete(path)
        return self.create(path, content)

    def delete(self, path: str) -> None:
        """Delete an object, if it is there."""
        import obstore

        with _told(self.url), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, path)

    def list(self, prefix: str) -> list[str]:
        """The paths of the objects below a prefix."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """The bytes of the objects below a prefix, by their paths."""
        import obstore

        with _told(self.url):
            found: Iterable[Any] = obstore.list(self._store, prefix)
            return {meta["path"]: int(meta["size"]) for part in found for meta in part}

    def _parts(self, result: Any) -> Iterator[bytes]:
        with _told(self.url):
            for part in result.stream(min_chunk_size=_PART):
                yield bytes(part)


class _told:
    """Tells what a store's library raises as our error, in one line."""

    def __init__(self, url: str):
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, StoreError | TooLarge) or not isinstance(error, Exception):
            return
        _see_that_the_bucket_exists(error)
        # The first line is for readers; what follows is how the library sees it inside.
        text = str(error).split("\n\nDebug source", 1)[0]
        # A server can answer with anything, of any length.
        text = " ".join(text.split())
        text = text[:_LONGEST] + "…" if len(text) > _LONGEST else text
        raise StoreError(
            f"{_kind_of(error)}{text}",
            hint="are the address and the credentials right?",
        ) from error


def _see_that_the_bucket_exists(error: Exception) -> None:
    """Tell a bucket that does not exist from an object that does not.

    Raises:
        StoreError: the error is about the bucket.
    """
    if code := _NO_BUCKET.search(str(error)):
        raise StoreError(
            f"its bucket or container does not exist ({code[0]})",
            hint="make it, or mend the address: s3://BUCKET/PREFIX, az://CONTAINER/PREFIX",
        ) from error


def _kind_of(error: Exception) -> str:
    from obstore import exceptions

    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return "permission denied: "
    return ""


def _opened(url: str) -> Any:
    from obstore.store import LocalStore, from_url

    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        folder = Path(urllib.parse.unquote(parts.path))
        if not folder.is_dir():
            # Made here, it would be one that nobody shares: a slip, or a share that is not mounted.
            raise StoreError(
                f"its folder {folder} does not exist", hint="make it, or mount what it is on"
            )
        return LocalStore(folder, automatic_cleanup=False)
    if parts.scheme == "memory":
        return from_url("memory:///")
    options: dict[str, Any] = {"connect_timeout": _CONNECT, "timeout": _REQUEST}
    if may_be_plain(url):
        options["allow_http"] = True
    config: dict[str, Any] = {}
    if parts.scheme in ("s3", "s3a") and "AWS_REGION" not in os.environ:
        config["region"] = os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
    retries: Any = {"max_retries": _RETRIES, "retry_timeout": _CONNECT}
    open_url: Any = from_url
    return open_url(url, config=config or None, client_options=options, retry_config=retries)
