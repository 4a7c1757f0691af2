"""What a build is to do: from which state it starts, which it reaches, and what it refuses."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing

import pytest

from alembic_snapshot.build.ancestors import UnfitAncestor
from alembic_snapshot.build.ensure import _is_checked
from alembic_snapshot.build.process import AttemptFailed
from alembic_snapshot.build.steps import Construction, _together
from alembic_snapshot.builder.protocol import Checks, Done, Facts, Step
from alembic_snapshot.checks import NO_METADATA
from alembic_snapshot.key.observed import Observed
from alembic_snapshot.project.owner import identity
from alembic_snapshot.store.manifest import Manifest

FACTS = Facts(
    refused=(), redirected=(), databases=(), create_all=(), configured=True, options={},
    versions=(), is_heard=True, planned=0, applied=(), scripts=None, caught_by=None,
    async_lacks=(), asks_command_line=False, written=(), changed=(),
)  # fmt: skip
SCRIPT = "migrations/versions/{}_made.py"


@pytest.fixture
def construction(project):
    """Makes the build of the project as it is by then."""

    def make(**options):
        status = project.look_up(**options)
        status.store.prepare()
        return Construction(
            status.project, status.chain, status.store, status.present, lambda _event: None,
            lambda: status.chain,
        )  # fmt: skip

    return make


@pytest.fixture
def shop(project):
    """Three revisions and two seeds."""
    project.history(3)
    project.write("seeds.py", "def one(connection): ...\ndef two(connection): ...\n")
    project.configure('seeds = ["seeds:one", "seeds:two"]')
    return project


def publish(construction, names, count=0, **fields):
    """Put a state of the build's chain into the store."""
    state = construction.chain.state(names, count)
    workspace = construction.store.workspace(state.digest)
    with closing(sqlite3.connect(workspace.database.path)) as connection:
        connection.execute("create table t (a)")
    manifest = Manifest(
        digest=state.digest, family=state.digest, project=identity(construction.project),
        created=1.0, size=1, sha256=workspace.database.content_hash(), heads=state.heads,
        revisions=state.revisions, seeds=state.seeds, layers={"base": {}},
    )  # fmt: skip
    entry = construction.store.publish(workspace.database, dataclasses.replace(manifest, **fields))
    workspace.close()
    return entry


def steps_of(construction, ancestor=None):
    """The steps of a build, with the places of copies as their last part."""
    workspace = construction.store.workspace(construction.chain.target.digest)
    states = construction._states(ancestor)
    found = [
        dataclasses.replace(
            step,
            copy=step.copy and step.copy.rpartition("/")[2],
            inputs=sorted(step.inputs),
            owners=step.owners and sorted(step.owners),
        )
        for step in construction._steps(states, ancestor, workspace)
    ]
    workspace.close()
    return found


class TestTheSteps:
    def test_from_nothing_reach_each_state_and_copy_all_but_the_last(self, shop, construction):
        inputs: list[list[str]] = [[]]
        for layer in construction().chain.layers:
            inputs.append(sorted([*inputs[-1], *layer.inputs]))
        names = ["0001", "0002", "0003"]

        assert steps_of(construction()) == [
            Step(
                "upgrade", 0, "state-0.db", ["0002"], inputs=inputs[3], owners=names[:2],
                last=["0003"],
            ),
            Step(
                "upgrade", 1, "state-1.db", ["0003"], inputs=inputs[4], owners=names,
                last=["0003"],
            ),
            Step(
                "seed", 2, "state-2.db", None, "seeds:one", inputs=inputs[5],
                owners=[*names, "seeds:one"],
            ),
            Step(
                "seed", 3, None, None, "seeds:two", inputs=inputs[6],
                owners=[*names, "seeds:one", "seeds:two"],
            ),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("names", "seeds", "does"),
        [
            (["0001"], 0, ["upgrade", "upgrade", "seed", "seed"]),
            (["0001", "0002"], 0, ["upgrade", "seed", "seed"]),
            (["0001", "0002", "0003"], 0, ["seed", "seed"]),
            (["0001", "0002", "0003"], 1, ["seed"]),
        ],
    )
    def test_from_an_ancestor_are_those_that_are_left(self, shop, construction, names, seeds, does):
        build = construction()
        publish(build, names, seeds)

        ancestor = build.ancestors.deepest()
        found = steps_of(build, ancestor)

        assert [step.does for step in found] == does
        assert found[-1].copy is None
        assert found[-1].function == "seeds:two"
        assert build.ancestors.depth == len(names) + seeds

    def test_of_what_migrate_makes_are_one_and_say_of_nobody_whose_reads_they_are(
        self, shop, construction
    ):
        shop.write("make.py", "def make(url): ...\n")
        shop.configure('migrate = "make:make"\nseeds = ["seeds:one"]')

        first, seed = steps_of(construction())

        assert (first.does, first.function, first.revisions) == ("migrate", "make:make", None)
        assert (first.owners, seed.owners) == (None, None)
        assert (seed.does, seed.function) == ("seed", "seeds:one")

    def test_of_revisions_that_only_a_run_tells_lead_to_the_heads(self, project, construction):
        project.history(1)
        path = project.versions / "0001_made.py"
        path.write_text(path.read_text().replace("'0001'", "str('0001')"))

        (step,) = steps_of(construction())

        assert (step.does, step.revisions, step.owners) == ("upgrade", None, None)


