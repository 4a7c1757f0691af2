"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import pytest_alembic_snapshot
from alembic_snapshot import config, errors
from alembic_snapshot.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("command", ["", *cli.commands])
def test_the_help_of_every_command_is_in_the_documentation(command):
    arguments = [command, "--help"] if command else ["--help"]

    shown = CliRunner().invoke(
        cli, arguments, prog_name="alembic-snapshot", terminal_width=80, max_content_width=80
    )

    assert shown.output in (ROOT / "docs/command-line.md").read_text()


class Options:
    """Notes the options that a plugin adds, as pytest's parser and its groups would take them."""

    def __init__(self):
        self.names = set()

    def getgroup(self, _name, _description):
        return self

    def addoption(self, name, **_):
        self.names.add(name)


def test_every_option_of_pytest_is_in_its_table():
    added = Options()
    pytest_alembic_snapshot.pytest_addoption(added)
    page = (ROOT / "docs/fixtures.md").read_text()

    assert set(re.findall(r"^\| `(--snapshot-[a-z]+)", page, flags=re.MULTILINE)) == added.names


def test_every_key_of_the_configuration_is_in_its_table():
    page = (ROOT / "docs/configuration.md").read_text()
    described = set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE))

    assert described == set(config._KINDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 300


def test_no_error_is_raised_by_the_bare_base_class():
    for path in (ROOT / "src").rglob("*.py"):
        if path.stem != "cli":
            assert "raise SnapshotError(" not in path.read_text()
    assert errors.SnapshotError.kinds
