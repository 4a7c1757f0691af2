"""`make mutants`: which mistakes it makes, where, and what it says when it can say nothing."""

from __future__ import annotations

import fnmatch
import subprocess
import sys
import textwrap

import pytest

from .changed import lines_since
from .copies import Copy
from .guards import LIBRARY, ROOT, UNGUARDED, Guard, guards
from .known import FILE, Known
from .left_out import Source
from .mutants import Mutant, mutants
from .run import Broken, confirm, run


def codes(tmp_path, text, kind=None):
    """What the mutants of a module are, as lines before and after."""
    text = textwrap.dedent(text).lstrip("\n")
    (tmp_path / "module.py").write_text(text)
    made = [m for m in mutants(tmp_path, "module.py") if kind in (None, m.kind)]
    return [m.lines(text) for m in made if m.is_python(text)]


class TestTheTable:
    def test_every_module_of_the_library_is_guarded_by_tests_or_says_why_not(self):
        folder = ROOT / LIBRARY
        paths = [path for path in folder.rglob("*.py") if path.name != "__init__.py"]
        names = {path.relative_to(folder).with_suffix("").as_posix() for path in paths}
        guarded = [g.path.removeprefix(f"{LIBRARY}/").removesuffix(".py") for g in guards()]

        without = [n for n in names if any(fnmatch.fnmatch(n, p) for p in UNGUARDED)]

        assert sorted([*without, *set(guarded) & names]) == sorted(names)
        assert len(guarded) == len(set(guarded))
        assert all(any(fnmatch.fnmatch(name, p) for name in names) for p in UNGUARDED)

    def test_names_modules_and_tests_that_are_there(self):
        for guard in guards():
            assert all((ROOT / name).is_file() for name in (guard.path, *guard.tests))

    def test_a_module_that_is_not_there_is_an_error(self, tmp_path):
        with pytest.raises(LookupError, match="key: there is no module"):
            list(guards(tmp_path))

    def test_no_entry_of_the_known_mutants_is_out_of_date(self):
        known = Known(FILE.read_text(encoding="utf-8"))

        every = (m for g in guards() if g.path in known.paths for m in mutants(ROOT, g.path))

        assert known.gone(ROOT, every) == []


class TestWhatIsMade:
    @pytest.mark.parametrize(
        ("kind", "text", "made"),
        [
            ("statement", "f()", [("f()", "pass")]),
            ("statement", "x += 1", [("x += 1", "pass")]),
            ("statement", "raise ValueError", [("raise ValueError", "pass")]),
            ("condition", "if a:\n    f()", [("if a:", "if True:"), ("if a:", "if False:")]),
            ("condition", "while a:\n    f()", [("while a:", "while False:")]),
            ("context", "with a, b as c:\n    f()", 1),
            ("operand", "a and b", [("a and b", "b"), ("a and b", "a")]),
            ("element", "x = [1, 2]", [("x = [1, 2]", "x = [2]"), ("x = [1, 2]", "x = [1]")]),
            ("element", "x = 1, 2", [("x = 1, 2", "x = 2"), ("x = 1, 2", "x = 1,")]),
            ("argument", "f(1, a=2, b=3)", 2),
            ("exception", "try: f()\nexcept a.B: pass", [("except a.B: pass", "except (): pass")]),
            ("call", "a.b(1).c(2)", [("a.b(1).c(2)", "a.b(1)")]),
            ("core/ReplaceComparisonOperator_Lt_LtE", "a < b", [("a < b", "a <= b")]),
            ("core/ReplaceTrueWithFalse", "f(True)", [("f(True)", "f(False)")]),
            ("core/ExceptionReplacer", "try:\n    f()\nexcept E:\n    g()", 1),
            ("core/ZeroIterationForLoop", "for a in b:\n    f()", 1),
        ],
    )
    def test_each_kind(self, tmp_path, kind, text, made):
        found = codes(tmp_path, text, kind)

        assert len(found) == made if isinstance(made, int) else found == made

    @pytest.mark.parametrize(
        "text",
        [
            "x: int | None",
            "def f(x: A | B) -> list[C | D]: ...",
            "if TYPE_CHECKING:\n    import a",
            "class A(Protocol):\n    x: int",
            '"""Only a docstring."""',
            "__tracebackhide__ = True",
            "class A:\n    @abc.abstractmethod\n    def f(self): ...",
            "def f(a, *, b): ...",
            "f = lambda *, b: g",
        ],
    )
    def test_none_where_nothing_runs(self, tmp_path, text):
        assert codes(tmp_path, text) == []

    @pytest.mark.parametrize("caught", ["a.B", "(a.B, C)", "(C, a.B.D)"])
    def test_that_cosmic_ray_can_not_make_is_none(self, tmp_path, caught):
        text = f"try: f()\nexcept {caught}: pass\n"
        (tmp_path / "module.py").write_text(text)

        made = [m for m in mutants(tmp_path, "module.py") if m.is_python(text)]

        assert made
        assert all(m.code(text) != text for m in made)

    def test_is_found_beside_characters_of_several_bytes(self, tmp_path):
        assert codes(tmp_path, "x = 'äö€'; f()", "statement") == [
            ("x = 'äö€'; f()", "x = 'äö€'; pass")
        ]


ENTRY = """
[[mutant]]
path = "module.py"
before = "if a < 1:"
after = "if a <= 1:"
why = "a is never 1"
"""


