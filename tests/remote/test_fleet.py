"""Many machines with empty stores at once: one builds, and all have the same."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

MACHINES = int(os.environ.get("SHARED_MACHINES", "8"))


def build_on(shared, names, **variables):
    """What each of these machines says, all of which build at once."""
    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(lambda name: shared.build(name, **variables), names))


def contents(results):
    return {hashlib.sha256(Path(one["path"]).read_bytes()).hexdigest() for one in results}


def new_revision(shared, body='op.execute("insert into t_0001 values (abs(random()))")'):
    """A revision whose result is another one in each build."""
    shared.project.revision("0003", "0002", upgrade=body)


@pytest.mark.parametrize(
    ("kind", "scope"),
    [("shared", "pr/1"), ("s3", "main"), ("s3", "pr/1"), ("azure", "main")],
)
def test_one_builds_for_all(request, kind, scope):
    shared = request.getfixturevalue(kind)
    shared.fill()
    new_revision(shared)

    results = build_on(shared, [str(n) for n in range(4)], **shared.as_writer(scope))

    assert sum(one["built"] for one in results) == 1
    assert len(contents(results)) == 1
    assert [one["warned"] for one in results] == [[]] * 4
    got = sorted(one["remote"]["got"] for one in results)
    assert got == ["ancestor", "hit", "hit", "hit"], "and it starts from what is there"


@pytest.mark.campaign
@pytest.mark.parametrize("scope", ["main", "pr/7"])
def test_a_fleet_with_nothing_builds_once(served, scope):
    new_revision(served)

    results = build_on(served, [str(n) for n in range(MACHINES)], **served.as_writer(scope))

    assert sum(one["built"] for one in results) == 1
    assert len(contents(results)) == 1


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(3))
def test_when_the_builder_is_killed_another_one_builds(request, seed):
    shared = request.getfixturevalue(("shared", "s3", "azure")[seed])
    new_revision(shared)
    first = subprocess.Popen(
        [sys.executable, "-m", "alembic_snapshot", "build", "--store", shared.store("killed")],
        cwd=shared.project.root,
        env={**os.environ, **shared.variables, **shared.as_writer()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    # At a random line of its progress.
    for _ in range(random.Random(seed).randint(1, 3)):
        first.stderr.readline()
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(build_on, shared, ["1", "2", "3"], **shared.as_writer())
        first.send_signal(signal.SIGKILL)
        results = others.result()
    first.communicate()

    # A folder has no conditional replacement: there two may take over a lease that was lost.
    assert sum(one["built"] for one in results) <= (2 if seed == 0 else 1)
    assert len(contents(results)) == 1


def test_who_only_reads_waits_for_who_builds(shared, tmp_path):
    ready, go = tmp_path / "ready", tmp_path / "go"
    os.mkfifo(ready)
    os.mkfifo(go)
    new_revision(shared, f"open({str(ready)!r}, 'w').close(); open({str(go)!r}).readline()")
    variables = {**os.environ, **shared.as_writer()}
    writer = subprocess.Popen(
        [sys.executable, "-m", "alembic_snapshot", "build", "--json", "--store", shared.store("w")],
        cwd=shared.project.root,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    ready.open().close()
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(shared.build, "reader")
        go.write_text("\n")
        there = json.loads(writer.communicate()[0])
        result = reader.result()

    assert there["built"]
    assert not result["built"]
    assert contents([there]) == contents([result])
