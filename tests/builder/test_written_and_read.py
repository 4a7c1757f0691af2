"""G3: what was asked of a file before the build wrote it counts, and who wrote what it then reads.

What is built after a change on the old store equals what is built on an empty one.
"""

from __future__ import annotations

import pytest

START = "import os, pathlib, shutil, tempfile\nop.execute('create table kv (v)')\n"
PUT = "op.get_bind().exec_driver_sql('insert into kv values (?)', (str({value}),))"
CACHE = "c = pathlib.Path('ca' + 'che.json')\n"
# A revision that finds its own file the next time.
KEPT = {
    "exists": "if not c.exists(): c.write_text('first')\nv = c.read_text()",
    "missing": (
        "try:\n    v = c.read_text()\nexcept FileNotFoundError:\n    v = 'first'\n"
        "    c.write_text(v)"
    ),
    "a mark": "v = 'again' if c.exists() else 'first'\nc.touch()",
    "exclusive": (
        "try:\n    open(c, 'x').close()\n    v = 'first'\nexcept FileExistsError:\n    v = 'again'"
    ),
    "a folder": "try:\n    c.mkdir()\n    v = 'first'\nexcept FileExistsError:\n    v = 'again'",
    "a listing": "v = 'again' if c.name in os.listdir('.') else 'first'\nc.write_text('x')",
    "moved there": (
        "t = pathlib.Path('t')\nt.write_text('first')\nif not c.exists(): t.rename(c)\n"
        "v = c.read_text()"
    ),
    "a link": "try:\n    c.symlink_to('nowhere')\n    v = 'first'\n"
              "except FileExistsError:\n    v = 'again'",
}  # fmt: skip
# How a file comes to be read under another name; it is called `in.sql`.
P = "p = os.path.abspath('in' + '.sql')\nt = os.path.join(tempfile.mkdtemp(), 'x')\n"
MOVED = {
    "renamed and put back": (
        "os.rename(p, 'work.sql')\nv = open('work.sql').read()\nos.rename('work.sql', p)"
    ),
    "renamed outside and put back": "os.rename(p, t)\nv = open(t).read()\nshutil.move(t, p)",
    "linked": "os.link(p, 'l.sql')\nv = open('l.sql').read()\nos.remove('l.sql')",
    "linked outside": "os.symlink(p, t)\nv = open(t).read()",
    "its folder linked outside": (
        "os.symlink(os.path.abspath('da' + 'ta'), t)\nv = open(os.path.join(t, 'in.sql')).read()"
    ),
    "its folder renamed and put back": (
        "os.rename('da' + 'ta', 'w')\nv = open('w/in.sql').read()\nos.rename('w', 'da' + 'ta')"
    ),
}


def snapshot_and_scratch(project, rows):
    """What the store has, and what is built from nothing with the files as they were before."""
    there = {path: path.read_bytes() for path in project.root.glob("*") if path.is_file()}
    kept = project.root / "cache.json"
    is_there = kept.exists() or kept.is_symlink()
    found = rows(project.ensure().path, "select v from kv")
    if not is_there and (kept.exists() or kept.is_symlink()):
        kept.rmdir() if kept.is_dir() else kept.unlink()
    for path, content in there.items():
        path.write_bytes(content)
    return found, rows(project.ensure(rebuild=True).path, "select v from kv")


@pytest.mark.parametrize("edit", ["left", "edited", "gone"])
@pytest.mark.parametrize("way", KEPT)
def test_a_file_that_was_asked_for_before_it_was_written_counts(project, rows, way, edit):
    project.revision("0001", upgrade=f"{START}{CACHE}{KEPT[way]}\n{PUT.format(value='v')}")
    project.ensure()
    kept = project.root / "cache.json"
    if edit == "edited" and kept.is_file():
        kept.write_text("another")
    elif edit == "gone":
        kept.rmdir() if kept.is_dir() else kept.unlink()

    found, scratch = snapshot_and_scratch(project, rows)

    assert found == scratch
    assert edit == "gone" or not project.look_up().reasons


@pytest.mark.parametrize("way", MOVED)
def test_a_file_that_is_read_under_another_name_counts(project, rows, way):
    project.write("in.sql", "old")
    project.write("data/in.sql", "old")
    project.revision("0001", upgrade=f"{START}{P}{MOVED[way]}\n{PUT.format(value='v')}")
    project.ensure()
    assert not project.look_up().reasons

    project.write("in.sql", "new")
    project.write("data/in.sql", "new")

    assert rows(project.ensure().path, "select v from kv") == [("new",)]


def test_what_a_module_of_env_py_reads_counts_for_who_reads_what_it_wrote(project, rows):
    project.write("app/__init__.py", "")
    project.write("app/spec.txt", "old")
    project.write("app/gen.py", "from pathlib import Path\nhere = Path(__file__).parent\n"
                  "(here / 'gen.txt').write_text((here / 'spec.txt').read_text())\n")  # fmt: skip
    env = project.root / "migrations/env.py"
    env.write_text(f"import app.gen\n{env.read_text()}")
    value = "open('app/gen' + '.txt').read()"
    project.revision("0001", upgrade=f"{START}{PUT.format(value=value)}")
    project.ensure()
    (project.root / "app/gen.txt").unlink()
    assert not project.look_up().reasons

    project.write("app/spec.txt", "new")

    assert rows(project.ensure().path, "select v from kv") == [("new",)]


def test_a_file_that_the_next_build_finds_otherwise_is_told(project):
    value = "v"
    upgrade = f"{START}{CACHE}{KEPT['exists']}\n{PUT.format(value=value)}"
    project.revision("0001", upgrade=upgrade)

    first, second = project.command("build"), project.command("build")

    assert "cache.json was not there when it was asked for, and the build left it" in first.stderr
    assert "cache.json" in second.stderr  # It is why it was built again.
    assert "left it" not in second.stderr


def test_a_downgrade_that_keeps_a_file_is_tried_again(project):
    path = project.revision("0001")
    text = path.read_text()
    down = f"    import pathlib\n    {CACHE}    if not c.exists(): c.write_text('ok')\n" \
           "    assert c.read_text() == 'ok'\n    op.drop_table('t_0001')\n"  # fmt: skip
    path.write_text(f"{text[: text.index('def downgrade')]}def downgrade():\n{down}")
    assert "failed" not in project.command("check").stdout

    project.write("cache.json", "another")

    assert "downgrade failed" in project.command("check").stdout


def test_what_is_made_and_removed_leaves_nothing_to_compare(project):
    upgrade = f"{START}{CACHE}if not c.exists(): c.write_text('x')\nc.unlink()\n"
    project.revision("0001", upgrade=upgrade)

    assert not project.ensure().manifest.warnings
    assert not project.look_up().reasons
