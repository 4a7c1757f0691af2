"""Bad input of every kind: what is wrong with a project, and the command that is to say so.

Most are generated: each key of the table with values of each type that it does not take, each
command with paths of each kind that it can't use.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from alembic_snapshot.project.config import Project
from alembic_snapshot.project.table import PLACEHOLDERS, SERVER_PLACEHOLDERS

BUILD = ("build", "--quiet")
COMMANDS = (
    BUILD, ("key",), ("status",), ("list",), ("prune", "--keep", "0"), ("check", "--quiet"),
    ("diff", "x.db"), ("clone", "x.db"), ("init", "--print"),
)  # fmt: skip
# Values of each type as TOML, and the kinds of keys that take one of that type.
VALUES = {
    "integer": ("3", ()),
    "number": ("1.5", ()),
    "date": ("2026-01-01", ()),
    "flag": ("true", ("flag",)),
    "text": ('"a b"', ("text",)),
    "empty": ('""', ()),
    "null": ('"a\\u0000b"', ()),
    "list": ('["a", 3]', ()),
    "texts": ('["a b"]', ("texts",)),
    "empty text": ('[""]', ()),
    "null text": ('["a\\u0000b"]', ()),
    "nested list": ('[["a"]]', ()),
    "table": ("{ a = 3 }", ()),
    "mapping": ('{ a = "b" }', ("mapping",)),
    "null mapping": ('{ a = "b\\u0000" }', ()),
    "mapping of lists": ('{ a = ["b"] }', ("mapping of lists",)),
}
NOT_FILES = ("folder", "pipe", "loop", "dangling", "device")
CONTENTS = {
    "latin-1": "# caf\xe9\n".encode("latin-1"),
    "utf-16": "[alembic]\n".encode("utf-16"),
    "binary": bytes(range(256)),
    "null": b"\0\0",
    "half": b"[alembic",
    "empty": b"",
}
ENV = """
from alembic import context
from sqlalchemy import engine_from_config
options = context.config.get_section("alembic")
with engine_from_config(options, prefix="sqlalchemy.").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = "revision = '0001'\ndown_revision = None\ndef upgrade(): pass\ndef downgrade(): pass\n"


class Case(NamedTuple):
    """A command, what is done to a sound project before, and variables for it."""

    name: str
    command: Sequence[str]
    spoil: Callable[[Path], object] = lambda root: None
    variables: tuple[tuple[str, str], ...] = ()


def sound(root: Path) -> None:
    """Write a project with which nothing is wrong."""
    write(root, "alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n")
    write(root, "pyproject.toml", "[tool.alembic-snapshot]\n")
    write(root, "migrations/env.py", ENV)
    write(root, "migrations/versions/0001.py", REVISION)
    write(root, "shop.py", "def rows(connection): ...\n")


