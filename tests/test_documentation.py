"""The documentation says what the code does."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import alembic_snapshot
import pytest_alembic_snapshot
from alembic_snapshot import errors
from alembic_snapshot.cli.commands import cli
from alembic_snapshot.key import inputs
from alembic_snapshot.project import config

ROOT = Path(__file__).parents[1]
ENV = """
from alembic import context
from sqlalchemy import create_engine

with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
from alembic import op

revision, down_revision = "0001", None


def upgrade():
    op.execute("create table orders (id integer primary key, article text)")
"""
LIMITS = (ROOT / "docs/limits.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("command", ["", *cli.commands])
def test_the_help_of_every_command_is_in_the_documentation(command):
    arguments = [command, "--help"] if command else ["--help"]

    shown = CliRunner().invoke(
        cli, arguments, prog_name="alembic-snapshot", terminal_width=80, max_content_width=80
    )

    assert shown.output in (ROOT / "docs/command-line.md").read_text()


def test_no_command_is_cut_short_where_all_are_listed():
    listed = CliRunner().invoke(cli, ["--help"], terminal_width=80, max_content_width=80).output

    assert "..." not in listed.partition("Commands:")[2]


class Options:
    """Notes the options that a plugin adds, as pytest's parser and its groups would take them."""

    def __init__(self):
        self.names = set()

    def getgroup(self, _name, _description):
        return self

    def addoption(self, name, **_):
        self.names.add(name)

    def addini(self, name, _help, **_):
        self.names.add("--" + name.replace("_", "-"))


def test_every_option_of_pytest_is_in_its_table():
    added = Options()
    pytest_alembic_snapshot.pytest_addoption(added)
    page = (ROOT / "docs/fixtures.md").read_text()

    assert set(re.findall(r"^\| `(--snapshot-[a-z-]+)", page, flags=re.MULTILINE)) == added.names


def test_every_key_of_the_configuration_is_in_its_table():
    page = (ROOT / "docs/configuration.md").read_text()
    described = set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE))

    assert described == set(config._KEYS)


def rows(page):
    """The rows of a page's tables, as lists of cells."""
    lines = re.findall(r"^\| (.*) \|$", page, flags=re.MULTILINE)
    return [re.split(r" ?(?<!\\)\| ", line) for line in lines]


def test_every_default_and_every_choice_is_that_of_the_code():
    page = (ROOT / "docs/configuration.md").read_text()
    described = {cells[0].strip("`"): cells[1:] for cells in rows(page) if len(cells) == 3}

    for field in dataclasses.fields(config.Project):
        default, text = described.get(field.name, ["", ""])
        for choice in field.metadata["choices"]:
            # The default is in its own column.
            assert f"`{choice}`" in text or choice == field.default, (field.name, choice)
        if isinstance(field.default, (str, bool)) and field.name in config._KEYS:
            assert default == f"`{json.dumps(field.default)}`"
        elif field.default == ():
            assert default == "`[]`"


def test_the_settings_that_change_the_key_are_those_that_count():
    page = (ROOT / "docs/configuration.md").read_text()
    (counting,) = (cells[0] for cells in rows(page) if cells[0].startswith("of this table:"))
    compared = re.search(r"^- (.*) which are compared with the stored", page, re.MULTILINE)
    assert compared is not None
    parts = config.Counts.BASE, config.Counts.NAMED
    keys = {name: says["counts"] for name, says in config._KEYS.items()}

    # What `inputs` names counts, and has a row of its own.
    assert {*re.findall(r"`(\w+)`", counting), "inputs"} == {
        k for k, c in keys.items() if c in parts
    }
    assert set(re.findall(r"`(\w+)[^`]*`", compared[1])) == {
        key for key, counts in keys.items() if counts is config.Counts.HIT
    }


def patterns(cell):
    """The patterns of names that a piece of a page has."""
    return {*re.findall(r"`([^`]+)`", cell)}


