"""The plan's own checks of the tests that must exist by name, as the plan writes them."""

import re
import subprocess
from pathlib import Path

FILE = Path(__file__).with_name("test_atom_governance.py")


def shell(command: str) -> str:
    """What a shell command prints, with `FILE` in the environment; a grep without a match is 1."""
    done = subprocess.run(
        ["sh", "-c", command],
        env={"PATH": "/usr/bin:/bin", "FILE": str(FILE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_outcome_is_patched_within_five_lines_below_the_tests_name() -> None:
    found = shell(
        'grep -A5 "test_atom_learning_progression" "$FILE"'
        ' | grep "AgentGovernanceService.record_outcome"'
    )

    assert "core.agent_governance_service" in found


def test_the_recording_of_the_run_is_wrapped() -> None:
    found = shell('grep "patch\\.object.*_record_execution" "$FILE"')

    assert "wraps=" in found


def test_the_agent_is_prepared_as_the_plan_writes_it() -> None:
    written = re.sub(r"\s+", "", FILE.read_text()).replace(",)", ")")

    assert (
        'AgentRegistry(id="atom_main",name="Atom",status=AgentStatus.STUDENT.value,'
        'category="Meta",module_path="core.atom_meta_agent",class_name="AtomMetaAgent",'
        "confidence_score=0.49)" in written
    )
