"""Names of revisions mean here what they mean to Alembic, or are refused with a reason."""

from __future__ import annotations

import pytest
from alembic.script.revision import Revision, RevisionError, RevisionMap

from alembic_snapshot import ConfigError

# Two branches with labels, one of which depends on the other, and a merge of nothing.
HISTORY = {
    "aaaa1": (None, {}),
    "aaaa2": ("aaaa1", {}),
    "bbbb1": (None, {"branch_labels": ("billing",)}),
    "bbbb2": ("bbbb1", {"depends_on": "aaaa2"}),
    "bbbb3": ("bbbb2", {}),
    "bcbc3": ("bbbb2", {"branch_labels": ("other",)}),
}
TAKEN = [
    "heads",
    "aaaa1",
    "aaaa2",
    "bc",
    "bbbb1",
    "billing",
    "billing@heads",
    "other",
    "other@head",
    "billing@bbbb2",
    "aaaa1@head",
    "aaaa1@heads",
    "bcbc3@heads",
    "other@bbbb1",
]
REFUSED = {
    "": "an empty text is no revision",
    " ": "an empty text is no revision",
    "base": "'base' is no revision, but what is before the first one",
    "billing@base": "'billing@base' is no revision, but what is before the first one",
    "+1": r"'\+1' counts from where a database is, and names no revision",
    "-1": "'-1' counts from where a database is, and names no revision",
    "aaaa1+1": r"'aaaa1\+1' counts from where a database is, and names no revision",
    "billing@+1": r"'billing@\+1' counts from where a database is, and names no revision",
    "head-1": "'head-1' counts from where a database is, and names no revision",
    "aaaa1:aaaa2": "'aaaa1:aaaa2' is a range of revisions, and not one",
    "head": "'head' is several revisions: aaaa2 and bbbb3 and bcbc3",
    "billing@head": "'billing@head' is several revisions: bbbb3 and bcbc3",
    "aaaa": "'aaaa' is several revisions: aaaa1, aaaa2",
    "cccc": "no revision 'cccc'",
    "@head": "no revision ''",
    "billing@": "no revision ''",
    "cccc@head": "no revision 'cccc'",
    "billing@aaaa1": "revision aaaa1 is not of the branch 'billing'",
}


@pytest.fixture
def branches(project):
    for name, (down, fields) in HISTORY.items():
        project.revision(name, down, **fields)
    return project


def revision_map(history):
    return RevisionMap(
        lambda: [
            Revision(
                name, down, dependencies=fields.get("depends_on"),
                branch_labels=fields.get("branch_labels"),
            )
            for name, (down, fields) in history.items()
        ]
    )  # fmt: skip


def upgraded(alembics, name):
    """The revisions that Alembic's upgrade to a name would run."""
    steps = alembics._collect_upgrade_revisions(
        name, (), inclusive=False, implicit_base=True, assert_relative_length=True
    )[0]
    return sorted(one.revision for one in steps)


@pytest.fixture(scope="module")
def alembics():
    return revision_map(HISTORY)


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken_leads_to_where_alembics_upgrade_does(branches, alembics, name):
    chain = branches.chain(revision=name)

    assert sorted(chain.revisions) == upgraded(alembics, name)
    assert chain.is_below == (len(chain.revisions) < len(HISTORY))


@pytest.mark.parametrize(("name", "message"), REFUSED.items())
def test_what_is_not_taken_says_why(branches, name, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        branches.chain(revision=name)


@pytest.mark.parametrize("name", ["head", "billing@head", "aaaa", "cccc"])
def test_what_names_none_or_several_is_none_for_alembic_either(alembics, name):
    with pytest.raises(RevisionError):
        alembics.get_revisions(name)


def test_one_head_is_the_head(project):
    project.history(2)

    assert project.chain(revision="head").heads == ("0002",)
    assert project.chain(revision="head").target.digest == project.chain().target.digest


@pytest.mark.parametrize("name", ["ab", "abc", "abc@head", "ab@head", "abc@heads", "x", "x@ab"])
def test_an_id_is_no_beginning_of_another_one(project, name):
    history = {"ab": (None, {}), "abc": (None, {}), "x": ("ab", {"depends_on": "abc"})}
    for one, (down, fields) in history.items():
        project.revision(one, down, **fields)

    found = project.chain(revision=name).revisions

    assert sorted(found) == upgraded(revision_map(history), name)


def test_a_parent_may_be_named_by_the_beginning_of_its_id(project):
    project.revision("abcdef")
    project.revision("b", "abc")

    assert project.chain(revision="abcdef@head").heads == ("b",)


def test_the_hint_has_the_labels_that_there_are(branches):
    with pytest.raises(ConfigError) as told:
        branches.chain(revision="cccc")
    assert told.value.hint == (
        "name a revision of the scripts; there are the labels billing, other"
    )


def test_the_hint_has_no_labels_where_there_are_none(project):
    project.history(1)

    with pytest.raises(ConfigError) as told:
        project.chain(revision="cccc")

    assert told.value.hint == "name a revision of the scripts"


@pytest.mark.parametrize("name", ["@head", "@heads", "@0001", "0001@"])
def test_no_name_is_none_although_there_is_one_revision(project, name):
    project.history(1)

    with pytest.raises(ConfigError, match=r"^no revision ''"):
        project.chain(revision=name)


def test_labels_that_are_computed_are_told(project):
    project.revision("0001", header="branch_labels = (str('billing'),)")

    with pytest.raises(ConfigError) as caught:
        project.chain(revision="billing")

    assert "labels that are computed, as in 0001, are known only when they run" in str(caught.value)


@pytest.mark.parametrize("name", ["head", "0001", ""])
def test_where_only_a_run_tells_the_revisions_none_is_taken(project, name):
    project.revision("0001", header="str('computed')")
    project.write(
        "migrations/versions/b.py", "revision = str('b')\ndown_revision = depends_on = None\n"
    )

    with pytest.raises(ConfigError, match="the revisions are known only when they run") as caught:
        project.chain(revision=name)

    assert str(caught.value).endswith(
        "leave the revision out, or let `alembic upgrade` alone make the database"
    )


@pytest.mark.parametrize("name", ["+1", "base", "0"])
def test_marker_upgrade_and_commands_have_the_same_answer(project, tmp_path, name):
    project.history(2)
    clone = project.ensure(revision="0001").clone(tmp_path / "clone.db")
    with pytest.raises(ConfigError) as named:
        project.ensure(revision=name)

    with pytest.raises(ConfigError) as upgraded:
        clone.upgrade(name)
    commands = [
        project.command(command, "--revision", name) for command in ("build", "status", "key")
    ]

    assert str(upgraded.value) == str(named.value)
    assert {one.stderr.strip() for one in commands} == {f"error: {named.value}"}
    assert {one.returncode for one in commands} == {2}
