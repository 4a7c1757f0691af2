"""What the README and the first page of the documentation tell a newcomer to do, done."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ORDERS = """
from shop.database import SessionLocal
from shop.models import Customer, Order


def place_order(customer: str, article: str) -> None:
    with SessionLocal.begin() as session:
        session.merge(Customer(name=customer))
        session.add(Order(customer=customer, article=article))
"""
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
START = (ROOT / "docs/start.md").read_text()
OURS = ("PYTEST_", "ALEMBIC_", "PYTHONPATH")
PYTEST = ("pytest", "-p", "no:randomly", "-p", "no:cacheprovider")


def write(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def run(folder, *command):
    done = subprocess.run(
        # Unlike python -m, the programs do not look for modules in the working directory.
        [sys.executable, "-P", "-m", *command],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(OURS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def blocks(heading="", page=README):
    """The fenced blocks of a section of a page, as language and text; of the first without."""
    section = page.partition(heading)[2] if heading else page
    return re.findall(r"```(\w+)\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)


def follow(folder, language, text):
    """Do what one block says: run a command, or write or edit the file that it names."""
    if language == "console":
        (command,) = text.splitlines()
        program, *arguments = shlex.split(command.removeprefix("$ "))
        return run(folder, *(PYTEST if program == "pytest" else [program]), *arguments)
    first, rest = text.split("\n", 1)
    name, _, place = first.removeprefix("# ").partition(", in place of ")
    if place:
        before = (folder / name).read_text()
        assert before.count(place) == 1
        rest = before.replace(place, rest)
    return write(folder / name, rest)


def test_eight_steps_lead_from_an_empty_folder_to_a_passing_test_on_a_clone(tmp_path):
    steps = blocks("## From an empty folder", START)

    shown = [follow(tmp_path, *step) for step in steps]

    assert len(steps) == 8
    assert "1 passed" in shown[-1]
    assert "1 clone" in shown[-1]
    assert "warning" not in shown[-1]
    assert b"customers" not in (tmp_path / "shop.db").read_bytes()
    assert "reused" in run(tmp_path, *PYTEST)


def begin_in_src(folder):
    """Follow the steps from an empty folder, with the application below src/."""
    for step in blocks("## From an empty folder", START)[:5]:
        follow(folder, *step)
    write(folder / "shop/orders.py", ORDERS)
    (folder / "src").mkdir()
    (folder / "shop").rename(folder / "src/shop")
    follow(folder, *blocks()[0])


def test_the_first_example_passes_with_the_four_lines(tmp_path):
    begin_in_src(tmp_path)
    _, (language, table) = blocks("## Three commands")
    follow(tmp_path, language, f'{table}[tool.pytest.ini_options]\npythonpath = ["src"]\n')

    shown = run(tmp_path, *PYTEST)

    assert "2 passed" in shown
    assert "2 clones" in shown


def commands(heading):
    """The commands of a section's console blocks, without their comments."""
    text = "".join(text for language, text in blocks(heading) if language == "console")
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in text.splitlines()]


def test_the_three_commands_lead_to_the_lines_that_are_shown_and_to_passing_tests(tmp_path):
    begin_in_src(tmp_path)
    install, init, test = commands("## Three commands")

    assert install == ["pip", "install", "alembic-snapshot"]
    run(tmp_path, init[0].replace("-", "_"), *init[1:], "--yes")
    assert "2 clones" in run(tmp_path, *PYTEST, *test[1:])
    written = (tmp_path / "pyproject.toml").read_text()
    _, (_, table) = blocks("## Three commands")
    for line in table.splitlines()[2:4]:
        assert line.partition("#")[0].strip() in written


def test_every_target_of_make_that_the_readme_names_is_there():
    makefile = (ROOT / "Makefile").read_text()
    named = {*re.findall(r"make ([a-z][a-z-]+)", README)} - {"migrations"}

    assert "test-db" in named
    assert [name for name in named if not re.search(rf"^{name}\b.*:", makefile, re.M)] == []


def test_the_plain_commands_are_those_of_make():
    makefile = (ROOT / "Makefile").read_text().replace(" --quiet --disable-pip-version-check", "")
    plain = commands("## The application that it was made for")

    installs = [shlex.join(words[2:]) for words in plain if words[0].endswith("pip")]
    assert len(installs) == 2
    for line in installs:
        assert line.replace("'", '"') in makefile.replace("-m pip install ", "")


@pytest.fixture
def checkout(tmp_path):
    """What `make` needs to begin, without an environment."""
    for name in ("Makefile", "pyproject.toml", "scripts/check_python.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((ROOT / name).read_text())
    return tmp_path


def make(checkout, *arguments):
    command = ["make", "--silent", f"PYTHON={sys.executable}", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("target", ["test-db", "test", "test-all", "lint"])
def test_a_python_that_is_too_old_is_told_at_once(checkout, target):
    settings = (checkout / "pyproject.toml").read_text()
    newer = settings.replace('">=3.11"', '">=3.99"')
    (checkout / "pyproject.toml").write_text(newer)

    made = make(checkout, target)

    assert newer != settings
    assert made.returncode == 2
    assert made.stdout == ""
    assert made.stderr.startswith(f"error: {sys.executable} is Python 3.")
    assert "3.99 or later is needed\nhint: name one, as in: make PYTHON=python3.99" in made.stderr
    assert not (checkout / ".venv").exists()


def test_an_installation_says_what_it_is_doing_and_only_once(checkout):
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\ncase "$*" in *make_test_db*) echo a-path;; esac\n')
    python.chmod(0o755)

    first, second = make(checkout, "test-db"), make(checkout, "test-db")

    assert first.stdout == second.stdout == "a-path\n"
    assert "installing" in first.stderr
    assert second.stderr == ""