def test_every_name_that_is_no_input_is_in_its_table():
    page = (ROOT / "docs/configuration.md").read_text()
    section = page.partition("### Names that don't count")[2].partition("###")[0]
    everywhere, scripts, listings = (cells[-1] for cells in rows(section)[1:])
    (limit,) = re.findall(r"^- \*\*Logs and databases\*\* \((.*?)\)", LIMITS, re.MULTILINE)
    databases = {f"*{end}" for end in inputs._LOGS_AND_DATABASES}
    beginnings = {f"{begin}*" for begin in inputs._LITTER_BEGINS}

    assert patterns(everywhere) == patterns(limit) == databases
    assert patterns(scripts) | databases == {
        "README*", ".*", *(f"*{end}" for end in inputs._NO_INPUTS), *inputs._IGNORED_FOLDERS
    }  # fmt: skip
    assert patterns(listings) | databases == {
        *(f"*{end}" for end in inputs._LITTER_ENDS), *beginnings, *inputs._LITTER
    }  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_public_name_has_its_place():
    page = (ROOT / "docs/python.md").read_text()
    described = set(re.findall(r"^\| `(\w+)", page, flags=re.MULTILINE))
    kinds = set(re.findall(r"^## (\w+)$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE))

    assert described | kinds | {"SnapshotError"} == set(alembic_snapshot.__all__)
    for name in described - {"Project", "Snapshot", "Clone", "Diff"}:
        told: dict[str, Any] = {}
        exec(f"def {name}{re.search(rf'`{name}(.*?)`', page)[1]}: ...", told)
        assert parameters(told[name]) == parameters(getattr(alembic_snapshot, name))


def test_the_page_that_is_made_from_the_code_has_every_public_name():
    page = (ROOT / "docs/api.md").read_text()
    made = set(re.findall(r"auto\w+:: (?:pytest_)?alembic_snapshot\.(\w+)$", page, re.MULTILINE))
    fixtures = re.findall(r"^\| `(\w*db_\w+)`", (ROOT / "docs/fixtures.md").read_text(), re.M)
    names = {*alembic_snapshot.__all__, *pytest_alembic_snapshot.__all__} - {*fixtures}
    public = {name for name in names if not name.startswith("_")}

    assert made == {name for name in public if name not in errors.SnapshotError.kinds} - {
        "SnapshotError",
        "async_db_engine",
    }


def parameters(function):
    found = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in found]


def test_the_example_from_python_runs(tmp_path):
    example = re.search(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    versions = tmp_path / "migrations/versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (versions.parent / "env.py").write_text(ENV)
    (versions / "0001.py").write_text(REVISION)

    done = subprocess.run(
        [sys.executable, "-c", example[1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "orders: 1 added\n  + id=1, article='tea'\n", done.stderr
    assert not (tmp_path / "play.db").exists()


def test_every_page_has_a_place_on_the_site_and_begins_with_its_name():
    listed = re.findall(
        r"^```\{toctree\}\n(?:^:[^\n]*\n)*\n(.*?)```",
        (ROOT / "docs/index.md").read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    pages = [path for path in PAGES if path.parent == ROOT / "docs"]

    assert sorted(["index", *"".join(listed).split()]) == sorted(path.stem for path in pages)
    assert [path.name for path in pages if not path.read_text().startswith("# ")] == [
        "changelog.md"  # it includes another file
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_heading_leads_to_one(page):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
        there = page.parent / target if target else page
        headings = re.findall(r"^#+ (.*)$", there.read_text(), flags=re.MULTILINE)

        assert anchor in {anchor_of(heading) for heading in headings}, (target, anchor)


def anchor_of(heading):
    """The anchor that GitHub and the site give to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_folder_of_tests_that_a_guarantee_names_is_there():
    named = re.findall(r"`(tests/[\w/.]+)`", (ROOT / "docs/guarantees.md").read_text())

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_what_agents_read_first_leads_to_pages_that_there_are():
    text = (ROOT / "llms.txt").read_text()
    site = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Documentation"]
    links = re.findall(r"\]\((.*?)\)", text)

    assert text.startswith("# alembic-snapshot\n\n> ")
    for link in links:
        name = link.removeprefix(f"{site}/en/latest/").removesuffix(".html")
        assert (ROOT / f"docs/{name}.md").is_file(), link
    assert f"{site}/en/latest/agents.html" in links


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 300


def test_no_error_is_raised_by_the_bare_base_class():
    for path in (ROOT / "src").rglob("*.py"):
        if path.stem != "cli":
            assert "raise SnapshotError(" not in path.read_text()
    assert errors.SnapshotError.kinds
