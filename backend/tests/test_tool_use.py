"""What is told and recorded of a tool that was used: what it was given, and that it is done."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AtomMetaAgent
from core.llm import ScriptedLLM
from core.maturity import AgentStatus
from core.models import AgentReasoningStep, AgentRegistry, HITLAction, Workspace
from core.tools import Tool, ToolContext, ToolRegistry
from sqlalchemy import select, update
from sqlalchemy.orm import Session

DONE = "Thought: I should finish.\nFinal Answer: Done."


def use(tool: str, given: object) -> str:
    return f"Thought: So.\nAction: {tool}\nAction Input: {json.dumps({'given': given})}"


def tools(functions: Iterable[Callable[..., Any]], verb: str = "read") -> ToolRegistry:
    schema = {"type": "object", "properties": {"given": {}}, "required": []}
    return ToolRegistry(
        Tool(f"{verb}_{number}", "For a test.", schema, function)
        for number, function in enumerate(functions)
    )


def replies(given: Iterable[object], verb: str = "read") -> list[str]:
    return [*(use(f"{verb}_{number}", each) for number, each in enumerate(given)), DONE]


class Untold:
    def __str__(self) -> str:
        raise RuntimeError("nobody is to know")


def cycle() -> dict[str, Any]:
    itself: dict[str, Any] = {}
    itself["self"] = itself
    return itself


def nested() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


async def later() -> object:
    return {("a", "pair"): 1}


async def over_time() -> AsyncIterator[int]:
    yield 1


def at_once(context: ToolContext) -> Iterator[int]:
    yield 1


UNSHOWN: dict[str, Callable[[], object]] = {
    "a key that is none in JSON": lambda: {("a", "pair"): 1},
    "a result that holds itself": cycle,
    "a text that fails": Untold,
    "a result that is too deep": nested,
    "a coroutine's": later,
    "an iterator": lambda: map(str, [1]),
    "a generator": lambda: (each for each in "ab"),
    "an iterator inside": lambda: {"rows": [iter([1])]},
    "one that gives over time": over_time,
}


@pytest.mark.asyncio
async def test_an_action_whose_result_cannot_be_shown_is_done(
    atom: AgentRegistry, db_session: Session
) -> None:
    done: list[int] = []

    def doing(result: Callable[[], object]) -> Callable[..., object]:
        def function(context: ToolContext, given: int) -> object:
            with context.begin() as db:
                db.execute(update(Workspace).values(name=f"changed {given}"))
            done.append(given)
            return result()

        return function

    functions = [doing(result) for result in UNSHOWN.values()]
    llm = ScriptedLLM(replies(range(len(functions))))

    result = await AtomMetaAgent(llm=llm, tools=tools(functions)).execute("Do it")

    numbers = list(range(len(functions)))
    assert done == numbers
    assert [each["action_input"] for each in result["actions_executed"]] == [
        {"given": number} for number in numbers
    ]
    told = [prompt.splitlines()[-1] for prompt in llm.prompts[1:]]
    for number, line in enumerate(told):
        assert line.startswith(f"Observation: read_{number} is done, but its result can't be shown")
    db_session.expire_all()
    assert db_session.scalars(select(Workspace.name)).one() == f"changed {numbers[-1]}"


@pytest.mark.parametrize("function", [at_once, over_time, partial(at_once)])
def test_a_function_of_which_nothing_would_run_is_no_tool(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"^tool 'read_0': .* does nothing when called$"):
        tools([function])


@pytest.mark.asyncio
async def test_what_has_no_utf_8_is_replaced_in_what_was_executed(atom: AgentRegistry) -> None:
    llm = ScriptedLLM(replies([1]))

    result = await AtomMetaAgent(llm=llm, tools=tools([lambda _, given: "\ud83d"])).execute("Do it")

    assert result["actions_executed"][0]["observation"] == '"\ufffd"'


def clear(context: ToolContext, given: list[int]) -> int:
    given.clear()
    return 0


def sort(context: ToolContext, given: list[int]) -> int:
    given.sort()
    return given[0]


def pop(context: ToolContext, given: dict[str, Any]) -> Any:
    return given["of"].pop("that")


def setdefault(context: ToolContext, given: dict[str, Any]) -> Any:
    given["of"][0].setdefault("size", 1)
    return given


def spoil_and_fail(context: ToolContext, given: list[int]) -> None:
    given.append(3)
    raise RuntimeError("no")


SPOILING: dict[str, tuple[Callable[..., Any], Any]] = {
    "clear": (clear, [1, 2]),
    "sort": (sort, [2, 1]),
    "pop": (pop, {"of": {"that": 1}}),
    "setdefault": (setdefault, {"of": [{}]}),
    "append, and fail": (spoil_and_fail, [1]),
}


@pytest.mark.parametrize("is_approved", [False, True], ids=["at once", "approved"])
@pytest.mark.asyncio
async def test_what_a_tool_does_with_its_arguments_changes_nothing_of_what_it_was_given(
    atom: AgentRegistry, admin: str, db_session: Session, is_approved: bool
) -> None:
    steps: list[dict[str, Any]] = []
    functions = [function for function, _ in SPOILING.values()]
    given = [each for _, each in SPOILING.values()]
    atom.status = AgentStatus.SUPERVISED
    verb = "update" if is_approved else "read"
    llm = ScriptedLLM(replies(given, verb))
    db_session.commit()

    def note(step: dict[str, Any]) -> None:
        steps.append(step)
        if step["kind"] == "approval_required":
            AgentGovernanceService(db_session).decide(step["action_id"], True, admin)
            db_session.commit()

    agent = AtomMetaAgent(llm=llm, tools=tools(functions, verb), poll_interval=0)
    result = await agent.execute("Do it", step_callback=note)

    expected = [{"given": each} for each in given]
    rows = db_session.scalars(
        select(AgentReasoningStep.action_input).order_by(AgentReasoningStep.step_number)
    )
    filed = list(db_session.scalars(select(HITLAction.params).order_by(HITLAction.requested_at)))
    assert [each["action_input"] for each in result["actions_executed"]] == expected[:-1]
    assert [step["action_input"] for step in steps if step["kind"] == "action"] == expected
    assert list(rows)[:-1] == expected
    assert filed == (expected if is_approved else [])
    retold = [line for line in llm.prompts[-1].splitlines() if line.startswith("Action Input:")]
    assert [json.loads(line.partition(": ")[2]) for line in retold] == expected
