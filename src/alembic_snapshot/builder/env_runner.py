"""Runs ``env.py`` with the target offered, and tells what it has handed over to the revisions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from alembic.runtime.environment import EnvironmentContext

from alembic_snapshot.builder.alembic_config import Config, config_of, offered, scripts_of
from alembic_snapshot.builder.app_context import AppContext, libraries_in_context
from alembic_snapshot.builder.carried import Carried, carried
from alembic_snapshot.builder.env_sql import EnvSql
from alembic_snapshot.builder.guard import Guard
from alembic_snapshot.builder.held import Held
from alembic_snapshot.builder.left import LeftByEnv
from alembic_snapshot.builder.options import (
    called_by_alembic,
    is_comparable,
    metadata_in,
    option_fingerprint,
    spelled,
)
from alembic_snapshot.builder.pools import Pools
from alembic_snapshot.builder.protocol import Job
from alembic_snapshot.builder.reach import code_reached
from alembic_snapshot.builder.record import EVERY_STATE
from alembic_snapshot.builder.target import BuilderTarget
from alembic_snapshot.builder.watch import Watch
from alembic_snapshot.key.inputs import text_digest

# What an environment of `alembic upgrade` is made with, beside its function.
_UPGRADE = {"as_sql": False, "starting_rev": None, "destination_rev": "heads", "tag": None}


class EnvRunner:
    """One project's ``env.py``, which runs as often as there is work for it.

    ``on_migrations`` hears of each context that is about to migrate the target.
    """

    def __init__(
        self,
        job: Job,
        kind: BuilderTarget,
        guard: Guard,
        watch: Watch,
        on_migrations: Callable[[Any], None],
    ):
        self._job = job
        self._kind = kind
        self._guard = guard
        self._watch = watch
        self._note_migrations = on_migrations
        self._left = LeftByEnv(watch, job.asked, self._spell)
        self._arguments: dict[str, str] = {}
        self._has_migrated = False
        self.has_run = False
        # The options of configure(), once env.py has called it.
        self.options: dict[str, str] | None = None
        self.version_table = "alembic_version"
        self.version_schema: str | None = None
        # What env.py was given when it asked for -x.
        self.asked_for_x: Any = None
        self.sql = EnvSql(is_continued=job.is_continued)
        self.pools = Pools()
        self.app_context = AppContext(job.context, watch.around_env)
        self.config: Config | None = None

    def load(self) -> None:
        """Read Alembic's settings and find its scripts; from here on ``env.py`` can run."""
        self.config = config_of(self._job)
        self.script = scripts_of(self._job, self.config)

    def listen(self) -> None:
        """Hear of all connections and statements; it can't be undone."""
        self.pools.listen()
        self.sql.listen()

    def run(
        self,
        function: Callable[..., Iterable[Any]],
        environment: Mapping[str, Any] = _UPGRADE,
        overrides: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Run ``env.py``, whose migrations are the steps that ``function`` gives.

        ``environment`` is what Alembic's environment is made with, and ``overrides`` are options
        that take the place of those of ``env.py``.
        """
        # A process of its own would not find connections of the run before, nor their event loop.
        self.pools.close_idle()
        self.has_run = True
        assert self.config is not None
        offer = offered(self.config, self._kind, self._job.handover)
        heard = self.sql.heard(is_upgrade=environment is _UPGRADE and not overrides)
        has_begun = False
        with heard, self.app_context.around(), offer as config:

            def begin(current: Any, context: Any) -> Iterable[Any]:
                nonlocal has_begun
                if not self._guard.migrates(context.connection):
                    # One of several that are migrated together, beside the snapshot's.
                    return ()
                has_begun = True
                self._left.begin(config, context)
                self._offered = config
                self._watch.record.in_context |= libraries_in_context()
                return function(current, context)

            self.environment = EnvironmentContext(config, self.script, fn=begin, **environment)
            self._listen_to_configure(self.environment, overrides)
            with self.environment:
                try:
                    self.script.run_env()
                except SystemExit as end:
                    # An env.py may end the process when it is done.
                    if end.code or not has_begun:
                        raise

    def carried(self, context: Any) -> Carried:
        """What the run that goes on carries along, beside the database."""
        env = os.path.realpath(self.script.env_py_location)
        return carried(self._offered, context, self._kind, env)

    def handed_over(self) -> dict[str, str]:
        """The options that ``env.py`` hands over, spelled the same wherever the project lies."""
        left = {**self._left.handed_over(), **self.sql.handed_over(), **self._arguments}
        if self._has_migrated:
            left["<code given to Alembic>"] = str(self._watch.record.given_to_alembic)
        options = {**(self.options or {}), **left}
        # Values may be somebody's secrets, and are kept where others may read them.
        return {name: text_digest(self._spell(text)) for name, text in options.items()}

    @contextlib.contextmanager
    def migrating(self, context: Any, arguments: Mapping[str, Any]) -> Iterator[None]:
        """While Alembic runs migrations, whoever has called for them."""
        self._on_migrations(context, arguments)
        with self.sql.unheard():
            yield

    def _on_migrations(self, context: Any, arguments: Mapping[str, Any]) -> None:
        if not self._guard.migrates(context.connection):
            return
        self._note_migrations(context)
        self._watch.look_into_modules(filled=not self._has_migrated)
        self._has_migrated = True
        # Every revision's function is given them.
        self._arguments = {f"<argument {name}>": spelled(arguments[name]) for name in arguments}
        if not is_comparable(dict(arguments)):
            self._watch.record.shares_models.add(EVERY_STATE)

    def _listen_to_configure(
        self, environment: EnvironmentContext, overrides: Mapping[str, Any]
    ) -> None:
        # On the instance: alembic.context's functions go to it, and not to a subclass's.
        original = environment.configure

        def configure(*positional: Any, **options: Any) -> None:
            connection = options.get("connection", positional[0] if positional else None)
            if isinstance(hooks := options.get("on_version_apply"), Iterator):
                # Who looks into it takes what is in it away.
                options["on_version_apply"] = tuple(hooks)
            if self._guard.migrates(connection):
                self._on_configure(options, connection)
            original(*positional, **{**options, **overrides})

        environment.configure = configure  # type: ignore[method-assign]
        arguments = environment.get_x_argument

        def get_x_argument(*positional: Any, **options: Any) -> Any:
            self.asked_for_x = arguments(*positional, **options)
            return self.asked_for_x

        environment.get_x_argument = get_x_argument  # type: ignore[method-assign]

    def _on_configure(self, options: Mapping[str, Any], connection: Any) -> None:
        self.options = option_fingerprint(options)
        self._watch.record.metadata = metadata_in(options)
        folder, is_project = self._job.scripts, self._watch.frames.is_project
        for option, function in called_by_alembic(options):
            with self._watch.reads.unheard():
                held = Held(function, folder, is_project, connection)
            if held.text is None:
                self._watch.record.shares_models.add(EVERY_STATE)
            self.options[option] += f" {held.text}"
            for path in code_reached(function, folder) | held.files:
                self._watch.count(path, EVERY_STATE)
        self.version_table = options.get("version_table") or "alembic_version"
        self.version_schema = options.get("version_table_schema")

    def _spell(self, text: str) -> str:
        text = text.replace(self._kind.target.name, "<target>")
        return text.replace(str(Path(self._job.root)), "<root>")