class TestKnownMutants:
    def test_are_told_by_what_differs_wherever_it_stands(self, tmp_path):
        known = Known(ENTRY)
        text = "x = 1\n\nif a < 1:\n    f()\n"
        (tmp_path / "module.py").write_text(text)

        whys = [known.why(m, text) for m in mutants(tmp_path, "module.py")]

        assert [why for why in whys if why] == ["a is never 1"]
        assert known.gone(tmp_path, mutants(tmp_path, "module.py")) == []

    @pytest.mark.parametrize("text", ["if a < 2:\n    f()\n", "if a <= 1:\n    f()\n", "", None])
    def test_that_are_gone_are_told(self, tmp_path, text):
        if text is not None:
            (tmp_path / "module.py").write_text(text)
        every = mutants(tmp_path, "module.py") if text is not None else ()

        assert Known(ENTRY).gone(tmp_path, every) == ["module.py: if a < 1:"]

    @pytest.mark.parametrize("name", ["path", "before", "after", "why"])
    def test_without_a_reason_or_a_place_are_an_error(self, name):
        text = "\n".join(line for line in ENTRY.splitlines() if not line.startswith(name))

        with pytest.raises(ValueError, match="path, before, after and why"):
            Known(text)


# A test that sees the module in a process of its own.
BITES = """
    import subprocess, sys

    def test_in_another_process():
        code = "import module; print(module.least(3))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "3\\n"
"""
MODULE = """
    def least(x):
        if x < 1:
            x = 1
        return x
"""


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A committed project with a module, tests that bite, and tests that can't."""
    root = tmp_path_factory.mktemp("project")
    files = {"module.py": MODULE, "test_bites.py": BITES, "pyproject.toml": "[tool.pytest]\n"}
    files["test_passes.py"] = "def test_nothing(): pass\n"
    files["test_broken.py"] = "def test_false(): assert False\n"
    files["test_hangs.py"] = "import time\ndef test_never(): time.sleep(600)\n"
    files["pyproject.toml"] = "[tool.pytest.ini_options]\nmarkers = ['campaign: no']\n"
    for name, text in files.items():
        (root / name).write_text(textwrap.dedent(text).lstrip("\n"))
    git(root, "init", "--quiet", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "all")
    return root


@pytest.fixture(scope="module")
def copy(tree, tmp_path_factory):
    (tree / "uncommitted.py").touch()
    return Copy(tree, tmp_path_factory.mktemp("copy"))


def never(root):
    """The mutant that never does what the module's condition is for."""
    (mutant,) = (
        m
        for m in mutants(root, "module.py")
        if m.lines((root / "module.py").read_text())[1] == "if True:"
    )
    return mutant


class TestARun:
    def test_makes_the_mistake_in_a_copy_alone(self, tree, copy):
        before = (tree / "module.py").read_bytes()

        result = run(Guard("room", "module.py", ("test_bites.py",)), never(tree), copy, 60)

        assert result.by == "test_bites.py::test_in_another_process"
        assert "-    if x < 1:" in result.diff
        assert (copy.root / "module.py").read_bytes() == before == (tree / "module.py").read_bytes()
        assert (copy.root / "uncommitted.py").is_file()
        confirm([result], copy, 60)

    def test_that_nothing_notices_is_survived(self, tree, copy):
        result = run(Guard("room", "module.py", ("test_passes.py",)), never(tree), copy, 60)

        assert not result.by
        assert str(result).startswith("SURVIVED module.py:2 condition")

    def test_whose_test_fails_without_the_mistake_is_an_error(self, tree, copy):
        result = run(Guard("room", "module.py", ("test_broken.py",)), never(tree), copy, 60)

        with pytest.raises(Broken, match="test_false"):
            confirm([result], copy, 60)

    def test_that_ends_only_by_the_clock_is_caught_if_the_tests_end_without_it(self, tree, copy):
        result = run(Guard("room", "module.py", ("test_hangs.py",)), never(tree), copy, 2)

        assert result.by == "time was over"
        with pytest.raises(Broken, match="too long"):
            confirm([result], copy, 2)

    def test_whose_tests_are_not_there_says_nothing(self, tree, copy):
        result = run(Guard("room", "module.py", ("test_none.py",)), never(tree), copy, 60)

        with pytest.raises(Broken):
            confirm([result], copy, 60)


class TestChangedLines:
    def test_are_those_of_the_tree_and_of_its_commits(self, tree, tmp_path):
        git(tmp_path, "clone", "--quiet", str(tree), "clone")
        clone = tmp_path / "clone"
        (clone / "src").mkdir()
        (clone / "src/a.py").write_text("a = 1\nb = 2\nc = 3\n")
        git(clone, "add", ".")
        git(clone, "commit", "--quiet", "-m", "new")
        (clone / "src/a.py").write_text("a = 1\nb = 2\nc = 4\nd = 5\n")

        assert lines_since(clone, "origin/main") == {"src/a.py": {1, 2, 3, 4}}
        assert lines_since(clone, "HEAD") == {"src/a.py": {3, 4}}

    def test_of_a_base_that_is_not_there_are_an_error(self, tree):
        with pytest.raises(Broken, match="git can't compare with nothing"):
            lines_since(tree, "nothing")


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tests.mutants", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_takes_a_sample_of_one_module_whose_seed_is_told():
    asked = command("--all", "--only", "core/metering", "--sample", "0", "--seed", "7")

    assert asked.returncode == 0, asked.stderr
    assert "0 chosen with seed 7" in asked.stdout


def test_an_edit_keeps_the_rest_of_the_module(tmp_path):
    text = "a = [\n    1,\n    2,\n]\nf()\n"
    (tmp_path / "module.py").write_text(text)
    (first, *_) = (m for m in mutants(tmp_path, "module.py") if m.kind == "element")

    assert isinstance(first, Mutant)
    assert Source(text).apply(first.occurrence) == "a = [\n    2,\n]\nf()\n"
