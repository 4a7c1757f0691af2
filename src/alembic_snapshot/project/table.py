"""What ``[tool.alembic-snapshot]`` may have: which keys, and which values each can take."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.references import Reference
from alembic_snapshot.project.remote import check_keys, check_url
from alembic_snapshot.project.sizes import check_size

# What stands for the database in variables and arguments, in braces, and what does on a server.
PLACEHOLDERS = ("url", "async_url", "path")
SERVER_PLACEHOLDERS = ("host", "port", "user", "password", "database")
# Two braces on each side are one in the end.
PLACEHOLDER = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")
_NEARLY = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{\s*([\w-]+)\s*\}")
_EXAMPLES = {
    "text": '"text"',
    "flag": "true",
    "texts": '["text"]',
    "mapping": '{ name = "text" }',
    "mapping of lists": '{ name = ["text"] }',
    "mapping of one or more": '{ name = "text" }',
}
ENVIRONMENT_EXAMPLE = '{ DATABASE_URL = "{url}" }'
_DESCRIPTIONS = {
    "text": "a string",
    "flag": "true or false",
    "texts": "a list of strings",
    "mapping": "a table of strings",
    "mapping of lists": "a table of lists of strings",
    "mapping of one or more": "a table of strings, or of lists of them",
}


# What a flag may have been meant for, by how Python spells it.
_FLAGS = {"True": ("on", "always"), "False": ("off", "never")}
# Where what any key of a kind takes would be refused, or says nothing.
_EXAMPLES_OF_KEYS = {
    "environment": ENVIRONMENT_EXAMPLE,
    "engine": '"core.database:engine"',
    "sessionmaker": '"core.database:Session"',
    "migrate": '"core.database:migrate"',
    "context": '"blog:app.app_context()"',
    "config": '"alembic.ini"',
    "remote": '"s3://BUCKET/PREFIX"',
    "max_size": '"5 GB"',
    "seeds": '["core.seeds:seed"]',
    "layers": '{ demo = ["core.seeds:seed"] }',
    "pythonpath": '["."]',
}


def check_values(
    values: Mapping[str, Any],
    title: str,
    keys: Mapping[str, Mapping[str, Any]],
    tables: Sequence[str] = (),
) -> None:
    """See that a table has keys that there are, with values that they can have.

    ``tables`` are those that it may have beside ``keys``.

    Raises:
        ConfigError: it names the table, the key and what would be right.
    """
    for key, value in values.items():
        if key not in keys:
            hint = _nearest(key, (*keys, *tables))
            raise ConfigError(f"unknown key {key!r} in [{title}]", hint=hint)
        kind, choices = keys[key]["kind"], keys[key]["choices"]
        if not _fits(value, kind):
            example = f"write for example {key} = {_example(key, value, kind, choices)}"
            if key == "remote_keys":
                example = "`alembic-snapshot remote-key --scope main` prints the line to write"
            raise ConfigError(
                f"{key} in [{title}] must be {_DESCRIPTIONS[kind]}, not {value!r}", hint=example
            )
        _check_texts(key, value, title)
        if key == "backend" and unsupported.known_title(str(value)):
            raise ConfigError(
                f"backend in [{title}] is {value!r}: {unsupported.title(value)} is not supported",
                hint=unsupported.HINT,
            )
        if choices and value not in choices:
            raise ConfigError(
                f"{key} in [{title}] must be one of {', '.join(choices)}, not {value!r}",
                hint=_choice(key, str(value), choices),
            )
    _check_names(values.get("environment", {}), title)
    check_keys(values.get("remote_keys", {}), f"remote_keys in [{title}]")
    check_url(values.get("remote", ""), f"remote in [{title}]")
    check_size(values.get("max_size"), f"max_size in [{title}]")
    for key in ("engine", "sessionmaker", "migrate", "context"):
        _check_reference(key, values.get(key), title)
    for reference in (*values.get("seeds", ()), *_all_values(values.get("layers", {}))):
        _check_reference("a seed", reference, title)


def _check_texts(key: str, value: Any, title: str) -> None:
    """See that the texts of one key's value are some that a path, a name or a variable can be."""
    for text in _texts(value):
        if "\0" in text:
            raise ConfigError(
                f"{key} in [{title}] has a null character in {text!r}", hint="write it without"
            )
        if not text and not isinstance(value, dict):
            raise ConfigError(
                f"{key} in [{title}] has an empty string",
                hint=f"write what it should be, or leave {key} out",
            )


