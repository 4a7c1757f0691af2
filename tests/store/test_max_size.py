"""The store does not grow for ever: what was not asked for longest goes, and that is said."""

from __future__ import annotations

import os

import pytest

from alembic_snapshot.checks import size
from alembic_snapshot.errors import ConfigError
from alembic_snapshot.project.sizes import bytes_of, check_size
from alembic_snapshot.sqlite.store import FileStore


@pytest.fixture
def store(project):
    return FileStore(project.root / ".alembic-snapshot")


def builds(project, count):
    """So many builds of which none stands on another, the first used longest ago."""
    made = []
    for number in range(count):
        project.revision("0001", upgrade=f"op.execute('create table t_{number} (x)')")
        made.append(project.ensure())
        os.utime(made[-1].path.parent, (number + 1, number + 1))
    return made


def small(project, count):
    project.configure(f'max_size = "{count} B"')


def test_what_was_not_asked_for_longest_goes_first_and_is_said(project, store):
    old, middle, new = builds(project, 3)
    small(project, old.manifest.size * 2)
    project.revision("0001", upgrade="op.execute('create table last (x)')")

    last = project.ensure()

    assert [s.path.exists() for s in (old, middle, new, last)] == [False, False, True, True]
    freed = old.manifest.size + middle.manifest.size
    assert last.notes == (
        f"deleted 2 snapshots, {size(freed)}, which nobody had asked for longest: the store is to "
        f"have at most {old.manifest.size * 2} B (max_size)",
    )


def test_what_is_in_use_stays_and_that_is_said(project, store):
    old, new = builds(project, 2)
    small(project, 1)
    project.revision("0001", upgrade="op.execute('create table last (x)')")

    with old.in_use():
        last = project.ensure()

    assert [s.path.exists() for s in (old, new, last)] == [True, False, True]
    left = size(old.manifest.size + last.manifest.size)
    assert last.notes == (
        f"deleted 1 snapshot, {size(new.manifest.size)}, which nobody had asked for longest: the "
        "store is to have at most 1 B (max_size)",
        f"the store has {left}, more than 1 B (max_size): all of it is in use, or was just now",
    )


def test_what_a_build_stands_on_stays(project, store):
    project.history(2)
    project.ensure()
    project.revision("0003", "0002")
    second = project.ensure()
    for entry in store.entries():
        os.utime(os.path.dirname(entry.database.name), (1, 1))
    os.utime(second.path.parent)
    below = [e for e in store.entries() if e.manifest.is_published_with(second.manifest)]
    project.revision("0004", "0002", upgrade="op.execute('create table other (x)')")
    project.configure('heads = "many"\nmax_size = "1 B"')

    last = project.ensure()

    assert all(os.path.exists(entry.database.name) for entry in below if entry.used > 1)
    assert second.path.exists()
    assert last.path.exists()


def test_nothing_goes_while_there_is_room_nor_on_a_hit(project, store):
    old, new = builds(project, 2)

    assert project.ensure().notes == ()
    small(project, 1)
    assert project.ensure().notes == ()
    assert old.path.exists()
    assert new.path.exists()


@pytest.mark.parametrize("text", ["", "5", "GB", "-1 GB", "5 PB", "5 GB or so"])
def test_what_is_no_size_is_an_error(project, text):
    project.configure(f'max_size = "{text}"')

    done = project.command("key")

    assert done.returncode == 2
    assert "max_size" in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize(
    ("text", "count"),
    [("5 GB", 5 * 10**9), ("5GB", 5 * 10**9), ("1.5 gb", 15 * 10**8), ("0 B", 0), ("1 KiB", 1024)],
)
def test_sizes_are_as_people_write_them(text, count):
    assert bytes_of(text) == count


def test_the_command_says_what_it_deleted(project, store):
    builds(project, 1)
    small(project, 1)
    project.revision("0001", upgrade="op.execute('create table last (x)')")

    done = project.command("build", "--quiet")

    assert done.returncode == 0
    assert "warning: deleted 1 snapshot, " in done.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0 B", 0),
        ("1b", 1),
        (" 10 B ", 10),
        ("1.9 B", 1),
        ("1 kB", 1000),
        ("1KiB", 1024),
        ("2.5 MB", 2_500_000),
        ("2 mib", 2 * 1024**2),
        ("5 GB", 5 * 10**9),
        ("5 GiB", 5 * 1024**3),
        ("1 TB", 10**12),
        ("1 TiB", 1024**4),
    ],
)
def test_a_size_is_read_as_people_write_it(text, size):
    assert bytes_of(text) == size
    check_size(text, "max_size")


@pytest.mark.parametrize("text", ["", "5", "5 X", "-1 B", "5 GBit", "five GB", "1. B", "5 iGB"])
def test_what_is_no_size_is_told(text):
    with pytest.raises(ConfigError) as caught:
        check_size(text, "max_size")

    assert str(caught.value) == (
        f"max_size is {text!r}, which is no size\nhint: write for example 500 MB or 5 GB"
    )


def test_no_size_at_all_is_none_to_see_to():
    check_size(None, "max_size")
