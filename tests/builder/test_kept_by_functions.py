"""G3: what a function reads once and keeps counts for each state that may be given it.

Scripts are loaded in the order of their files' names, so a late one may be the first that asks.
"""

from __future__ import annotations

import pytest

PUT = "op.execute('create table kv (v)')\nop.get_bind().exec_driver_sql(" \
      "'insert into kv values (?)', (str({value}),))"  # fmt: skip
# Where a module keeps what it has read.
KEEPERS = {
    "lru_cache": "@functools.lru_cache\ndef settings():\n    return read()\n",
    "an object of a library": (
        "kept = types.SimpleNamespace()\ndef settings():\n"
        "    if not hasattr(kept, 'one'):\n        kept.one = read()\n    return kept.one\n"
    ),
    "a thread's own": (
        "kept = threading.local()\ndef settings():\n"
        "    if not hasattr(kept, 'one'):\n        kept.one = read()\n    return kept.one\n"
    ),
    "another module": "from shop.keeper import kept\ndef settings():\n    return kept(read)\n",
}
READS = {
    "a variable": "os.environ.get('TENANT', 'old')",
    "a file": "open('data/' + 'a.txt').read()",
    "a listing": "','.join(os.listdir('da' + 'ta'))",
    "a question": "str(os.path.getsize('data/' + 'a.txt'))",
    "a module": "importlib.import_module('shop.pl' + 'ugin').V",
    "a module that env.py has": "importlib.import_module('shop.us' + 'ed').V",
}
MODULES = "import functools, importlib, os, threading, types\n"
KEEPER = "import functools\n@functools.lru_cache\ndef kept(read):\n    return read()\n"


def put(project, state):
    project.write("data/a.txt", state)
    if state == "new one":
        project.write("data/b.txt", "")
    for name in ("plugin", "used"):
        project.write(f"shop/{name}.py", f"V = {state!r}\n")


@pytest.mark.parametrize(
    ("keeper", "read"),
    [*((keeper, "a variable") for keeper in KEEPERS), *(("lru_cache", read) for read in READS)],
)
def test_what_a_late_script_was_the_first_to_ask_for_counts_below_it(
    project, rows, monkeypatch, keeper, read
):
    put(project, "old")
    project.write("shop/__init__.py", "")
    project.write("shop/keeper.py", KEEPER)
    reader = f"{MODULES}def read():\n    return {READS[read]}\n{KEEPERS[keeper]}"
    project.write("shop/settings.py", reader)
    env = project.root / "migrations/env.py"
    env.write_text(f"import shop.used\n{env.read_text()}")
    settings = "from shop.settings import settings\n"
    project.revision("e001", upgrade=PUT.format(value="settings()"), header=settings)
    project.revision("a002", "e001", header=f"{settings}SETTINGS = settings()")
    project.ensure()

    put(project, "new one")
    monkeypatch.setenv("TENANT", "new one")
    built = rows(project.ensure().path, "select v from kv")

    assert built == rows(project.ensure(rebuild=True).path, "select v from kv")
    assert built != [("old",)]


def test_what_only_a_late_script_reads_when_it_is_loaded_is_still_its_own(project, monkeypatch):
    project.write("shop.py", "import os\ndef tenant():\n    return os.environ.get('TENANT')\n")
    project.revision("e001")
    project.revision("a002", "e001", header="from shop import tenant\nTENANT = tenant()")
    project.ensure()

    monkeypatch.setenv("TENANT", "new")
    _, ran = project.build()

    assert ran == ["a002"]