class TestTheAncestor:
    def test_is_the_one_with_the_most_revisions_and_then_seeds(self, shop, construction):
        build = construction()
        for names, seeds in (
            (["0001"], 0), (["0001", "0002", "0003"], 1), (["0001", "0002", "0003"], 0),
            (["0001", "0002"], 0),
        ):  # fmt: skip
            publish(build, names, seeds)

        _, state = build.ancestors.deepest()

        assert (len(state.revisions), len(state.seeds)) == (3, 1)

    def test_is_not_the_snapshot_itself(self, shop, construction):
        build = construction()
        publish(build, ["0001", "0002", "0003"], 2)

        assert build.ancestors.deepest() is None
        assert build.ancestors.depth == 0

    @pytest.mark.parametrize(
        "fields",
        [
            {"revisions": {"0001": "other"}},
            {"revisions": {"0009": "x"}},
            {"digest": "0" * 64},
            {"seeds": ("x",)},
            {"sha256": "damaged"},
            {"databases": [{"kind": "sqlite", "file": "a.db"}]},
        ],
    )
    def test_is_none_that_is_something_else(self, shop, construction, fields):
        shop.configure('foreign = "refuse"\nseeds = ["seeds:one", "seeds:two"]')
        build = construction()
        entry = publish(build, ["0001"], **fields)
        if "sha256" in fields:
            (build.store.snapshots / entry.name / "verified.json").unlink()

        assert build.ancestors.deepest() is None

    def test_is_none_with_seeds_of_another_history(self, shop, construction):
        build = construction()
        publish(build, ["0001"])
        publish(build, ["0001", "0002"], 1)
        publish(build, ["0001", "0002", "0003"], 0, seeds=("0" * 64,), digest="1" * 64)

        _, state = build.ancestors.deepest()

        assert list(state.revisions) == ["0001"]
        assert state.seeds == ()

    def test_of_revisions_that_only_a_run_tells_is_the_state_before_the_seeds(
        self, shop, construction
    ):
        shop.write("make.py", "def make(url): ...\n")
        shop.configure('migrate = "make:make"\nseeds = ["seeds:one", "seeds:two"]')
        build = construction()
        publish(build, [])
        assert build.ancestors.deepest().state.seeds == ()
        publish(build, [], 1)
        assert len(build.ancestors.deepest().state.seeds) == 1
        assert [step.function for step in steps_of(build, build.ancestors.deepest())] == [
            "seeds:two"
        ]


class TestTheHandover:
    def test_is_the_ancestor_s_or_that_of_the_project_s_last_snapshot(self, shop, construction):
        build = construction()
        assert build._known_handover(None) is None
        publish(build, ["0001"], created=1.0, handover="engine")
        publish(build, ["0001", "0002"], created=2.0, handover=None)
        publish(build, ["0001", "0002", "0003"], created=3.0, handover="api", project="other")

        assert build._known_handover(None) == "engine"
        assert build._known_handover(build.ancestors.deepest()) == "api"
        ancestor = build.ancestors.deepest()
        own = dataclasses.replace(ancestor.entry.manifest, handover=None)
        told = ancestor._replace(entry=dataclasses.replace(ancestor.entry, manifest=own))
        assert build._known_handover(told) == "engine"


class TestFilesThatChange:
    def refused(self, build, written=(), changed=()):
        with pytest.raises(AttemptFailed) as raised:
            build._refuse_changed(written, changed)
        assert raised.value.final
        assert raised.value.error.hint == "build it again"
        return raised.value.error.message.removesuffix(" changed while the snapshot was built")

    def test_make_a_build_of_the_old_ones_none(self, project, shop, construction):
        build = construction()
        build._refuse_changed((), ())
        for change in (
            lambda: project.append(SCRIPT.format("0002"), "# more\n"),
            lambda: project.revision("0004", "0003"),
        ):
            change()
            chain = construction().chain
            build.chain_now = lambda chain=chain: chain
            assert self.refused(build) == SCRIPT.format("0002")
            build._refuse_changed([SCRIPT.format("0002"), SCRIPT.format("0004")], ())
        assert self.refused(build, [SCRIPT.format("0002")]) == SCRIPT.format("0004")
        build.chain, now = chain, build.chain
        build.chain_now = lambda: now
        assert self.refused(build, [SCRIPT.format("0002")]) == SCRIPT.format("0004")

    def test_are_those_that_the_builder_saw_first(self, project, shop, construction):
        build = construction()

        assert self.refused(build, changed=["b.txt", "a.txt"]) == "b.txt"


