"""Where a value comes from that project code reads, and the code that reads it.

Each source keeps one value, a word, in a file, a listing, a variable or a setting of its own. In
its code ``$path`` and ``$folder`` are expressions for where its file is, ``$variable`` is its
variable, ``$n`` its number, ``$value`` the word itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Two of them are of one length: the size of a file and its time don't tell them apart.
WORDS = ("red", "tan", "green", "purple")
ABSENT = "absent"


@dataclass(frozen=True)
class Source:
    """One way to keep a value and to read it.

    ``files`` are templates of paths and of what is in them, ``links`` of paths and targets; ``ini``
    are lines at the end of alembic.ini, ``toml`` of pyproject.toml, ``keys`` of the library's own
    table there. ``packed`` makes a file's bytes of its text. ``shows`` is what the code makes of a
    word, or of None where there is nothing to read. ``named`` is how a later layer names it
    literally. A source that ``scans`` something reads all of it: ``"variables"``, or a file of the
    configuration. One that is ``static`` is always there. One that ``talks`` asks Alembic, which
    answers only while ``env.py`` runs.
    """

    name: str
    code: str
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    variable: bool = False
    ini: str = ""
    toml: str = ""
    keys: str = ""
    packed: Callable[[str], bytes] = str.encode
    shows: Callable[[str | None], str] = lambda word: word or ABSENT
    named: str | None = None
    scans: str = ""
    static: bool = False
    talks: bool = False


def presence(word: str | None) -> str:
    """What asking whether something is there shows."""
    return str(word is not None)


def size(word: str | None) -> str:
    """What asking for a size shows."""
    return str(len(word)) if word else ABSENT


THREAD = """
from pathlib import Path
from threading import Thread
found = []
thread = Thread(target=lambda: found.append({}))
thread.start()
thread.join()
value = found[0]
"""


def _variable(name: str, code: str, **more: Any) -> Source:
    return Source(f"variable {name}", code, variable=True, **more)


VARIABLES = [
    _variable("getenv", "value = os.getenv('$variable', 'absent')"),
    _variable("item", "value = os.environ['$variable']"),
    _variable("get", "value = os.environ.get('$variable', 'absent')"),
    _variable("in", "value = str('$variable' in os.environ)", shows=presence),
    _variable("setdefault", "value = os.environ.setdefault('$variable', 'absent')"),
    _variable("environb", "value = os.environb[b'$variable'].decode()"),
    _variable("getenvb", "value = os.getenvb(b'$variable', b'absent').decode()"),
    _variable("from a thread", THREAD.format("os.environ.get('$variable', 'absent')")),
    _variable(
        "expandvars",
        "value = os.path.expandvars('$$$variable')\nif value[0] == '$$': value = 'absent'",
    ),
    _variable(
        "template",
        "import string\nvalue = string.Template('$$$variable').substitute(os.environ)",
    ),
    _variable(
        "ChainMap",
        "from collections import ChainMap\nvalue = ChainMap({}, os.environ)['$variable']",
    ),
    _variable("copy", "value = os.environ.copy()['$variable']", scans="variables"),
    _variable("dict", "value = dict(os.environ)['$variable']", scans="variables"),
    _variable("union", "value = (os.environ | {})['$variable']", scans="variables"),
    _variable("unpacked", "value = {**os.environ}['$variable']", scans="variables"),
    _variable(
        "copy of environb", "value = dict(os.environb)[b'$variable'].decode()", scans="variables"
    ),
    _variable(
        "settings class",
        """
        class Settings:
            def __init__(self):
                lowered = {name.lower(): found for name, found in os.environ.items()}
                self.value = lowered['$variable'.lower()]
        value = Settings().value
        """,
        scans="variables",
    ),
    _variable(
        "names",
        "value = str('$variable' in [name for name in os.environ])",
        shows=presence,
        scans="variables",
    ),
]


def _module(name: str, code: str, files: Mapping[str, str] | None = None, **more: Any) -> Source:
    named = "def unused_$n():\n    import mod$n"
    content = files or {"mod$n.py": "VALUE = '$value'\n"}
    return Source(f"module {name}", code, content, named=more.pop("named", named), **more)


_PACKAGE = {"pack$n/__init__.py": "", "pack$n/sub.py": "VALUE = '$value'\n"}
MODULES = [
    Source("constant", "value = '$value'", static=True),
    _module("from import", "from mod$n import VALUE as value"),
    _module("import", "import mod$n\nvalue = mod$n.VALUE"),
    _module("from package", "from pack$n import sub\nvalue = sub.VALUE", _PACKAGE, named=None),
    _module(
        "re-exported",
        "from pack$n import VALUE as value",
        {**_PACKAGE, "pack$n/__init__.py": "from .sub import VALUE\n"},
        named=None,
    ),
    _module(
        "that imports another",
        "from outer$n import VALUE as value",
        {"outer$n.py": "from mod$n import VALUE\n", "mod$n.py": "VALUE = '$value'\n"},
    ),
    _module(
        "that imports another computed",
        "from outer$n import VALUE as value",
        {
            "outer$n.py": "import importlib\nVALUE = importlib.import_module('mo' + 'd$n').VALUE\n",
            "mod$n.py": "VALUE = '$value'\n",
        },
    ),
    _module("import_module", "import importlib\nvalue = importlib.import_module('mod$n').VALUE"),
    _module("computed", "import importlib\nvalue = importlib.import_module('mo' + 'd$n').VALUE"),
    _module("__import__", "value = __import__('mo' + 'd$n').VALUE"),
    _module("resolve_name", "import pkgutil\nvalue = pkgutil.resolve_name('mo' + 'd$n:VALUE')"),
    _module("from a thread", THREAD.format("__import__('mo' + 'd$n').VALUE")),
    _module(
        "by path",
        """
        from importlib import machinery, util
        loader = machinery.SourceFileLoader("by_path_$n", os.path.abspath($path))
        spec = util.spec_from_loader("by_path_$n", loader)
        module = util.module_from_spec(spec)
        spec.loader.exec_module(module)
        value = module.VALUE
        """,
        {"$raw": "VALUE = '$value'\n"},
        named='NAMED_$n = "$raw"',
    ),
    _module(
        "on a path of its own",
        """
        import sys
        sys.path.append(os.path.abspath("libs" + "$n"))
        value = __import__('mo' + 'd$n').VALUE
        """,
        {"libs$n/mod$n.py": "VALUE = '$value'\n"},
    ),
    _module(
        "found by pkgutil",
        """
        import importlib, pkgutil
        import pack$n
        names = [module.name for module in pkgutil.iter_modules(pack$n.__path__)]
        value = importlib.import_module(f"pack$n.{names[0]}").VALUE
        """,
        _PACKAGE,
        named=None,
    ),
]


def _setting(name: str, code: str, **more: Any) -> Source:
    return Source(f"setting {name}", "from alembic import context\n" + code, talks=True, **more)


SETTINGS = [
    _setting(
        "of a section",
        "value = context.config.get_section('own$n')['key']",
        ini="[own$n]\nkey = $value\n",
    ),
    _setting(
        "timezone of a section",
        "value = context.config.get_section('own$n')['timezone']",
        ini="[own$n]\ntimezone = $value\n",
    ),
    _setting(
        "with here",
        "value = context.config.get_section('own$n')['key'].rpartition('/')[2]",
        ini="[own$n]\nkey = %(here)s/$value\n",
    ),
    _setting(
        "of a section that sounds like logging",
        "value = context.config.get_section('loggers_own$n')['key']",
        ini="[loggers_own$n]\nkey = $value\n",
    ),
    _setting(
        "x argument",
        "value = context.get_x_argument(as_dictionary=True)['own$n']",
        keys="x = ['own$n=$value']\n",
    ),
    Source(
        "setting environment",
        "value = os.environ['$variable']",
        keys="environment = { $variable = '$value' }\n",
    ),
    Source(
        "setting pyproject",
        "import tomllib\n"
        "value = tomllib.load(open('pyproject.toml', 'rb'))['tool']['own$n']['key']",
        toml="[tool.own$n]\nkey = '$value'\n",
        scans="pyproject.toml",
    ),
    Source(
        "setting pyproject computed",
        "import tomllib\n"
        "value = tomllib.load(open('pyproject' + '.toml', 'rb'))['tool']['own$n']['key']",
        toml="[tool.own$n]\nkey = '$value'\n",
        named='NAMED_$n = "pyproject.toml"',
        scans="pyproject.toml",
    ),
    Source(
        "setting alembic.ini",
        "import configparser\nparser = configparser.RawConfigParser()\n"
        "parser.read('alembic' + '.ini')\nvalue = parser['own$n']['key']",
        ini="[own$n]\nkey = $value\n",
        named='NAMED_$n = "alembic.ini"',
        scans="alembic.ini",
    ),
]
