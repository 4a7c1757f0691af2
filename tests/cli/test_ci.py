"""The workflows of docs/ci.md, run: their steps, on machines whose caches are folders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/ci.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
KEYS = re.findall(r"run: (.*alembic-snapshot key.*)", PAGE.read_text())
TEST = """
    def test_the_tables_are_there(db_session):
        db_session.connection().exec_driver_sql("insert into t_0001 values (1)")
        db_session.commit()
"""


def jobs(name, number=0):
    """The jobs of a page's workflow, each as the texts of its steps or its lines of script."""
    block = [block for block in BLOCKS if block.startswith(f"# {name}")][number]
    parts = re.split(r"^(?:  )?(\w+):\n(?=  +(?:stage|needs|runs-on))", block, flags=re.MULTILINE)
    return {
        name: re.split(r"^ {4,6}- ", text, flags=re.MULTILINE)[1:]
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


class Ci:
    """Runs a job's steps in a new checkout each time; caches and artifacts are folders."""

    def __init__(self, project, folder):
        self.project = project
        self.folder = folder
        self.caches = {}
        self.artifacts = {}
        self.runs = 0

    def run(self, steps, **values):
        """The job's summary, or its output where there is none."""
        self.runs += 1
        checkout = self.folder / f"run{self.runs}" / "checkout"
        shutil.copytree(
            self.project.root, checkout, ignore=shutil.ignore_patterns(".alembic-snapshot")
        )
        store, save_as, text = checkout / ".alembic-snapshot", None, []
        for step in steps:
            for name, known in values.items():
                step = step.replace(f"${{{{ {name} }}}}", known)
            uses = re.search(r"uses: actions/([\w/-]+)", step)
            found = re.search(r"run: (.*)", step)
            if uses and uses[1] in ("cache", "cache/restore"):
                hit = self.restore(step, store)
                if uses[1] == "cache" and not hit:
                    save_as = value("key", step)
            elif uses and uses[1] == "upload-artifact":
                assert "include-hidden-files: true" in step
                shutil.copytree(checkout / value("path", step), self.kept("artifact"))
                self.artifacts[value("name", step)] = self.folder / "artifact"
            elif uses and uses[1] == "download-artifact":
                shutil.copytree(self.artifacts[value("name", step)], checkout / value("path", step))
            elif found:
                printed, outputs = self.shell(found[1], checkout)
                text.append(printed)
                name = value("id", step)
                values |= {f"steps.{name}.outputs.{key}": out for key, out in outputs.items()}
        if save_as:
            shutil.copytree(store, self.kept(save_as))
            self.caches[save_as] = self.folder / save_as
        return "".join(text)

    def restore(self, step, store):
        key, prefix = value("key", step), value("restore-keys", step)
        older = [name for name in self.caches if prefix and name.startswith(prefix)]
        name = key if key in self.caches else older[-1] if older else None
        if name:
            shutil.copytree(self.caches[name], store)
        return name == key

    def shell(self, command, checkout):
        """Run a step's command: what it printed or put into the summary, and its outputs."""
        if command.startswith("pip install"):
            return "", {}
        output, summary = checkout.parent / "output.txt", checkout.parent / "summary.md"
        output.write_text("")
        summary.write_text("")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=checkout,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return summary.read_text() + done.stdout, outputs

    def kept(self, name):
        return self.folder / name


def commands(name):
    """The commands of a GitLab job that are ours or run tests."""
    lines = [step.splitlines()[0] for step in jobs(".gitlab-ci.yml")[name]]
    return [line for line in lines if line.startswith(("alembic-snapshot", "pytest"))]


def value(key, step):
    found = re.search(rf"^ *(?:- )?{key}: (.*)$", step, flags=re.MULTILINE)
    return found[1] if found else None


@pytest.fixture
def ci(project, tmp_path):
    """A project with three revisions and tests in two folders, and machines to run it on."""
    project.history(3)
    project.configure('drift = "ignore"')
    for part in ("api", "services"):
        project.write(f"tests/{part}/test_{part}.py", TEST)
    return Ci(project, tmp_path / "ci")


@pytest.mark.parametrize("number", range(len(KEYS)))
def test_a_key_that_can_not_be_computed_fails_its_step(tmp_path, number):
    program = tmp_path / "alembic-snapshot"
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o755)
    output = tmp_path / "output.txt"

    done = subprocess.run(
        ["bash", "-e", "-c", KEYS[number]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(output)},
        check=False,
    )

    assert done.returncode == 2
    assert not output.exists()


class TestGitHub:
    def test_a_second_run_builds_nothing(self, ci):
        steps = jobs(".github/workflows/tests.yml")["tests"]

        first, second = ci.run(steps), ci.run(steps)

        assert "| ran | 3, " in first
        assert "reused |" in second
        assert "| ran |" not in second

    def test_a_new_revision_runs_alone_on_what_was_restored_by_prefix(self, ci):
        steps = jobs(".github/workflows/tests.yml")["tests"]
        ci.run(steps)
        ci.project.revision("0004", "0003")

        text = ci.run(steps)

        assert "| ran | `0004` |" in text
        assert len(ci.caches) == 2

    def test_a_restored_snapshot_of_another_history_is_never_mistaken_for_this_one(self, ci):
        steps = jobs(".github/workflows/tests.yml")["tests"]
        ci.run(steps)
        ci.project.revision("0001", None, "op.create_table('t_0001', sa.Column('other', sa.Text))")

        text = ci.run(steps)

        assert "built: migrations/versions/0001_made.py changed" in text
        assert "| ran | 3, " in text

    def test_a_restored_snapshot_that_was_cut_short_is_built_again(self, ci):
        steps = jobs(".github/workflows/tests.yml")["tests"]
        ci.run(steps)
        for database in next(iter(ci.caches.values())).glob("snapshots/*/snapshot.db"):
            database.chmod(0o600)
            whole = database.read_bytes()
            database.write_bytes(whole[: len(whole) // 2])

        text = ci.run(steps)

        assert "| ran | 3, " in text

    def test_shards_share_what_the_first_job_built(self, ci):
        workflow = jobs(".github/workflows/tests.yml", 1)
        ci.run(workflow["snapshot"])

        for part in ("tests/api", "tests/services"):
            text = ci.run(workflow["tests"], **{"matrix.part": part})

            assert "hit " in text
            assert "1 passed" in text

    def test_a_cold_run_runs_everything_although_there_is_a_cache(self, ci):
        ci.run(jobs(".github/workflows/tests.yml")["tests"])

        text = ci.run(jobs(".github/workflows/cold.yml")["cold"])

        assert "| ran | 3, " in text
        assert "differs" not in text


class TestGitLab:
    def test_a_new_branch_completes_the_store_of_the_default_branch(self, ci):
        for command in commands("snapshot"):
            ci.shell(command, ci.project.root)
        ci.project.revision("0004", "0003")

        missed, _ = ci.shell("alembic-snapshot status || true", ci.project.root)
        for command in commands("snapshot"):
            ci.shell(command, ci.project.root)
        text, _ = ci.shell("alembic-snapshot list", ci.project.root)

        assert missed.startswith("miss")
        assert "0003" in text
        assert "0004" in text

    def test_the_shards_and_the_cold_run_find_what_they_need(self, ci):
        ci.shell("alembic-snapshot build", ci.project.root)

        for command in commands("tests") + commands("cold"):
            ci.shell(f"PART=tests/api; {command}", ci.project.root)

        assert commands("tests") == ["alembic-snapshot status", "pytest $PART"]