def write(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def put(root: Path, name: str, kind: str) -> None:
    """Put something that is no file at a path."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"loop": path.name, "dangling": "nowhere", "device": os.devnull}[kind])


def table(text: str, *, command: Sequence[str] = BUILD, name: str = "") -> Case:
    """A table that is wrong."""
    content = f"[tool.alembic-snapshot]\n{text}\n"
    return Case(name or text, command, lambda root: write(root, "pyproject.toml", content))


def ini(options: str) -> Case:
    """An ``alembic.ini`` that is wrong."""
    content = f"[alembic]\n{options}\n"
    return Case(f"ini {options!r:.60}", BUILD, lambda root: write(root, "alembic.ini", content))


def script(content: str | bytes) -> Case:
    """A second revision script that is wrong."""
    return Case(
        f"script {content!r:.60}",
        BUILD,
        lambda root: write(root, "migrations/versions/b.py", content),
    )


def keys() -> Iterator[Case]:
    """Each key with values of each type that it does not take, and misspelt."""
    for key, field in Project.__dataclass_fields__.items():
        kind, choices = field.metadata["kind"], field.metadata["choices"]
        if kind is None:
            continue
        for name, (value, takes) in VALUES.items():
            is_value = kind in takes and not choices
            if not is_value and not (kind.startswith("mapping") and name == "empty"):
                yield table(f"{key} = {value}", name=f"{key} = {name}")
        for wrong in (key[:-1], key.upper(), key.replace("_", "-") + "s"):
            yield table(f"{wrong} = {VALUES['text'][0]}", name=f"misspelt {wrong}")
        if choices:
            yield table(f'{key} = "{choices[0].upper()}"')


def references() -> Iterator[Case]:
    """References that don't resolve, as far as that is known without importing anything."""
    for key in ("engine", "sessionmaker", "migrate", "seeds", "layers"):
        for text in (
            "shop",
            "shop:",
            ":rows",
            "shop:rows x",
            "shop:1",
            "::",
            "shop.rows.",
            "shop:a-b",
        ):
            value = {"seeds": f'["{text}"]', "layers": f'{{ demo = ["{text}"] }}'}
            yield table(f"{key} = " + value.get(key, f'"{text}"'))
    for key, value in (("migrate", '"%s"'), ("seeds", '["%s"]')):
        yield table(f"{key} = {value % 'shop:rows()'}")
        yield table(f"{key} = {value % 'nowhere:rows'}")
        yield table(f"{key} = {value % 'shop.nowhere:rows'}")
    yield table('layers = { demo = ["nowhere:rows"] }', command=(*BUILD, "--layer", "demo"))


def values() -> Iterator[Case]:
    """Values of the right type that can't be meant."""
    for name in PLACEHOLDERS:
        for wrong in (name.upper(), name[:-1], f" {name} ", name.replace("_", "-") + "s"):
            for key, value in (("environment", '{ A = "x%s" }'), ("x", '["a=%s"]')):
                yield table(f"{key} = {value % f'{{{wrong}}}'}")
    for name in (*SERVER_PLACEHOLDERS, "nonsense", "DB_HOST"):
        yield table(f'environment = {{ A = "x{{{name}}}" }}')
        yield table(f'x = ["a={{{name}}}"]')
    yield table('environment = { "" = "x" }')
    yield table('environment = { "A=B" = "x" }')
    yield table('pythonpath = ["nowhere"]')
    yield table('inputs = ["nowhere.csv"]')
    yield table('inputs = ["nowhere/*"]')
    yield table('section = "nowhere"')
    yield table('config = "nowhere.ini"')
    yield table('config = "shop"')
    yield table('config = "migrations"')
    yield table('backend = "mysql"')
    yield table('databases = "x"')
    yield table("databases = { x = 3 }")
    yield table('databases = { default = { drift = "warn" } }')
    yield table('databases = { "" = { drift = "warn" } }')
    yield table("databases = { x = { databases = { y = {} } } }")
    yield table('databases = { "a\\u001b[31m" = { drift = 3 } }')
    yield table('"a\\u001b[31m" = 3')
    yield table('config = "a\\u001b[31m.ini"')


def settings() -> Iterator[Case]:
    """Alembic's own settings."""
    good = "script_location = migrations"
    for options in (
        "",
        "script_location =",
        "script_location",
        "script_location = nowhere",
        "script_location = shop.py",
        "script_location = a\0b",
        "script_location = \x1b[31m",
        "script_location = %(script_location)s",
        "script_location = %(a)s\na = %(b)s\nb = %(a)s",
        "script_location = %(nowhere)s",
        "script_location = nowhere:x",
        "script_location = ..:x",
        "script_location = shop:x",
        f"script_location = {'a' * 5000}",
        f"{good}\n{good}",
        f"{good}\nversion_locations = a\0b",
        f"{good}\nversion_locations = %(version_locations)s",
        f"{good}\nversion_locations = a\npath_separator = comma",
        f"{good}\nprepend_sys_path = %(prepend_sys_path)s",
    ):
        yield ini(options)
    for options in (
        "script_location = 3",
        'script_location = ["migrations"]',
        "script_location = { a = 3 }",
        'script_location = "a\\u0000b"',
        'script_location = "migrations"\nversion_locations = 3',
        'script_location = "migrations"\nversion_locations = [["a"]]',
        'script_location = "migrations"\nprepend_sys_path = 3',
    ):
        content = f"[tool.alembic]\n{options}\n[tool.alembic-snapshot]\n"

        def spoil(root: Path, content: str = content) -> None:
            (root / "alembic.ini").unlink()
            write(root, "pyproject.toml", content)

        yield Case(f"[tool.alembic] {options}", BUILD, spoil)


def files() -> Iterator[Case]:
    """Files that are none, or whose content is none."""
    for name in ("pyproject.toml", "alembic.ini", "migrations/env.py"):
        for kind in NOT_FILES:
            yield Case(f"{name} {kind}", BUILD, lambda root, n=name, k=kind: put(root, n, k))
        for kind, content in CONTENTS.items():
            is_sound = name.endswith("toml") and kind == "empty"
            if not is_sound and not name.endswith("env.py"):
                yield Case(
                    f"{name} {kind}", BUILD, lambda root, n=name, c=content: write(root, n, c)
                )
    for name in ("pyproject.toml", "alembic.ini"):
        for kind in NOT_FILES:
            yield Case(
                f"--config {name} {kind}",
                ("key", "--config", name),
                lambda root, n=name, k=kind: put(root, n, k),
            )
    bom = b"\xef\xbb\xbf[tool.alembic-snapshot]\n"
    yield Case("byte order mark", BUILD, lambda root: write(root, "pyproject.toml", bom))


def scripts() -> Iterator[Case]:
    """Revision scripts that are none, or no history."""

    def revision(name: object, down: object, more: str = "") -> str:
        return f"revision = {name!r}\ndown_revision = {down!r}\n{more}\ndef upgrade(): ...\n"

    yield script("")
    yield script("import os\n")
    yield script("revision = 'b'\ndef broken(:\n")
    yield script("revision = 'b'\0\n")
    yield script("# -*- coding: nonsense -*-\nrevision = 'b'\n")
    yield script("revision = 'b'\n".encode("utf-16"))
    yield script(f"revision = 'b'\nx = {'(' * 300}{')' * 300}\n")
    yield script(revision("0001", None))
    yield script(revision("b", "nowhere"))
    yield script(revision("b", "b"))
    yield script(revision("b", "0001", "depends_on = 'nowhere'"))
    yield script(revision("b", "0001", "depends_on = 'b'"))
    yield script(revision(5, "0001"))
    yield script(revision(None, "0001"))
    yield script(revision("b", 7))
    for kind in ("loop", "dangling", "folder"):
        yield Case(
            f"script {kind}", BUILD, lambda root, k=kind: put(root, "migrations/versions/b.py", k)
        )
    yield Case("script pipe", BUILD, lambda root: put(root, "migrations/versions/b.py", "pipe"))


def paths() -> Iterator[Case]:
    """Arguments that are paths of each kind that can't be used."""

    def at(kind: str) -> Callable[[Path], None]:
        return lambda root: put(root, "t", kind)

    for kind in NOT_FILES:
        for command in COMMANDS:
            yield Case(f"--config {kind} {command[0]}", (*command, "--config", "t"), at(kind))
            if kind != "folder":
                yield Case(f"--store {kind} {command[0]}", (*command, "--store", "t"), at(kind))
                below = (*command, "--store", "t/x/y")
                yield Case(f"--store below {kind} {command[0]}", below, at(kind))
        yield Case(f"clone {kind}", ("clone", "t"), at(kind))
        yield Case(f"diff {kind}", ("diff", "t"), at(kind))
        yield Case(f"clone below {kind}", ("clone", "t/x/a.db"), at(kind))
        yield Case(f"diff below {kind}", ("diff", "t/a.db"), at(kind))
        if kind != "folder":
            variable = (("ALEMBIC_SNAPSHOT_DIR", "t"),)
            yield Case(f"$ALEMBIC_SNAPSHOT_DIR {kind}", BUILD, at(kind), variable)
    for command in COMMANDS:
        yield Case(f"--config escape {command[0]}", (*command, "--config", "a\x1b[31m"))
        yield Case(f"--config bytes {command[0]}", (*command, "--config", "a\udcff"))
        yield Case(f"--config long {command[0]}", (*command, "--config", "a" * 5000))
    yield Case("--store long", (*BUILD, "--store", "a" * 5000))
    yield Case("clone long", ("clone", "a" * 5000))


def arguments() -> Iterator[Case]:
    """Unknown, missing and contradicting arguments."""
    for command in (*COMMANDS, ("doctor",)):
        yield Case(f"{command[0]} unknown option", (*command, "--nonsense"))
        yield Case(f"{command[0]} too much", (*command, "one", "more"))
        yield Case(f"{command[0]} no value", (*command, "--config"))
        yield Case(f"{command[0]} empty value", (*command, "--store", ""))
        yield Case(f"{command[0]} option for a value", (*command, "--store", "--traceback"))
        yield Case(f"{command[0].upper()}", (command[0].upper(), *command[1:]))
        if command[0] in ("build", "key", "status", "diff", "clone"):
            for revision in ("nowhere", "-1", "head:", "\x1b[31m"):
                yield Case(f"{command[0]} at {revision}", (*command, f"--revision={revision}"))
            yield Case(f"{command[0]} layer", (*command, "--layer", "nowhere"))
            both = (*command, "--layer", "demo", "--revision", "0001")
            layers = 'layers = { demo = ["shop:rows"] }'
            yield table(layers, command=both, name=f"{command[0]} of layer and revision")
        if command[0] not in ("init", "prune", "doctor"):
            yield Case(f"{command[0]} database", (*command, "--database", "nowhere"))
    for line in (
        "clone", "diff", "prune", "prune --keep -1", "prune --keep x", "prune --older-than soon",
        "prune --older-than -1d", "prune --keep 1 --older-than 1", "diff x.db --rows x",
        "diff x.db --rows -1", "open x --rows -1", "doctor --timeout inf", "doctor --timeout 1e300",
        "diff nowhere.db", "doctor --timeout 0", "doctor --timeout nan", "doctor --timeout x",
        "init --yes --print", "build --json --summary", "check --from-scratch --no-stairway",
        "nonsense", "-x", "--nonsense", "--traceback build", "psql a b", "init",
    ):  # fmt: skip
        yield Case(line, line.split())
    for backend in ("mysql", "SQLITE", " ", "\x1b[31m"):
        yield Case(
            f"backend {backend!r}", BUILD, variables=(("ALEMBIC_SNAPSHOT_BACKEND", backend),)
        )
    for store in ("/proc/nowhere/x", os.devnull, "a" * 5000):
        yield Case(f"store {store:.20}", BUILD, variables=(("ALEMBIC_SNAPSHOT_DIR", store),))
    for url in ("nonsense", ":", "mysql://x/y", "sqlite:///x", "postgresql://localhost:x/y"):
        on = (("SNAPSHOT_POSTGRES_URL", url), ("ALEMBIC_SNAPSHOT_BACKEND", "postgresql"))
        yield Case(f"server {url}", BUILD, variables=on)


CASES = [
    case
    for kind in (keys, references, values, settings, files, scripts, paths, arguments)
    for case in kind()
]
