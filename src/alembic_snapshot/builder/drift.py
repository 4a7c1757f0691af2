"""The findings of `alembic check`: the operations that autogenerate would write, a line each.

The comparison is Alembic's own, with the options and the hooks of the project's ``env.py``. An
operation that can't be described in full is a line all the same.
"""

from __future__ import annotations

import contextlib
import functools
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from alembic.autogenerate import RevisionContext
from alembic.config import CommandLine
from alembic.script import ScriptDirectory

from alembic_snapshot.builder.alembic_config import Config
from alembic_snapshot.builder.options import no_metadata_in
from alembic_snapshot.builder.protocol import Job
from alembic_snapshot.checks import NO_METADATA

# What `alembic check` asks of a new revision.
_ARGUMENTS: dict[str, Any] = {
    "message": None,
    "autogenerate": True,
    "sql": False,
    "head": "head",
    "splice": False,
    "branch_label": None,
    "version_path": None,
    "rev_id": None,
    "depends_on": None,
}


class NotCompared(Exception):
    """The models were not compared with the schema; the message says why."""


class Comparison:
    """One run of `alembic check`; ``is_begun`` says whether ``env.py`` began to compare.

    ``error`` is what kept it from that, if it was one.
    """

    def __init__(self, config: Config, script: ScriptDirectory, job: Job):
        self.is_begun = False
        self.error: BaseException | None = None
        self._failure: BaseException | None = None
        self._config = config
        self._job = job
        self._revisions = RevisionContext(config, script, dict(_ARGUMENTS))

    def run(self, run_env: Callable[..., None]) -> tuple[list[str], str | None]:
        """The operations that were found, a line each, or why there could be no comparison."""
        job, before = self._job, self._config.__dict__["_cmd_opts"]
        if job.handover != "api":
            self._config.cmd_opts = functools.partial(command_line, job.ini, job.section, job.x)
        try:
            run_env(self._compare, self._options)
            return self._lines(), None
        except NotCompared as why:
            return [], str(why)
        except (Exception, SystemExit) as error:
            # An env.py may run only inside what migrate sets up, an application's context.
            self.error = error
            told = str(getattr(error, "orig", None) or error)
            return [], " ".join(f"{type(error).__name__}: {told}".split())
        finally:
            self._config.cmd_opts = before

    @property
    def _options(self) -> dict[str, Any]:
        """The options of an environment of `alembic check`, beside its function."""
        return {
            "as_sql": False,
            "template_args": self._revisions.template_args,
            "revision_context": self._revisions,
        }

    def _compare(self, revision: Any, context: Any) -> list[Any]:
        """Compare with the models as ``env.py`` gives them, for each of its databases once."""
        self.is_begun = True
        try:
            if context.opts.get("target_metadata") is None:
                raise NotCompared(NO_METADATA)
            other = no_metadata_in(context.opts)
            if other is not None:
                raise NotCompared(other)
            self._revisions.run_autogenerate(revision, context)
        except BaseException as error:
            # Whatever env.py makes of it.
            self._failure = error
            raise
        return []

    def _lines(self) -> list[str]:
        if self._failure:
            raise self._failure
        if not self.is_begun:
            raise NotCompared("env.py ran no migrations")
        # A hook may take away every revision: then there is nothing that it wants to be written.
        scripts = self._revisions.generated_revisions[-1:]
        lines = [
            line for script in scripts for ops in script.upgrade_ops_list for line in _lines(ops)
        ]
        # Alembic finds some of them in sets.
        return sorted(lines)


def command_line(ini: str | None, section: str, x: Sequence[str]) -> Namespace:
    """The arguments that Alembic's command line hands to ``env.py`` for `alembic check`."""
    arguments = ["-n", section, *(f"-x{value}" for value in x)]
    arguments += ["-c", ini] if ini else []
    return CommandLine().parser.parse_args([*arguments, "check"])


def _lines(operations: Any) -> Iterator[str]:
    for operation in operations.ops:
        if hasattr(operation, "ops"):
            yield from _lines(operation)
        else:
            yield from _described(operation)


def _described(operation: Any) -> Iterator[str]:
    """A line for each difference in an operation. If it tells none, one line for itself."""
    try:
        differences = list(_flat([operation.to_diff_tuple()]))
    except Exception:
        # One of the project's own need not say what it differs in.
        yield _named(operation)
        return
    for difference in differences:
        try:
            yield _in_words(difference)
        except Exception:
            yield _named(operation, str(difference[0]).replace("_", " "))


def _flat(differences: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for difference in differences:
        if isinstance(difference, list):
            yield from _flat(difference)
        else:
            yield difference


def _in_words(difference: tuple[Any, ...]) -> str:
    kind, rest = difference[0], difference[1:]
    words = kind.replace("_", " ")
    if kind in ("add_column", "remove_column"):
        return f"{words} {_dotted(*rest[:2], rest[2].name)}"
    if kind.startswith("modify_"):
        schema, table, column, _existing, before, after = rest
        told = _plain(before), _plain(after)
        if told[0] == told[1]:
            # As SQL they look alike: TIMESTAMP is one with a time zone and one without.
            told = _plain(before, repr), _plain(after, repr)
        both = f"{told[0]} in the database, {told[1]} in the models"
        return f"{words} {_dotted(schema, table, column)}: {both}"
    subject = rest[0]
    if isinstance(subject, str) or not hasattr(subject, "name"):
        return f"{words} {' '.join(_plain(part) for part in rest)}".rstrip()
    table = getattr(subject, "table", None)
    if table is None or table is subject:
        return f"{words} {_dotted(getattr(subject, 'schema', None), subject.name)}"
    name = subject.name or ", ".join(column.name for column in subject.columns)
    return f"{words} {name} on {_dotted(table.schema, table.name)}"


def _named(operation: Any, words: str = "") -> str:
    """The kind and the names of an operation that has no words for itself."""
    words = words or type(operation).__name__
    for name in ("table_name", "source_table", "column_name", "constraint_name", "index_name"):
        value = getattr(operation, name, None)
        if isinstance(value, str):
            words += f" {value}"
    return words


def _dotted(*names: Any) -> str:
    return ".".join(str(name) for name in names if name is not None)


def _plain(value: Any, *ways: Callable[[Any], str]) -> str:
    """A type or a default in words, as far as it can be described."""
    argument = getattr(value, "arg", value)
    for speak in ways or (str, repr):
        with contextlib.suppress(Exception):
            return " ".join(speak(getattr(argument, "text", argument)).split())
    return f"a {type(argument).__name__} that can't be shown"
