"""The spelling of commands on a project: typed as they stand, they are about this project."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from alembic_snapshot.errors import SnapshotError
from alembic_snapshot.project.alembic_settings import starts_alike
from alembic_snapshot.project.config import DEFAULT, Project, load_projects
from alembic_snapshot.project.places import store_folder

# Those of our commands, of the ones that messages name, that can leave the shared store out.
_WITH_NO_REMOTE = ("build", "status")
# A reference of an application's context, from which `flask` needs the application alone.
_CONTEXT = re.compile(r"([\w.]+):(\w+)(?:\(\))?\.app_context\(\)")
# Those that are about all databases of a project, and take no name of one.
_OF_ALL = ("doctor", "init")
_WRITES_REVISION = ("revision", "--autogenerate")


def own_command(project: Project, name: str, *words: str, **options: str | None) -> str:
    """A command of ours with the options that lead from here to this database and its store.

    ``options`` are further ones; one of None is none.
    """
    is_usual = project.store == store_folder(project.root)
    is_of_all = project.name == DEFAULT or name in _OF_ALL
    config = _config(project)
    given = {
        # What has no table yet has only Alembic's own file.
        "config": project.config or config if config and name == "init" else config,
        "store": None if is_usual else project.store,
        "database": None if is_of_all else project.name,
        **options,
    }
    pairs = ((f"--{option}", str(value)) for option, value in given.items() if value is not None)
    parts = ["alembic-snapshot", name, *(part for pair in pairs for part in pair)]
    parts += ["--no-remote"] * (project.no_remote and name in _WITH_NO_REMOTE)
    return shlex.join([*parts, *words])


def alembic_command(project: Project, *words: str) -> str:
    """A command of Alembic's, or of Flask-Migrate's, on the scripts and section of a database."""
    settings = project.alembic
    folder = _folder(project)
    arguments = [part for value in project.x for part in ("-x", value)]
    if settings.is_flask_migrate:
        name, *rest = ("migrate",) if words == _WRITES_REVISION else words
        # Which folder it takes by itself is said in the application.
        scripts = _seen(settings.script_location, folder)
        parts = ["flask", *_application(project), "db", name, "-d", scripts]
        # Not each of its commands runs env.py, and only those take arguments for it.
        parts += [*(arguments if name in ("migrate", "upgrade", "check") else ()), *rest]
    else:
        parts = ["alembic"]
        if settings.ini is not None and settings.ini != folder / "alembic.ini":
            parts += ["-c", _seen(settings.ini, folder)]
        if settings.section != "alembic":
            parts += ["-n", settings.section]
        parts += [*arguments, *words]
    command = shlex.join(parts)
    return command if folder == _here() else f"cd {shlex.quote(str(folder))} && {command}"


def _config(project: Project) -> Path | None:
    """The ``--config`` that a command needs: the first that leads to the project; None if none."""
    candidates = [None, project.root / "pyproject.toml", project.root / "alembic.ini"]
    candidates += [project.config] if project.config else []
    return next((one for one in candidates if _leads_to(project, one)), candidates[1])


def _leads_to(project: Project, config: Path | None) -> bool:
    try:
        found = load_projects(config=config, store=project.store).get(project.name)
    except SnapshotError:
        return False
    if found is None:
        return False
    return (found.root, found.config) == (project.root, project.config)


def _folder(project: Project) -> Path:
    """The folder in which Alembic's relative paths lead where they lead for us."""
    settings = project.alembic
    files = (file for file in (settings.ini, settings.toml) if file is not None)
    folders = list(dict.fromkeys([project.root, *(file.parent for file in files)]))

    def mistakes(folder: Path) -> tuple[bool, bool, bool]:
        """What is wrong with a folder, the worst first."""
        has_scripts, prepended = starts_alike(settings, project.pythonpath, folder)
        modules = [_has_modules(one) and one != settings.script_location for one in prepended]
        is_path = prepended == settings.prepend_sys_path and all(modules)
        has_table = settings.toml is None or settings.toml.parent == folder
        return not has_scripts, not has_table, not is_path

    return min(folders, key=mistakes)


def _has_modules(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in ("*.py", "*/*.py"))


def _application(project: Project) -> Iterator[str]:
    """The option with which `flask` finds the application, if the table names it."""
    match = _CONTEXT.fullmatch(project.context or "")
    if match is None:
        return
    module, name = match.groups()
    inside = Path(*module.split("."))
    for folder in project.pythonpath:
        is_there = (folder / inside).is_dir() or (folder / inside).with_suffix(".py").is_file()
        if is_there and folder != project.root:
            module = _seen(folder / inside, project.root)
            break
    yield from ("--app", f"{module}:{name}")


def _seen(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _here() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
