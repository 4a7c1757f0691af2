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
from alembic_snapshot.project.spelling import beginning

if TYPE_CHECKING:
    from alembic_snapshot.builder.target import BuilderTarget

_ALEMBIC = beginning(os.path.dirname(alembic.__file__))


class Config(alembic.config.Config):
    """A configuration whose command line may be a function, called when somebody asks for it.

    Alembic's parser takes longer than a hundred revisions, and few ``env.py`` ask for it.
    It is called as Alembic's is, which errors name. ``is_asked`` says that code of another's than
    Alembic asked for it.

    ``places`` are the spellings of the target. Alembic takes a percent sign for an interpolation,
    and few ``env.py`` double it: whether a build succeeds must not hang on the folder's name.
    """

    is_asked = False
    places: tuple[str, ...] = ()
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

    def set_section_option(self, section: str, name: str, value: str) -> None:
        for place in self.places:
            doubled = place.replace("%", "%%")
            if place in value and doubled not in value:
                value = value.replace(place, doubled)
        super().set_section_option(section, name, value)


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
    config.places = ()
    config.set_main_option("sqlalchemy.url", url)
    config.places = _places(kind)
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


def _places(kind: BuilderTarget) -> tuple[str, ...]:
    """What follows the driver in the target's URLs, and its path, as far as they have a ``%``."""
    texts = (text.partition("://")[2] or text for text in kind.target.places().values())
    found = {text for text in texts if "%" in text}
    return tuple(sorted(found, key=len, reverse=True))
