"""Files are read once, and what was parsed is remembered by its content, never by its name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os

import pytest

from alembic_snapshot.key import inputs
from alembic_snapshot.key.inputs import (
    Files,
    content_digest,
    files_below,
    is_litter,
    is_log_or_database,
    text_digest,
)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    return root


def write(root, name, text=""):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


class TestADigest:
    def test_is_of_the_content_when_it_was_first_read(self, root):
        files = Files(root, [])
        path = write(root, "a.txt", "one")
        assert files.digest(path) == hashlib.sha256(b"one").hexdigest()

        write(root, "a.txt", "two")

        assert files.digest(path) == hashlib.sha256(b"one").hexdigest()
        assert Files(root, []).digest(path) == hashlib.sha256(b"two").hexdigest()

    @pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 131072, 200_000])
    def test_is_of_all_of_it(self, root, size):
        content = (b"0123456789" * 20_000)[:size]
        (root / "a").write_bytes(content)

        assert Files(root, []).digest(str(root / "a")) == hashlib.sha256(content).hexdigest()

    def test_of_what_is_not_there_says_so(self, root):
        assert Files(root, []).digest(str(root / "gone")) == "missing"
        assert Files(root, []).digest(str(root)) == "missing"

    def test_of_a_device_which_has_no_end_is_that_of_nothing(self, root):
        assert Files(root, []).digest("/dev/zero") == "missing"

    def test_of_a_pipe_does_not_wait(self, root):
        os.mkfifo(root / "pipe")

        assert Files(root, []).digest(str(root / "pipe")) == hashlib.sha256(b"").hexdigest()

    def test_leaves_nothing_open(self, root):
        path = write(root, "a.txt")
        before = os.listdir("/proc/self/fd")

        for name in (path, "/dev/zero", str(root)):
            Files(root, []).digest(name)

        assert len(os.listdir("/proc/self/fd")) == len(before)

    def test_of_text_is_the_same_with_other_line_endings(self):
        assert content_digest(b"a\r\nb\r\n") == content_digest(b"a\nb\n")
        assert content_digest(b"\0a\r\n") != content_digest(b"\0a\n")

    def test_of_a_setting_tells_any_two_apart(self):
        texts = ["", "a", "ä", "a\r\n", "a\n", "\udc80", "\ud800"]

        assert len({text_digest(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("content", "is_database"),
    [(b"SQLite format 3\0...", True), (b"SQLite format 3", False), (b"x", False), (None, False)],
)
def test_a_database_is_told_by_its_content(root, content, is_database):
    if content is not None:
        (root / "a.txt").write_bytes(content)

    assert Files(root, []).is_database(str(root / "a.txt")) is is_database


class TestWhatIsRemembered:
    @pytest.fixture
    def cache(self, tmp_path):
        return tmp_path / "facts.json"

    def parsed(self, root, cache):
        """The names of the files that are parsed, and not remembered, to tell what each names."""
        with contextlib.suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
            record = json.loads(cache.read_bytes())
            for entry in record["facts"].values():
                if isinstance(entry, list) and len(entry) == 4:
                    entry[1] = ["remembered"]
            cache.write_text(json.dumps(record))
        files = Files(root, [], cache)
        told = []
        for path in sorted(root.iterdir()):
            names = files.facts(str(path)).names
            assert names in (["remembered"], [f"{path.stem}.csv"])
            told += [path.stem] if names != ["remembered"] else []
        files.save()
        return told

    @pytest.fixture
    def three(self, root):
        for name in "abc":
            write(root, f"{name}.py", f"NAME = '{name}.csv'\n")

    def test_is_what_was_parsed(self, root, cache, three):
        assert self.parsed(root, cache) == ["a", "b", "c"]
        assert self.parsed(root, cache) == []
        write(root, "b.py", "NAME = 'b.csv'  # changed\n")
        assert self.parsed(root, cache) == ["b"]
        assert self.parsed(root, cache) == []
        assert {path.name for path in cache.parent.iterdir()} == {"project", cache.name}

    def test_is_as_much_as_is_worth_it_and_the_newest(self, root, cache, three, monkeypatch):
        monkeypatch.setattr(inputs, "_FACTS_KEPT", 2)

        self.parsed(root, cache)

        assert self.parsed(root, cache) == ["a"]

    @pytest.mark.parametrize(
        "content",
        [
            b"", b"{", b"[]", b"{}", b"7", b"null", b"\xff",
            b'{"version": 5}', b'{"version": 5, "facts": []}', b'{"version": 5, "facts": null}',
            b'{"version": 4, "facts": {}}',
        ],
    )  # fmt: skip
    def test_may_be_anything(self, root, cache, three, content):
        cache.write_bytes(content)

        assert self.parsed(root, cache) == ["a", "b", "c"]
        assert self.parsed(root, cache) == []

    @pytest.mark.parametrize("entry", [None, {}, [[], [], None], [[], [], None, None, 1], "four"])
    def test_is_what_has_the_form(self, root, cache, three, entry):
        self.parsed(root, cache)
        record = json.loads(cache.read_text())
        record["facts"][Files(root, []).digest(str(root / "b.py"))] = entry
        cache.write_text(json.dumps(record))

        assert self.parsed(root, cache) == ["b"]

    def test_of_another_version_is_parsed_again(self, root, cache, three, monkeypatch):
        self.parsed(root, cache)
        monkeypatch.setattr(inputs, "_FACTS_VERSION", inputs._FACTS_VERSION + 1)

        assert self.parsed(root, cache) == ["a", "b", "c"]

    @pytest.mark.parametrize("where", ["in no folder", "in place of a folder", "nowhere"])
    def test_may_not_be_written(self, root, cache, three, where):
        if where == "in no folder":
            cache = cache.parent / "gone" / "facts.json"
        elif where == "in place of a folder":
            cache.mkdir()
        else:
            cache = None

        for _ in range(2):
            assert self.parsed(root, cache) == ["a", "b", "c"]

        assert {path.name for path in root.parent.iterdir()} <= {"project", "facts.json"}

    def test_is_not_what_does_not_parse(self, root, cache):
        for _ in range(2):
            files = Files(root, [], cache)
            assert files.facts(write(root, "a.py", "x = (")).error.startswith("line 1: ")
            assert files.facts(str(root / "gone.py")).error == "No such file or directory"
            files.save()
        assert not cache.exists()


class TestWhatIsBelowAFolder:
    def test_is_every_file_in_the_order_of_the_names(self, root):
        for name in ("b.sql", "a/c.txt", "a/b/d.py", "c.md", "Makefile", "READ.txt"):
            write(root, name)

        names = ["Makefile", "READ.txt", "a/b/d.py", "a/c.txt", "b.sql", "c.md"]
        assert [*files_below(root)] == [str(root / name) for name in names]

    @pytest.mark.parametrize(
        "name",
        [
            "a.pyc", "a.mako", "a.py~", "a.log", "a.db", "a.sqlite", "a.sqlite3", "a.db-journal",
            "a.db-wal", "a.db-shm", ".hidden", ".hidden/a.txt", "__pycache__/a.txt",
            "node_modules/a.txt", "site-packages/a.txt", "README", "README.md", "readme.rst",
        ],
    )  # fmt: skip
    def test_is_not_what_runs_and_tools_leave(self, root, name):
        write(root, name)
        write(root, f"deep/{name}")

        assert [*files_below(root)] == []

    def test_is_what_a_link_leads_to_once(self, root, tmp_path):
        write(tmp_path, "elsewhere/a.txt")
        (root / "linked").symlink_to(tmp_path / "elsewhere")
        (root / "inner").mkdir()
        (root / "inner/up").symlink_to(root)
        (root / "inner/self").symlink_to(root / "inner/self")

        # A link that leads nowhere is there; one that leads up is not followed again.
        assert [*files_below(root)] == [str(root / "inner/self"), str(root / "linked/a.txt")]
        assert [*files_below(tmp_path / "gone")] == []


class TestModules:
    @pytest.fixture
    def files(self, root):
        for name in (
            "lib/top.py", "lib/pkg/__init__.py", "lib/pkg/mod.py", "lib/bare/mod.py",
            "other/top.py", "other/pkg/more.py", "lib/both.py", "lib/both/__init__.py",
        ):  # fmt: skip
            write(root, name)
        return Files(root, [root / "lib", root / "other"])

    @pytest.mark.parametrize(
        ("dotted", "name"),
        [
            ("top", "lib/top.py"),
            ("pkg", "lib/pkg/__init__.py"),
            ("pkg.mod", "lib/pkg/mod.py"),
            ("bare.mod", "lib/bare/mod.py"),
            ("both", "lib/both/__init__.py"),
            ("bare", None),
            ("top.inner", None),
            ("pkg.inner", None),
            ("pkg.more", None),
            ("nowhere", None),
            ("nowhere.deep", None),
        ],
    )
    def test_are_found_on_the_path_in_its_order(self, files, root, dotted, name):
        for _ in range(2):
            assert files.find_module(dotted) == (name and str(root / name))

    def test_bring_what_they_import_and_name(self, root, files):
        write(root, "lib/pkg/mod.py", "from . import sub\nfrom .. import x\nNAME = 'rows.csv'\n")
        write(root, "lib/pkg/sub.py", "from pkg import mod\nNAME = '../up.csv'\n")
        for name in ("lib/pkg/rows.csv", "lib/up.csv", "rows.csv", "lib/pkg/other.csv"):
            write(root, name, "import top\n")

        found = files.closure(str(root / "lib/pkg/mod.py"))

        names = ("pkg/mod.py", "pkg/sub.py", "pkg/__init__.py", "pkg/rows.csv", "up.csv")
        assert found == {*(str(root / "lib" / name) for name in names), str(root / "rows.csv")}

    def test_that_are_gone_bring_themselves(self, root, files):
        assert files.closure(str(root / "gone.py")) == {str(root / "gone.py")}


def test_what_a_run_leaves_is_told_by_its_name():
    assert is_litter("Thumbs.db")
    assert is_litter(".coverage.host")
    assert not is_litter(".coveragerc")
    assert is_log_or_database("x.log")
    assert not is_log_or_database("log")
