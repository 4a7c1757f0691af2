#!/usr/bin/env python3
"""Make the application's test database: its migrations, run once into a snapshot.

Prints the snapshot's path; quick when nothing has changed since the last time.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from alembic_snapshot import SnapshotError, ensure, load_project
from alembic_snapshot.build.lookup import look_up
from alembic_snapshot.build.progress import Progress
from alembic_snapshot.cli import console
from alembic_snapshot.sqlite.files import replace


def main(arguments: list[str] | None = None) -> int:
    """Build, or print the key; the exit status is 2 after an error, 130 after an interrupt."""
    options = _parser().parse_args(arguments)
    with console.unfailing_error():
        try:
            console.prepare()
            _make(options)
            console.finish()
        except SnapshotError as error:
            console.report(error, traceback=options.traceback)
            return 2
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    return 0


def _make(options: argparse.Namespace) -> None:
    root = Path(__file__).resolve().parents[1]
    project = load_project(root, config=options.config, store=options.store)
    if options.key:
        _tell(look_up(project).chain.target.digest)
        return
    with Progress(quiet=options.quiet) as progress:
        snapshot = ensure(project, listener=progress)
    if options.out:
        replace(snapshot.path, options.out)
    # A path; on PostgreSQL, a name.
    _tell(str(snapshot.database))


def _tell(result: str) -> None:
    try:
        print(result)
    except OSError as error:
        raise console.broken(error) from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"error: {message}\nhint: {self.prog} --help lists the options\n")


def _given_path(text: str) -> Path:
    """A path; an empty one, which an unset variable leaves, would be the working directory."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(description=__doc__)
    parser.add_argument(
        "--out", type=_given_path, metavar="PATH", help="also put a copy here, over what is there"
    )
    parser.add_argument("--key", action="store_true", help="print the digest; build nothing")
    parser.add_argument("--config", type=_given_path, metavar="PATH", help="another alembic.ini")
    parser.add_argument("--store", type=_given_path, metavar="DIR", help="where snapshots are kept")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress")
    parser.add_argument("--traceback", action="store_true", help="show the whole of an error")
    return parser


if __name__ == "__main__":
    status = main()
    # To take down what was imported would take a tenth of the time that a hit takes.
    os._exit(status)
