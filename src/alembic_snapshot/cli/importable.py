"""How tests come to import a module of the project that they can't import."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from alembic_snapshot.discover.layout import pytest_settings
from alembic_snapshot.project.config import Project
from alembic_snapshot.project.places import TABLE

# Beside them nobody's modules are: environments, caches, what tools leave.
_LEFT_OUT = ("node_modules", "site-packages", "__pycache__", "build", "dist")
_MANY = 2_000


def importing(missing: Sequence[str], project: Project) -> str:
    """The hint with which the modules can be imported, or their right names."""
    ways = (line_for, _hidden, nearest)
    found = (filter(None, (way(module, project) for way in ways)) for module in missing)
    hints = list(dict.fromkeys(hint for one in found for hint in list(one)[:1]))
    return "; ".join(hints) or f"install it, or correct the reference in [{TABLE}]"


def line_for(module: str, project: Project) -> str | None:
    """The line that puts a module's folder into pytest's pythonpath.

    None if no folder of the project has the module, or it is in pytest's pythonpath already.
    """
    folder = next((one for one in _folders(project) if _has(one, module)), None)
    settings = pytest_settings(project.root)
    if folder is None or folder in settings.pythonpath:
        return None
    file = settings.file or project.root / "pyproject.toml"
    listed = [_from(file.parent, path) for path in (*settings.pythonpath, folder)]
    quoted = ", ".join(f'"{entry}"' for entry in listed)
    value = f"[{quoted}]" if file.suffix == ".toml" else " ".join(listed)
    return f"write pythonpath = {value} below [{settings.key}] in {_from(Path.cwd(), file)}"


def _hidden(module: str, project: Project) -> str | None:
    """What keeps a module from being imported that is in a folder of pytest's pythonpath."""
    folder = next((one for one in _folders(project) if _has(one, module)), None)
    if folder is None:
        return None
    head, where = module.partition(".")[0], _from(project.root, folder)
    return f"another {head} is found before the one in {where}: give it another name, or remove it"


def nearest(module: str, project: Project) -> str | None:
    """The module of the project whose name is most like it, as a question; None if none is."""
    names = {name for folder in _folders(project) for name in _modules(folder)} - {module}
    close = difflib.get_close_matches(module, sorted(names), n=1)
    return f"did you mean {close[0]}? Correct it in [{TABLE}]" if close else None


def _folders(project: Project) -> list[Path]:
    """The folders in which the project's modules may be, those first that it names."""
    named = (*project.pythonpath, *project.alembic.prepend_sys_path)
    return list(dict.fromkeys((*named, project.root / "src", project.root)))


def _has(folder: Path, module: str) -> bool:
    path = folder.joinpath(*module.split("."))
    return path.with_name(f"{path.name}.py").is_file() or path.is_dir()


def _modules(folder: Path) -> Iterator[str]:
    """The names of the modules in a folder and below it."""
    count = 0
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name.isidentifier() and name not in _LEFT_OUT]
        package = [] if where == str(folder) else list(Path(where).relative_to(folder).parts)
        if package:
            yield ".".join(package)
        for name in files:
            stem, suffix = os.path.splitext(name)
            if suffix == ".py" and stem.isidentifier() and stem != "__init__":
                yield ".".join([*package, stem])
        count += len(files)
        if count > _MANY:
            return


def _from(start: Path, path: Path) -> str:
    return Path(os.path.relpath(path, start)).as_posix()