def check_placeholders(values: Mapping[str, Any], title: str) -> None:
    """See that what is in braces in variables and arguments stands for a part of the database.

    Raises:
        ConfigError: it stands for nothing, or a file has no such part.
    """
    is_server = values.get("backend") == "postgresql"
    for key in ("environment", "x"):
        value = values.get(key, ())
        for text in _texts(list(value.values()) if isinstance(value, Mapping) else value):
            _check_braces(key, text, title, is_server=is_server)


def has_place(text: str) -> bool:
    """Whether a value has a name in braces, which stands for the database or a part of it."""
    return any(found[2] for found in PLACEHOLDER.finditer(text))


def _check_braces(key: str, text: str, title: str, *, is_server: bool) -> None:
    known = PLACEHOLDERS + (SERVER_PLACEHOLDERS if is_server else ())
    listed = ", ".join(f"{{{name}}}" for name in known)
    for found in PLACEHOLDER.finditer(text):
        if found[2] in SERVER_PLACEHOLDERS and not is_server:
            raise ConfigError(
                f"{key} in [{title}] has {found[0]}, which a SQLite file does not have",
                hint=f'known are {listed}; set backend = "postgresql" for a server\'s',
            )
    for found in _NEARLY.finditer(text):
        if found[1] or found[0] in {f"{{{name}}}" for name in known}:
            continue
        near = difflib.get_close_matches(found[2].lower().replace("-", "_"), known, 1, 0.75)
        if near or PLACEHOLDER.fullmatch(found[0]):
            meant = f"did you mean {{{near[0]}}}? " if near else ""
            raise ConfigError(
                f"{key} in [{title}] has {found[0]}, which stands for nothing",
                hint=f"{meant}known are {listed}; {{{{name}}}} is {{name}} itself",
            )


def _check_names(variables: Mapping[str, str], title: str) -> None:
    for name in variables:
        if not name or "=" in name:
            raise ConfigError(
                f"environment in [{title}] has {name!r}, which can't be a variable's name",
                hint=f"write for example environment = {ENVIRONMENT_EXAMPLE}",
            )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value of the table, names in it too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _check_reference(key: str, value: str | None, title: str) -> None:
    if value is None:
        return
    if key == "engine" and "://" in value:
        other = unsupported.title(value)
        if other is not None:
            raise ConfigError(
                f"engine in [{title}] is a URL of {other}, which is not supported",
                hint=unsupported.HINT,
            )
        return
    try:
        reference = Reference.parse(value)
    except ValueError:
        example = "core.database:engine", "core.database:get_engine()"
        if key == "context":
            example = "blog:app.app_context()", "blog:create_app().app_context()"
        raise ConfigError(
            f"{key} {value!r} in [{title}] is not of the form module:name",
            hint=f"write for example {example[0]}; after the colon there may be dots and "
            f"calls without arguments, {example[1]}",
        ) from None
    if reference.calls and key not in ("engine", "sessionmaker", "context"):
        raise ConfigError(
            f"{key} {value!r} in [{title}] has a call in it",
            hint="name the function itself, without (): it is called with its argument",
        )


def _all_values(layers: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for references in layers.values():
        yield from references


def _fits(value: object, kind: str) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "texts":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not isinstance(value, dict):
        return False
    inner = {"mapping": ("text",), "mapping of lists": ("texts",)}.get(kind, ("text", "texts"))
    return all(any(_fits(item, one) for one in inner) for item in value.values())


def _example(key: str, value: object, kind: str, choices: Sequence[str]) -> str:
    """What a key takes, as TOML: what is most like the value, which has another type."""
    if choices:
        near = [one for one in _FLAGS.get(str(value), ()) if one in choices]
        return f'"{(near or choices)[0]}"'
    if key == "environment" and isinstance(value, list) and value:
        names = [name for name in value if isinstance(name, str) and name.isidentifier()]
        return f'{{ {names[0]} = "{{url}}" }}' if names else ENVIRONMENT_EXAMPLE
    return _EXAMPLES_OF_KEYS.get(key, _EXAMPLES[kind])


def _choice(key: str, value: str, choices: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(value.lower(), choices, n=1, cutoff=0.7)
    if close:
        return f"did you mean {close[0]!r}?"
    return f'write for example {key} = "{choices[0]}"'


def _nearest(key: str, names: tuple[str, ...], likeness: float = 0.5) -> str:
    close = difflib.get_close_matches(key, names, n=1, cutoff=likeness)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(names))}"