def test_an_ancestor_of_an_env_py_with_other_options_is_none_to_build_on(shop, construction):
    build = construction()
    publish(build, ["0001"], options={"a": "1"})
    ancestor = build.ancestors.deepest()

    build._refuse_unfit(None, FACTS)
    build._refuse_unfit(ancestor, dataclasses.replace(FACTS, options={"a": "1"}))
    build._refuse_unfit(ancestor, dataclasses.replace(FACTS, configured=False))
    with pytest.raises(UnfitAncestor):
        build._refuse_unfit(ancestor, FACTS)


def test_the_checks_of_a_build_say_for_which_models_and_in_which_run_they_hold(
    shop, construction, monkeypatch
):
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "one")
    done = Done(FACTS, Checks(["x"], "y", "z", {"mappers": "m"}))
    build, below = construction(), construction(revision="0001")

    assert build._checks_of(done) == {
        "models": build.chain.models_digest, "drift": ["x"], "drift_error": "y", "mappers": "z",
        "unchecked": {"mappers": "m"}, "tried_by": "one",
    }  # fmt: skip
    assert below._checks_of(done) == {"models": below.chain.models_digest}


CHECKED = {"drift": [], "drift_error": None, "unchecked": {}}
NOT_TRIED = {**CHECKED, "drift_error": "why"}


@pytest.mark.parametrize(
    ("checks", "through_env", "is_below", "is_checked"),
    [
        (CHECKED, None, False, True),
        ({}, None, False, False),
        ({}, None, True, True),
        (CHECKED, None, True, True),
        ({**CHECKED, "models": "others"}, None, False, False),
        ({"models": None}, None, True, False),
        (CHECKED, Observed(files={"gone.txt": "1"}), False, False),
        (NOT_TRIED, None, False, False),
        ({**NOT_TRIED, "tried_by": "two"}, None, False, False),
        ({**NOT_TRIED, "tried_by": None}, None, False, False),
        ({**NOT_TRIED, "tried_by": "one"}, None, False, True),
        ({**CHECKED, "unchecked": {"mappers": "why"}}, None, False, False),
        ({**CHECKED, "drift_error": NO_METADATA}, None, False, True),
    ],
)
def test_a_snapshot_is_checked_if_all_was_tried_with_the_models_as_they_are(
    shop, construction, monkeypatch, checks, through_env, is_below, is_checked
):
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "one")
    build = construction(**({"revision": "0002"} if is_below else {}))
    models = {"models": build.chain.models_digest}
    entry = publish(
        build, build.chain.revisions, checks={**models, **checks},
        through_env=through_env or Observed(),
    )  # fmt: skip
    status = shop.look_up(**({"revision": "0002"} if is_below else {}))

    assert _is_checked(entry, status) is is_checked


def test_what_was_not_tried_outside_of_a_run_is_tried_again(shop, construction, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID", raising=False)
    build = construction()
    models = {"models": build.chain.models_digest, "tried_by": None}
    entry = publish(build, ["0001"], checks={**models, **NOT_TRIED})

    assert not _is_checked(entry, shop.look_up())


def test_databases_that_env_py_would_have_opened_are_those_of_the_ancestor_too(shop, construction):
    build = construction()
    entry = publish(build, ["0001"], databases=[{"a": 1}, {"b": 2}])

    assert build._databases([{"b": 2}, {"c": 3}], entry) == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert build._databases([{"b": 2}], None) == [{"b": 2}]
    assert _together([[1], [1]], [[1], [2]]) == [[1], [1], [2]]


def test_a_listener_is_told_of_each_step_in_its_order_and_the_manifest_how_long_each_took(shop):
    heard = []
    shop.revision("0003", "0002", "op.execute('select 1')")

    snapshot = shop.ensure(listener=heard.append)

    took = [event.pop("seconds") for event in heard if "seconds" in event]
    one, two = "seeds:one", "seeds:two"
    assert heard == [
        {"event": "build", "reasons": ("the store has no snapshot of this project",)},
        {"event": "plan", "revisions": ["0001", "0002"]},
        *({"event": event, "revision": "0001"} for event in ("revision", "applied")),
        *({"event": event, "revision": "0002"} for event in ("revision", "applied")),
        {"event": "plan", "revisions": ["0003"]},
        *({"event": event, "revision": "0003"} for event in ("revision", "applied")),
        {"event": "seed", "seed": one},
        {"event": "applied", "revision": one},
        {"event": "seed", "seed": two},
        {"event": "applied", "revision": two},
    ]
    assert list(snapshot.manifest.timings.values()) == took
    assert list(snapshot.manifest.timings) == ["0001", "0002", "0003", one, two]
