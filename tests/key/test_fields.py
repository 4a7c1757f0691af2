"""What is read of a revision's fields is what running the script would make of them."""

from __future__ import annotations

import ast
import textwrap
import types

import pytest

from alembic_snapshot.key.fields import FIELDS, revision_fields

LITERAL = """
revision = "0002"
down_revision = "0001"
depends_on = None
branch_labels = None
"""


def read(text):
    """The fields as they are read, and the names of those that are computed."""
    tree = ast.parse(textwrap.dedent(text))
    found = revision_fields(tree, list(ast.walk(tree)))
    return found, {name for name, _ in found["computed"]} if found else set()


def ran(text):
    """The fields as a run leaves them."""
    module = types.ModuleType("script")
    # A script may look for itself among the modules.
    exec(compile(textwrap.dedent(text), "script.py", "exec"), module.__dict__)
    return {name: getattr(module, name, None) for name in FIELDS}


READABLE = [
    LITERAL,
    "A = '0001'\nB = '0000'\nrevision = 'x'\ndown_revision = (A, B)\n",
    "REV: str = 'x'\nPARENT = REV2 = '0001'\nrevision = REV\ndown_revision = REV2\n",
    "revision = 'w'\nrevision = 'x'\ndown_revision = None\ndown_revision = revision\n",
    "revision: str = 'x'\ndown_revision: str | None\ndown_revision = '0001'\n",
    "revision, (down_revision, depends_on) = ['x', ('0001', None)]\n",
    "revision, down_revision = 'a', 'b'\nrevision, down_revision = down_revision, revision\n",
    "revision = 'x'\ndown_revision = ['0001', '0000']\nbranch_labels = {'b', 'a'}\n",
    "from os.path import *\nrevision = 'x'\ndown_revision = None\ndepends_on = None\n"
    "branch_labels = None\n",
    *(
        f"from {name} import *\nrevision = 'x'\ndown_revision = '0001'\n"
        for name in ("sqlalchemy", "alembic", "sqlalchemy.types", "alembic.op")
    ),
    *(
        f"revision = 'x'\ndown_revision = '0001'\nfrom {name} import *\n"
        for name in ("sqlalchemy", "alembic")
    ),
    "revision = 'x'\ndown_revision = '0001'\nfrom os import path\n",
    "revision = 'x'\ndown_revision = '0001'\nf = lambda: (down_revision := 'y')\n",
    "revision = 'x'\ndown_revision = '0001'\nimport os\nSEPARATOR = os.sep\n",
    "A = '0001'\nfrom alembic import op\nrevision = 'x'\ndown_revision = A\n",
    "revision = 'x'\ndown_revision = '0001'\ndown_revision: str\ndepends_on: str\n",
    "revision = 'x'\ndown_revision = ['0001']\ndef upgrade(helper):\n    helper()['x']\n",
    "revision = 'x'\ndown_revision = ['0001']\ndef upgrade(helper):\n    helper.all()['x']\n",
    "revision = 'x'\ndown_revision = ['0001']\ndef upgrade(helper):\n    helper['x']\n",
    "revision = 'x'\ndown_revision = '0001'\n\ndef upgrade():\n    down_revision = 'local'\n",
    "revision = 'x'\ndown_revision = '0001'\n\nclass Table:\n    down_revision = 'its own'\n",
    "revision = 'x'\ndown_revision = '0001'\nnames = [revision for revision in 'ab']\n",
    "revision = 'x'\ndown_revision = '0001'\n\ndef upgrade(name):\n    globals()[f'up_{name}']()\n",
]
COMPUTED = [
    ("if True:\n    down_revision = '0000'\n", "down_revision"),
    ("for down_revision in ['0000']: ...\n", "down_revision"),
    ("while True:\n    down_revision = '0000'\n    break\n", "down_revision"),
    ("try:\n    down_revision = '0000'\nfinally: ...\n", "down_revision"),
    ("import contextlib\nwith contextlib.nullcontext('0000') as down_revision: ...\n",
     "down_revision"),
    ("match '0000':\n    case down_revision: ...\n", "down_revision"),
    ("match ['0000']:\n    case [*depends_on]: ...\n", "depends_on"),
    ("match {'a': 1}:\n    case {**depends_on}: ...\n", "depends_on"),
    ("(down_revision := '0000')\n", "down_revision"),
    ("print(f'{(down_revision := None)}', end='')\n", "down_revision"),
    ("def f(x=(down_revision := '0000')): ...\n", "down_revision"),
    ("@(down_revision := lambda f: f)\ndef f(): ...\n", "down_revision"),
    ("[(down_revision := item) for item in ['0000']]\n", "down_revision"),
    ("[item for item in ['0000'] if (down_revision := item)]\n", "down_revision"),
    ("any((down_revision := item) for item in ['0000'])\n", "down_revision"),
    ("del depends_on\n", "depends_on"),
    ("depends_on, *rest = ['0000']\n", "depends_on"),
    ("depends_on, rest = 'ab'\n", "depends_on"),
    ("down_revision += '_0'\n", "down_revision"),
    ("down_revision = str('0000')\n", "down_revision"),
    ("down_revision = f'{revision}_0'\n", "down_revision"),
    ("down_revision = '0000' if True else None\n", "down_revision"),
    ("down_revision = ('0000', *())\n", "down_revision"),
    ("down_revision = 7\n", "down_revision"),
    ("down_revision = __name__\n", "down_revision"),
    ("down_revision = [['0000']]\n", "down_revision"),
    ("revision = None\n", "revision"),
    ("revision = b'x'\n", "revision"),
    ("import os as revision\n", "revision"),
    ("from os import path as branch_labels\n", "branch_labels"),
    ("def depends_on(): ...\n", "depends_on"),
    ("class revision: ...\n", "revision"),
    ("def f():\n    global down_revision\n    down_revision = '0000'\nf()\n", "down_revision"),
    ("A = '0001'\ndown_revision = A\ndef f():\n    global A\n    A = 'b'\n", "down_revision"),
    ("def f():\n    global A\n    A = '0000'\nA = '0001'\nf()\ndown_revision = A\n",
     "down_revision"),
    ("A = ['0000']\ndown_revision = A\nA.append('0001')\n", "down_revision"),
    ("down_revision = ['0000']\ndown_revision.append('0001')\n", "down_revision"),
    ("down_revision = A = ['0000']\nA.append('0001')\n", "down_revision"),
    ("down_revision = ['0000']\ndef f():\n    down_revision.clear()\nf()\n", "down_revision"),
    ("globals()['down_revision'] = '0000'\n", "down_revision"),
    ("def f():\n    globals().update(down_revision='0000')\nf()\n", "down_revision"),
    ("def f():\n    globals()['down_revision'] = '0000'\nf()\n", "down_revision"),
    ("depends_on = ['a']\ndef f():\n    globals()['depends_on'].append('b')\nf()\n", "depends_on"),
    ("vars()['down_revision'] = '0000'\n", "down_revision"),
    ("class A(down_revision := object): ...\n", "down_revision"),
    ("class A(metaclass=(down_revision := type)): ...\n", "down_revision"),
    ("@(down_revision := lambda made: made)\nclass A: ...\n", "down_revision"),
    ("f = lambda x=(down_revision := '0'): x\n", "down_revision"),
    ("@(down_revision := lambda made: made)\nasync def f(): ...\n", "down_revision"),
    ("[x for x in [exec('down_revision = 1')]]\n", "down_revision"),
    ("exec('down_revision = 1')\n", "down_revision"),
    ("A = '0001'\nfrom sqlalchemy import *\ndown_revision = A\n", "down_revision"),
    ("down_revision, depends_on, A = *[], '0000', *['p', 'q']\n", "down_revision"),
    ("eval('globals().update(down_revision=1)')\n", "down_revision"),
    ("locals()['down_revision'] = '0000'\n", "down_revision"),
    ("import types\ndelattr(types.SimpleNamespace(a=1), 'a')\n", "down_revision"),
    ("import sys\nvars(sys.modules.get(__name__, sys))\n", "down_revision"),
    ("import sys\nsys.modules.get(__name__)\n", "down_revision"),
    ("import sys\nsys._getframe().f_locals['down_revision'] = '0000'\n", "down_revision"),
    ("import types\ntypes.__dict__.get('down_revision')\n", "down_revision"),
    ("class A:\n    class B:\n        vars()['down_revision'] = 1\n", "down_revision"),
    ("class A:\n    import sys\n    sys._getframe(1).f_locals['depends_on'] = 'x'\n",
     "depends_on"),
    ("class A:\n    exec('down_revision = 1', globals())\n", "down_revision"),
    ("import sys\nsetattr(sys, 'x', 1)\n", "down_revision"),
    ("from os.path import *\n", "down_revision"),
]  # fmt: skip


