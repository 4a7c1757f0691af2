"""Alembic's configuration and its scripts, as the builder's orders name them."""

from __future__ import annotations

import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import alembic.config
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from alembic_snapshot.builder.protocol import Job

if TYPE_CHECKING:
    from alembic_snapshot.builder.target import BuilderTarget

_ALEMBIC = f"{os.path.dirname(alembic.__file__)}{os.sep}"


class Config(alembic.config.Config):
    """A configuration whose command line may be a function, called when somebody asks for it.

    Alembic's parser takes longer than a hundred revisions, and few ``env.py`` ask for it.
    It is called as Alembic's is, which errors name. ``is_asked`` says that code of another's than
    Alembic asked for it.
    """

    is_asked = False
    _cmd_opts: Namespace | Callable[[], Namespace] | None

    @property
    def cmd_opts(self) -> Namespace | None:
        if not sys._getframe(1).f_code.co_filename.startswith(_ALEMBIC):
            self.is_asked = True
        if callable(self._cmd_opts):
            self._cmd_opts = self._cmd_opts()
        return self._cmd_opts

    @cmd_opts.setter
    def cmd_opts(self, given: Namespace | Callable[[], Namespace] | None) -> None:
        self._cmd_opts = given


def config_of(job: Job) -> Config:
    """The configuration, with the command line that `alembic upgrade heads` has.

    Offered as to `alembic.command.upgrade()`, it has none.
    """
    toml: dict[str, Any] = {"toml_file": job.toml} if job.toml else {}
    config = Config(
        job.ini,
        # Alembic reads pyproject.toml from 1.16 on.
        **toml,
        ini_section=job.section,
        cmd_opts=None if job.handover == "api" else Namespace(
            config=job.ini, name=job.section, x=list(job.x) or None, raiseerr=True,
            revision="heads", sql=False, tag=None, verbose=False, quiet=True,
            cmd=(command.upgrade, ["revision"], ["sql", "tag"]),
        ),
    )  # fmt: skip
    # Alembic puts the folder in as it is, and can't read a folder with a percent sign back.
    defaults = config.file_config.defaults()
    defaults["here"] = defaults["here"].replace("%", "%%")  # type: ignore[index]
    config.set_main_option("script_location", job.scripts.replace("%", "%%"))
    return config


def scripts_of(job: Job, config: Config) -> ScriptDirectory:
    """The scripts. Their locations are those of the settings, if reading told these."""
    script = ScriptDirectory.from_config(config)
    if job.versions:
        script = ScriptDirectory(
            job.scripts,
            version_locations=list(job.versions),
            recursive_version_locations=job.recursive,
        )
    return script


@contextlib.contextmanager
def offered(config: Config, kind: BuilderTarget, handover: str) -> Iterator[Config]:
    """The configuration with the target in it; a connection's work is committed at the end."""
    url = kind.target.url("async" if handover == "async" else "").replace("%", "%%")
    config.set_main_option("sqlalchemy.url", url)
    config.attributes.clear()
    if handover in ("url", "async"):
        yield config
        return
    engine = sa.create_engine(kind.url)
    try:
        if handover == "engine":
            config.attributes.update(connection=engine, engine=engine)
            yield config
        else:
            # As "connection", or as "api": the URL is there, too.
            with engine.connect() as connection:
                config.attributes["connection"] = connection
                yield config
                # Closed by env.py, what was not committed is for its heads to tell.
                if not connection.closed:
                    connection.commit()
    finally:
        engine.dispose()
