"""What an index, an installer and a newcomer are told of the package agrees with itself."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

import alembic_snapshot
from alembic_snapshot.cli.doctor import OLDEST_FOR_TESTS
from alembic_snapshot.key.libraries import OLDEST

ROOT = Path(__file__).parents[1]
TABLE = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = TABLE["project"]
GROUPS = TABLE["dependency-groups"]
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text()
_REQUIREMENT = re.compile(r"([A-Za-z][\w.-]*)(?:\[[\w,-]+\])?>=([\d.]+)$")


def least(requirements):
    """The oldest version of each package, for those that have one."""
    found = (_REQUIREMENT.match(line) for line in requirements if isinstance(line, str))
    return {match[1].lower(): match[2] for match in found if match}


def numbers(version):
    """A version without the zeros that add nothing."""
    return tuple(int(part) for part in re.sub(r"(\.0)+$", "", version).split("."))


def test_the_version_is_said_alike_and_the_changelog_has_it():
    assert PROJECT["version"] == alembic_snapshot.__version__
    assert f"\n## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_oldest_versions_that_are_tried_are_those_that_the_package_allows():
    lines = (ROOT / ".ci/oldest.txt").read_text().splitlines()
    tried = dict(line.split("==") for line in lines if not line.startswith("#"))
    extras = PROJECT["optional-dependencies"]
    used = {
        **least([*PROJECT["dependencies"], *extras["async"], *extras["postgres"]]),
        **{name: at for name, at in least(GROUPS["test"]).items() if name.startswith("pytest")},
    }

    oldest = {name.lower(): numbers(version) for name, version in tried.items()}
    assert oldest.pop("psycopg-binary") == oldest["psycopg"]
    assert oldest == {name: numbers(version) for name, version in used.items()}


def test_every_python_that_is_classified_is_tried_in_ci():
    classified = [
        line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)
    ]
    (tried,) = re.findall(r"python: \[(.*)\]", WORKFLOW)

    assert classified == re.findall(r"[\d.]+", tried)
    assert PROJECT["requires-python"] == f">={classified[0]}"
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in classified


def test_all_is_every_extra_but_itself():
    extras = PROJECT["optional-dependencies"]
    (line,) = extras["all"]

    assert line == f"{PROJECT['name']}[{','.join(sorted(extras.keys() - {'all'}))}]"


def test_dev_is_every_group_but_the_charts_own():
    included = {entry["include-group"] for entry in GROUPS["dev"]}

    assert included == GROUPS.keys() - {"dev", "bench"}


@pytest.mark.parametrize("name", sorted(PROJECT["urls"]))
def test_every_page_of_the_repository_that_an_index_links_is_there(name):
    _, of_the_repository, path = PROJECT["urls"][name].partition("/blob/main/")

    assert not of_the_repository or (ROOT / path).exists()


def test_links_of_the_readme_are_absolute_and_lead_to_what_is_there():
    text = (ROOT / "README.md").read_text()
    site, source = PROJECT["urls"]["Documentation"], PROJECT["urls"]["Source"]
    raw = source.replace("github.com", "raw.githubusercontent.com")
    links = re.findall(r"\]\(([^)]+)\)", text)

    assert links
    for link in links:
        page = re.fullmatch(rf"{site}/en/latest/([\w-]+)/(?:#[\w-]+)?", link)
        file = re.fullmatch(rf"(?:{source}/(?:blob|tree)|{raw})/main/(\S+)", link)
        assert page or file, link
        assert (ROOT / (f"docs/{page[1]}.md" if page else file[1])).exists(), link


def test_the_changelog_has_one_section_of_a_kind_in_each_version():
    versions = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1:]

    for text in versions:
        headings = re.findall(r"^### (.*)$", text, flags=re.MULTILINE)
        assert len(headings) == len(set(headings)), text.splitlines()[0]
    # The first release has no before.
    assert "Previously" not in versions[-1]


def test_the_oldest_versions_that_are_refused_are_those_that_the_package_allows():
    allowed = {
        **dict(least(PROJECT["dependencies"])),
        **{name: at for name, at in least(GROUPS["test"]).items() if name == "pytest"},
    }

    for name, version in {**OLDEST, **OLDEST_FOR_TESTS}.items():
        assert allowed[name.lower()] == version