@pytest.mark.parametrize("text", READABLE)
def test_literals_and_names_of_literals_are_read(text):
    found, computed = read(text)

    assert not computed
    theirs = {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in ran(text).items()
        if value is not None
    }
    assert {n: v for n, v in found.items() if n != "computed" and v is not None} == theirs


@pytest.mark.parametrize(("lines", "field"), COMPUTED)
def test_whatever_else_binds_a_field_makes_it_computed_and_no_other_value_is_wrong(lines, field):
    text = LITERAL + lines

    found, computed = read(text)

    assert field in computed
    theirs = ran(text)
    assert all(theirs[name] == found[name] for name in FIELDS if name not in computed)
    assert all(repr(theirs[name]) == value for name, _, value in found.get("wrong", ()))


@pytest.mark.parametrize("value", ["7", "('0000', 7)", "[None]", "b'a'"])
@pytest.mark.parametrize("field", ["down_revision", "depends_on", "branch_labels"])
def test_a_value_that_alembic_can_not_take_is_wrong(field, value):
    found, computed = read(f"{LITERAL}{field} = {value}\n")

    assert computed == {field}
    assert found["wrong"] == [[field, 6, value]]


@pytest.mark.parametrize(
    "line",
    [
        "from .sqlalchemy import *",
        "from . import *",
        "import down_revision.deeper",
        "down_revision, depends_on = 'a', 'b', 'c'",
        "down_revision, depends_on = ('a',)",
    ],
)
def test_what_runs_only_elsewhere_or_fails_is_left_to_the_run(line):
    assert "down_revision" in read(LITERAL + line)[1]


