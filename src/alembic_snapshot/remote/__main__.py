"""The process that talks to a shared store: a line of JSON for each question, one for each answer.

A process of its own can be ended when a server does not answer, leaves no threads in a run of
pytest, and is not reached by what tests fake. It ends when its standard input is closed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alembic_snapshot.errors import SnapshotError, StoreError
from alembic_snapshot.remote.exchange import Exchange, Looked
from alembic_snapshot.remote.lease import Lease
from alembic_snapshot.remote.record import NotVerified, Record, signer_of
from alembic_snapshot.remote.transport import Transport
from alembic_snapshot.store.manifest import Manifest


class Answers:
    """The answers of one process: one method for each question."""

    def __init__(self, job: Mapping[str, Any]):
        self._exchange = Exchange(
            Transport(job["url"]), job["scope"], job["keys"], job["signing_key"]
        )
        self._leases: dict[str, Lease] = {}

    def begin(self) -> dict[str, Any]:
        """Who signs what this process writes."""
        return {"signer": signer_of(self._exchange.signing_key)}

    def look(self, digests: list[str], scopes: list[str]) -> dict[str, Any]:
        """The records of snapshots."""
        return _told(self._exchange.look(digests, scopes))

    def listed(self, scopes: list[str]) -> dict[str, Any]:
        """Every record."""
        return _told(self._exchange.listed(scopes))

    def signers(self, scopes: list[str], digest: str = "") -> dict[str, Any]:
        """Who has signed records."""
        return self._exchange.signers(scopes, digest)._asdict()

    def fetch(self, record: Mapping[str, Any], target: str) -> dict[str, Any]:
        """A record's content, into a file."""
        return {"why": self._exchange.fetch(Record.from_values(record), Path(target))}

    def lacks(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Why a record's content can't be fetched."""
        return {"why": self._exchange.lacks(Record.from_values(record))}

    def distrust(self, sha256: str) -> dict[str, Any]:
        """Note a content that turned out not to be what it has to be."""
        self._exchange.bad.add(sha256)
        return {}

    def publish(self, manifest: str, file: str, workspace: str) -> dict[str, Any]:
        """Put a snapshot there; ``why`` says why it can't be."""
        whole = Manifest.from_json(manifest)
        try:
            is_new = self._exchange.publish(whole, Path(file), Path(workspace))
        except NotVerified as error:
            return {"is_new": False, "why": str(error)}
        return {"is_new": is_new, "why": None}

    def take(self, digest: str) -> dict[str, Any]:
        """Take the lease of a build, if nobody else has it; ``why`` says why it can't be taken.

        What can't be written can be read all the same.
        """
        try:
            return {"is_held": self._lease(digest, self._exchange.scope).take(), "why": None}
        except StoreError as error:
            return {"is_held": False, "why": error.message}

    def wait(self, digest: str, scopes: list[str], patience: float) -> dict[str, Any]:
        """Wait until another process has put a snapshot there, or does not build it any more."""
        until = time.monotonic() + patience
        for scope in scopes:
            lease = self._lease(digest, scope)
            if scope == self._exchange.scope or lease.is_held_by_another():
                return {"end": lease.wait(until, lambda: self._is_there(digest, scopes))}
        return {"end": "free"}

    def release(self, digest: str) -> dict[str, Any]:
        """Let others have the lease."""
        self._lease(digest, self._exchange.scope).release()
        return {}

    def _lease(self, digest: str, scope: str) -> Lease:
        name = f"{scope} {digest}"
        if name not in self._leases:
            self._leases[name] = Lease(self._exchange.objects, scope, digest)
        return self._leases[name]

    def _is_there(self, digest: str, scopes: list[str]) -> bool:
        return bool(self._exchange.look([digest], scopes).records)


def _told(looked: Looked) -> dict[str, Any]:
    records = [record.to_values() for record in looked.records]
    return {"records": records, "rejected": looked.rejected}


def main() -> None:
    """Answer until nobody asks any more."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # What a library prints is no answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    answers: Answers | None = None
    for line in sys.stdin:
        question = json.loads(line)
        do = question.pop("do")
        try:
            if do == "begin":
                answers = Answers(question)
                question = {}
            method: Callable[..., dict[str, Any]] = getattr(answers, do)
            answer = method(**question)
        except ImportError as error:
            answer = {"missing": error.name or str(error)}
        except (SnapshotError, OSError, ValueError) as error:
            answer = {"error": getattr(error, "message", None) or str(error)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        output.write(json.dumps(answer) + "\n")
        output.flush()
    # Threads of the store's library are not waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
