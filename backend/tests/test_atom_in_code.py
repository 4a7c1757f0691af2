"""docs/atom-in-code.md: its examples run, and nothing that is there to be called is missing."""

import inspect
import re
from pathlib import Path

import pytest
from core import errors
from core.agent_governance_service import AgentGovernanceService
from core.models import AgentRegistry, ExecutionStatus

PAGE = (Path(__file__).parents[2] / "docs" / "atom-in-code.md").read_text()
EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def test_the_examples_print_what_the_page_says(
    atom: AgentRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": "example"}
    examples = EXAMPLE.findall(PAGE)

    assert len(examples) == PAGE.count("```python") == 3
    for code, output in examples:
        exec(compile(code, "docs/atom-in-code.md", "exec"), names)
        assert capsys.readouterr().out == output


def test_every_call_of_the_service_is_there() -> None:
    calls = [
        name
        for name, _ in inspect.getmembers(AgentGovernanceService, inspect.isfunction)
        if not name.startswith("_")
    ]

    assert [name for name in calls if f"{name}(" not in PAGE] == []


def test_what_each_call_says_that_it_raises_is_there() -> None:
    for name, call in inspect.getmembers(AgentGovernanceService, inspect.isfunction):
        if name.startswith("_"):
            continue
        raised = re.findall(
            r"^ {4}(\w+): ", (inspect.getdoc(call) or "").partition("Raises:")[2], re.M
        )
        row = next(
            line for line in PAGE.splitlines() if line.startswith("|") and f"{name}(" in line
        )
        assert [each for each in raised if f"`{each}`" not in row] == [], name


def test_every_error_is_there() -> None:
    known = [
        name
        for name, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, errors.AtomError) and error is not errors.AtomError
    ]

    assert [name for name in known if f"| `{name}` |" not in PAGE] == []


def test_every_ending_is_there() -> None:
    endings = set(ExecutionStatus) - {ExecutionStatus.RUNNING}

    assert [each for each in endings if f"| `{each}` |" not in PAGE] == []