def test_what_computes_a_field_is_named_with_its_line():
    found, _ = read("revision = 'x'\n\n\nif True:\n    down_revision = '0001'\n")

    assert found["computed"] == [["down_revision", 5]]


@pytest.mark.parametrize("line", ["exec('...')", "from os.path import *", "vars()", "globals()"])
def test_what_may_bind_anything_may_bind_a_field_that_the_script_does_not(line):
    assert read(f"{line}\nrevision = 'x'\n")[1] >= {"down_revision", "depends_on"}


@pytest.mark.parametrize("line", ["exec('...')", "from os.path import *", "vars()"])
def test_what_may_bind_anything_may_bind_a_constant(line):
    text = f"A = '0001'\n{line}\nrevision = 'x'\ndown_revision = A\n"

    assert "down_revision" in read(text)[1]


def test_what_is_assigned_after_anything_could_have_been_is_known_again():
    found, computed = read(f"from os.path import *\n{LITERAL}")

    assert not computed
    assert found["down_revision"] == "0001"


def test_a_module_that_answers_for_names_it_does_not_have_may_answer_for_a_field():
    text = "revision = 'x'\ndown_revision = None\ndef __getattr__(name): return '0001'\n"

    assert read(text)[1] == {"depends_on", "branch_labels"}


@pytest.mark.parametrize("text", ["x = 1\n", "down_revision = f()\n", "def revision_of(): ...\n"])
def test_a_module_that_does_not_bind_revision_is_no_script(text):
    tree = ast.parse(text)
    assert revision_fields(tree, list(ast.walk(tree))) is None
