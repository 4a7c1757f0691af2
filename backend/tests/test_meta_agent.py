"""A run of `atom_main`, from request to answer, on a scripted model."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AgentTriggerMode, AtomMetaAgent
from core.database import SessionLocal
from core.errors import AtomError, ExecutionExists, NotFound, NotShowable
from core.llm import LLMTimeout, ScriptedLLM
from core.maturity import AgentStatus
from core.models import (
    AgentExecution,
    AgentReasoningStep,
    AgentRegistry,
    HITLAction,
    User,
    UserRole,
    Workspace,
)
from core.tools import Tool, ToolContext, ToolRegistry
from saas.models import UsageEvent
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

CIRCULAR: dict[str, Any] = {}
CIRCULAR["self"] = CIRCULAR
DONE = "Thought: I should finish.\nFinal Answer: Done."


def act(action: str, **arguments: Any) -> str:
    """A reply that uses a tool."""
    return f"Thought: I need {action}.\nAction: {action}\nAction Input: {json.dumps(arguments)}"


def make_tool(name: str, function: Callable[..., Any]) -> Tool:
    schema = {"type": "object", "properties": {"value": {"type": "string"}}, "required": []}
    return Tool(name, f"{name}, for a test.", schema, function)


class Unprintable:
    """A value whose text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("not now")


class Tools:
    """Tools that only note that they were used."""

    def __init__(self) -> None:
        self.used: list[str] = []
        names = ("read_note", "draft_note", "update_note", "delete_note")
        self.registry = ToolRegistry(make_tool(name, self._note(name)) for name in names)
        self.registry.add(make_tool("read_badly", self._fail))

    def _note(self, name: str) -> Callable[..., str]:
        def use(context: ToolContext, value: str = "") -> str:
            self.used.append(name)
            return f"{name} was used with {value!r}"

        return use

    def _fail(self, context: ToolContext) -> None:
        raise RuntimeError("no such note")


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture
def steps(db_session: Session) -> Callable[[str], list[AgentReasoningStep]]:
    """The recorded steps of an execution, in order."""

    def read(execution_id: str) -> list[AgentReasoningStep]:
        return db_session.get_one(AgentExecution, execution_id).steps

    return read


def become(db_session: Session, atom: AgentRegistry, status: AgentStatus, score: str) -> None:
    atom.status, atom.confidence_score = status, Decimal(score)
    db_session.commit()


class TestRun:
    @pytest.mark.asyncio
    async def test_atom_main_is_registered_if_it_is_not_there(
        self, workspace: Workspace, db_session: Session
    ) -> None:
        await AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do something")

        atom = db_session.scalars(select(AgentRegistry)).one()
        assert (atom.name, atom.workspace_id) == ("atom_main", "default")

    @pytest.mark.asyncio
    async def test_the_result_says_what_happened(self, atom: AgentRegistry, tools: Tools) -> None:
        llm = ScriptedLLM([act("read_note", value="a"), DONE])

        result = await AtomMetaAgent(llm=llm, tools=tools.registry).execute(
            "Read it", trigger_mode=AgentTriggerMode.SCHEDULED, execution_id="run-1"
        )

        assert result == {
            "status": "success",
            "final_output": "Done.",
            "actions_executed": [
                {
                    "action": "read_note",
                    "action_input": {"value": "a"},
                    "observation": "\"read_note was used with 'a'\"",
                }
            ],
            "trigger_mode": "scheduled",
            "execution_id": "run-1",
        }

    @pytest.mark.asyncio
    async def test_the_execution_is_recorded_from_request_to_answer(
        self, atom: AgentRegistry, workspace: Workspace, db_session: Session
    ) -> None:
        user = User(workspace=workspace, email="ada@example.com", name="Ada")
        db_session.add(user)
        db_session.commit()

        await AtomMetaAgent(user=user, llm=ScriptedLLM([DONE])).execute("Do it", execution_id="r")

        execution = db_session.get_one(AgentExecution, "r")
        assert (execution.agent, execution.user_id) == (atom, user.id)
        assert (execution.request, execution.final_output) == ("Do it", "Done.")
        assert execution.finished_at is not None
        assert execution.finished_at >= execution.started_at

    @pytest.mark.asyncio
    async def test_a_user_whose_session_is_closed_asks(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        with SessionLocal.begin() as db:
            user = User(workspace_id="default", email="ada@example.com", name="Ada")
            db.add(user)

        await AtomMetaAgent(user=user, llm=ScriptedLLM([DONE])).execute("Do it", execution_id="r")

        asked = db_session.get_one(User, db_session.get_one(AgentExecution, "r").user_id)
        assert asked.email == "ada@example.com"

    @pytest.mark.asyncio
    async def test_the_model_is_told_the_request_the_context_and_what_it_observed(
        self, atom: AgentRegistry, tools: Tools
    ) -> None:
        llm = ScriptedLLM([act("read_note", value="a"), DONE])

        await AtomMetaAgent(llm=llm, tools=tools.registry).execute(
            "Read the note", context={"note": Decimal("1.50")}
        )

        assert "Read the note" in llm.prompts[0]
        assert "1.50" in llm.prompts[0]
        assert "Observation: \"read_note was used with 'a'\"" in llm.prompts[1]

    @pytest.mark.parametrize(
        "context",
        [
            {(1, 2): "a key that is no text"},
            {"itself": CIRCULAR},
            {"no text": Unprintable()},
            {"no number": float("nan")},
            ["no", "mapping"],
            "a text",
        ],
    )
    @pytest.mark.asyncio
    async def test_a_context_that_no_model_can_be_shown_begins_no_run(
        self, atom: AgentRegistry, db_session: Session, context: Any
    ) -> None:
        llm = ScriptedLLM([DONE])

        with pytest.raises(NotShowable, match="the context can't be shown to a model"):
            await AtomMetaAgent(llm=llm).execute("Do it", context=context)

        assert llm.prompts == []
        assert db_session.scalars(select(AgentExecution)).all() == []
        assert atom.confidence_score == Decimal("0.49")

    @pytest.mark.asyncio
    async def test_a_request_is_not_run_twice_under_one_id(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        await AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do it", execution_id="run-1")
        llm = ScriptedLLM([DONE])

        with pytest.raises(ExecutionExists) as caught:
            await AtomMetaAgent(llm=llm).execute("Do it", execution_id="run-1")

        assert caught.value.execution_id == "run-1"
        assert llm.prompts == []
        assert atom.confidence_score == Decimal("0.50")

    @pytest.mark.asyncio
    async def test_there_is_no_run_in_a_workspace_that_does_not_exist(
        self, db_session: Session
    ) -> None:
        with pytest.raises(NotFound, match="workspace"):
            await AtomMetaAgent("nowhere", llm=ScriptedLLM([DONE])).execute("Do it")


class TestSteps:
    @pytest.mark.asyncio
    async def test_each_step_is_a_row_the_last_one_too(
        self, atom: AgentRegistry, tools: Tools, steps: Callable[[str], list[AgentReasoningStep]]
    ) -> None:
        llm = ScriptedLLM([act("read_note", value="a"), "Hm.", DONE])

        await AtomMetaAgent(llm=llm, tools=tools.registry).execute("Read", execution_id="r")

        rows = steps("r")
        assert [(row.step_number, row.kind) for row in rows] == [
            (1, "action"),
            (2, "invalid"),
            (3, "final"),
        ]
        assert (rows[0].thought, rows[0].action) == ("I need read_note.", "read_note")
        assert rows[0].action_input == {"value": "a"}
        assert rows[2].observation == "Done."

    @pytest.mark.asyncio
    async def test_each_step_reaches_the_callback_as_its_own_snapshot(
        self, atom: AgentRegistry, tools: Tools
    ) -> None:
        seen: list[dict[str, Any]] = []

        def spoil(step: dict[str, Any]) -> None:
            seen.append(json.loads(json.dumps(step)))
            if step["action_input"] is not None:
                step["action_input"]["value"] = "spoilt"
            step.clear()

        llm = ScriptedLLM([act("read_note", value="a"), DONE])
        result = await AtomMetaAgent(llm=llm, tools=tools.registry).execute(
            "Read", step_callback=spoil
        )

        assert [step["kind"] for step in seen] == ["action", "final"]
        assert [step["step_number"] for step in seen] == [1, 2]
        assert seen[1]["observation"] == "Done."
        assert result["actions_executed"][0]["action_input"] == {"value": "a"}

    @pytest.mark.asyncio
    async def test_a_step_is_in_the_database_when_the_callback_hears_of_it(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        rows: list[int] = []

        async def count(step: dict[str, Any]) -> None:
            await asyncio.sleep(0)
            with SessionLocal() as session:
                rows.append(len(session.scalars(select(AgentReasoningStep)).all()))

        await AtomMetaAgent(llm=ScriptedLLM(["Hm.", DONE])).execute("Do it", step_callback=count)

        assert rows == [1, 2]

    @pytest.mark.asyncio
    async def test_a_callback_that_raises_does_not_end_the_run(
        self, atom: AgentRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(step: dict[str, Any]) -> None:
            raise RuntimeError("the screen is broken")

        result = await AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do it", step_callback=fail)

        assert result["status"] == "success"
        assert "the screen is broken" in caplog.text


class TestReplies:
    @pytest.mark.asyncio
    async def test_a_reply_that_cannot_be_read_is_explained_to_the_model(
        self, atom: AgentRegistry
    ) -> None:
        llm = ScriptedLLM(["I am not sure.", DONE])

        result = await AtomMetaAgent(llm=llm).execute("Do it")

        assert result["status"] == "success"
        assert "neither an Action nor a Final Answer" in llm.prompts[1]

    @pytest.mark.asyncio
    async def test_three_unreadable_replies_in_a_row_fail_the_run(
        self, atom: AgentRegistry, steps: Callable[[str], list[AgentReasoningStep]]
    ) -> None:
        llm = ScriptedLLM(["Hm.", "Hm?", "Hm!", DONE])

        result = await AtomMetaAgent(llm=llm).execute("Do it", execution_id="r")

        assert result["status"] == "failed"
        assert "3 replies" in result["failure_reason"]
        assert [row.kind for row in steps("r")] == ["invalid"] * 3

    @pytest.mark.parametrize("odd", ["\0", "\ud83d"], ids=["NUL", "half a surrogate pair"])
    @pytest.mark.asyncio
    async def test_what_no_database_stores_is_replaced_in_what_a_model_or_a_tool_says(
        self, atom: AgentRegistry, steps: Callable[[str], list[AgentReasoningStep]], odd: str
    ) -> None:
        def look(context: ToolContext) -> str:
            raise AtomError(f"no {odd} here")

        llm = ScriptedLLM([act("read_note"), f"Thought: So{odd}\nFinal Answer: 1{odd}2"])
        agent = AtomMetaAgent(llm=llm, tools=ToolRegistry([make_tool("read_note", look)]))

        result = await agent.execute(f"Do {odd}", {"about": odd}, execution_id="r")

        assert (result["status"], result["final_output"]) == ("success", "1\ufffd2")
        assert [row.thought for row in steps("r")] == ["I need read_note.", "So\ufffd"]
        assert steps("r")[0].observation == "read_note failed: no \ufffd here"
        assert steps("r")[0].execution.request == "Do \ufffd"
        assert "no \ufffd here" in llm.prompts[1]
        assert [each for each in llm.prompts if odd in each] == []

    @pytest.mark.asyncio
    async def test_a_tools_name_that_is_too_long_to_be_recorded_is_not_read(
        self, atom: AgentRegistry, steps: Callable[[str], list[AgentReasoningStep]]
    ) -> None:
        llm = ScriptedLLM([act("find " * 50), DONE])

        result = await AtomMetaAgent(llm=llm).execute("Do it", execution_id="r")

        assert result["status"] == "success"
        assert [row.kind for row in steps("r")] == ["invalid", "final"]

    @pytest.mark.asyncio
    async def test_a_readable_reply_starts_the_count_again(
        self, atom: AgentRegistry, tools: Tools
    ) -> None:
        replies = ["Hm.", "Hm?", act("read_note"), "Hm.", "Hm?", DONE]

        result = await AtomMetaAgent(llm=ScriptedLLM(replies), tools=tools.registry).execute("Do")

        assert result["status"] == "success"

    @pytest.mark.asyncio
    async def test_ten_steps_without_an_answer_are_the_end(
        self,
        atom: AgentRegistry,
        tools: Tools,
        steps: Callable[[str], list[AgentReasoningStep]],
        db_session: Session,
    ) -> None:
        llm = ScriptedLLM([act("read_note")] * 10 + [DONE])

        result = await AtomMetaAgent(llm=llm, tools=tools.registry).execute("Do", execution_id="r")

        assert result["status"] == "max_steps_exceeded"
        assert result["final_output"] is None
        assert (len(llm.prompts), len(steps("r"))) == (10, 10)
        assert db_session.get_one(AgentExecution, "r").status == "max_steps_exceeded"

    @pytest.mark.asyncio
    async def test_an_answer_at_the_tenth_step_is_in_time(
        self, atom: AgentRegistry, tools: Tools
    ) -> None:
        llm = ScriptedLLM([act("read_note")] * 9 + [DONE])

        result = await AtomMetaAgent(llm=llm, tools=tools.registry).execute("Do it")

        assert result["status"] == "success"


class TestOutcome:
    @pytest.mark.parametrize("answer", ["There was an error.", "failed", "Error: none"])
    @pytest.mark.asyncio
    async def test_the_word_error_in_an_answer_changes_nothing(
        self, atom: AgentRegistry, db_session: Session, answer: str
    ) -> None:
        llm = ScriptedLLM([f"Thought: So.\nFinal Answer: {answer}"])

        result = await AtomMetaAgent(llm=llm).execute("Do it")

        db_session.refresh(atom)
        assert (result["status"], result["final_output"]) == ("success", answer)
        assert atom.confidence_score == Decimal("0.50")

    @pytest.mark.parametrize(
        "replies",
        [
            ["Hm."] * 3,
            [LLMTimeout("no answer within 60 seconds")],
            [ConnectionError("refused")],
            [],
            [act("read_note")] * 10,
        ],
        ids=["nonsense", "timeout", "no connection", "no reply", "no answer"],
    )
    @pytest.mark.asyncio
    async def test_every_other_ending_counts_once_as_a_failure(
        self, atom: AgentRegistry, tools: Tools, db_session: Session, replies: list[str | Exception]
    ) -> None:
        agent = AtomMetaAgent(llm=ScriptedLLM(replies), tools=tools.registry)

        result = await agent.execute("Do it", execution_id="r")

        db_session.refresh(atom)
        execution = db_session.get_one(AgentExecution, "r")
        assert result["status"] in ("failed", "max_steps_exceeded")
        assert execution.status == result["status"]
        assert execution.failure_reason == result["failure_reason"]
        assert execution.outcome_recorded_at is not None
        assert atom.confidence_score == Decimal("0.47")
        assert len(db_session.scalars(select(UsageEvent)).all()) == 1

    @pytest.mark.asyncio
    async def test_a_provider_error_is_the_reason_and_never_the_answer(
        self, atom: AgentRegistry
    ) -> None:
        llm = ScriptedLLM([LLMTimeout("no answer within 60 seconds")])

        result = await AtomMetaAgent(llm=llm).execute("Do it")

        assert result["final_output"] is None
        assert "no answer within 60 seconds" in result["failure_reason"]

    @pytest.mark.asyncio
    async def test_a_run_that_is_interrupted_is_recorded_as_such_and_costs_no_trust(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        asked = asyncio.Event()

        class Silent:
            async def generate_response(self, prompt: str, *, system: str | None = None) -> str:
                asked.set()
                await asyncio.Event().wait()
                return DONE

        task = asyncio.create_task(AtomMetaAgent(llm=Silent()).execute("Do it", execution_id="r"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        db_session.refresh(atom)
        execution = db_session.get_one(AgentExecution, "r")
        assert execution.status == "interrupted"
        assert execution.failure_reason == "interrupted by CancelledError()"
        assert atom.confidence_score == Decimal("0.49")
        assert db_session.scalars(select(UsageEvent)).all() == []

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
    @pytest.mark.asyncio
    async def test_an_interruption_inside_of_a_tool_is_one_and_goes_on(
        self, atom: AgentRegistry, db_session: Session, interruption: type[BaseException]
    ) -> None:
        def stop(context: ToolContext) -> None:
            raise interruption

        tools = ToolRegistry([make_tool("read_note", stop)])
        agent = AtomMetaAgent(llm=ScriptedLLM([act("read_note")]), tools=tools)

        with pytest.raises(interruption):
            await agent.execute("Do it", execution_id="r")

        db_session.refresh(atom)
        assert db_session.get_one(AgentExecution, "r").status == "interrupted"
        assert atom.confidence_score == Decimal("0.49")

    @pytest.mark.asyncio
    async def test_the_outcome_of_an_interrupted_run_cannot_be_counted_later(
        self, atom: AgentRegistry, governance: AgentGovernanceService, db_session: Session
    ) -> None:
        def stop(context: ToolContext) -> None:
            raise KeyboardInterrupt

        tools = ToolRegistry([make_tool("read_note", stop)])
        with pytest.raises(KeyboardInterrupt):
            await AtomMetaAgent(llm=ScriptedLLM([act("read_note")]), tools=tools).execute(
                "Do it", execution_id="r"
            )

        assert await governance.record_outcome(atom.id, False, "r") is False
        assert atom.confidence_score == Decimal("0.49")

    @pytest.mark.asyncio
    async def test_a_run_that_never_waits_is_interrupted_between_two_steps(
        self, atom: AgentRegistry, tools: Tools, db_session: Session
    ) -> None:
        llm = ScriptedLLM([act("read_note")] * 9 + [DONE])
        agent = AtomMetaAgent(llm=llm, tools=tools.registry)

        async def run() -> None:
            task = asyncio.current_task()
            assert task is not None
            await agent.execute("Do", step_callback=lambda _: task.cancel(), execution_id="r")

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(run())

        assert tools.used == ["read_note"]
        assert db_session.get_one(AgentExecution, "r").status == "interrupted"

    @pytest.mark.asyncio
    async def test_a_run_that_a_fault_of_ours_breaks_off_has_failed(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        db_session.execute(text("DROP TABLE agent_reasoning_steps"))
        db_session.commit()

        with pytest.raises(DBAPIError):
            await AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do it", execution_id="r")

        execution = db_session.get_one(AgentExecution, "r")
        assert execution.status == "failed"
        assert "broken off by" in (execution.failure_reason or "")

    @pytest.mark.asyncio
    async def test_a_run_that_fails_is_a_failure_whoever_called_it_a_success_before(
        self, atom: AgentRegistry, db_session: Session, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def praise(step: dict[str, Any]) -> None:
            with SessionLocal.begin() as db:
                service = AgentGovernanceService(db)
                await service.record_outcome(atom.id, True, step["execution_id"])

        llm = ScriptedLLM(["Hm."] * 3)
        result = await AtomMetaAgent(llm=llm).execute("Do", step_callback=praise)

        db_session.refresh(atom)
        assert result["status"] == "failed"
        assert atom.confidence_score == Decimal("0.47")
        assert "is running: it can't be counted as a success" in caplog.text

    @pytest.mark.asyncio
    async def test_the_row_is_final_even_if_the_outcome_cannot_be_counted(
        self, atom: AgentRegistry, db_session: Session, caplog: pytest.LogCaptureFixture
    ) -> None:
        db_session.execute(text("DROP TABLE saas_usage_events"))
        db_session.commit()

        result = await AtomMetaAgent(llm=ScriptedLLM([DONE])).execute("Do", execution_id="r")

        execution = db_session.get_one(AgentExecution, "r")
        assert result["status"] == execution.status == "success"
        assert execution.outcome_recorded_at is None
        assert atom.confidence_score == Decimal("0.49")
        assert "the outcome of execution r was not counted" in caplog.text
        assert "saas_usage_events" in caplog.text

    @pytest.mark.parametrize("status", ["paused", "stopped", "deprecated", "deleted"])
    @pytest.mark.asyncio
    async def test_a_run_of_an_agent_off_the_ladder_is_recorded_and_neither_counted_nor_billed(
        self, atom: AgentRegistry, db_session: Session, status: str
    ) -> None:
        become(db_session, atom, AgentStatus(status), "0.95")
        llm = ScriptedLLM([DONE])

        result = await AtomMetaAgent(llm=llm).execute("Do it", execution_id="r")

        db_session.refresh(atom)
        assert result["status"] == "rejected"
        assert status in result["failure_reason"]
        assert llm.prompts == []
        assert db_session.get_one(AgentExecution, "r").status == "rejected"
        assert (atom.status, atom.confidence_score) == (status, Decimal("0.95"))
        assert db_session.scalars(select(UsageEvent)).all() == []
        assert db_session.get_one(AgentExecution, "r").outcome_recorded_at is None
        service = AgentGovernanceService(db_session)
        assert await service.record_outcome(atom.id, True, "r") is False


class TestActions:
    @pytest.mark.asyncio
    async def test_a_refusal_is_the_observation_and_the_tool_does_not_run(
        self, atom: AgentRegistry, tools: Tools
    ) -> None:
        llm = ScriptedLLM([act("update_note"), act("delete_note"), act("read_note"), DONE])

        result = await AtomMetaAgent(llm=llm, tools=tools.registry).execute("Delete the note")

        assert tools.used == ["read_note"]
        assert [done["action"] for done in result["actions_executed"]] == ["read_note"]
        assert "maturity" in llm.prompts[1]
        assert "autonomous" in llm.prompts[2]

    @pytest.mark.asyncio
    async def test_an_agent_that_is_paused_in_the_middle_of_a_run_is_refused_from_then_on(
        self, atom: AgentRegistry, tools: Tools
    ) -> None:
        def pause(step: dict[str, Any]) -> None:
            if step["step_number"] == 1:
                with SessionLocal.begin() as session:
                    AgentGovernanceService(session).pause(atom_id)

        atom_id = atom.id
        llm = ScriptedLLM([act("read_note"), act("read_note"), DONE])

        await AtomMetaAgent(llm=llm, tools=tools.registry).execute("Read", step_callback=pause)

        assert tools.used == ["read_note"]
        assert "refused: the agent is paused" in llm.prompts[2]

    @pytest.mark.asyncio
    async def test_tool_search_does_not_bypass_governance(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        def stop(step: dict[str, Any]) -> None:
            with SessionLocal.begin() as session:
                session.get_one(AgentRegistry, atom_id).status = AgentStatus.STOPPED

        atom_id = atom.id
        llm = ScriptedLLM([act("search_tools", query="cancel")] * 2 + [DONE])

        await AtomMetaAgent(llm=llm).execute("Look around", step_callback=stop)

        assert "cancel_subscription" in llm.prompts[1].partition("Observation: ")[2]
        assert llm.prompts[2].endswith(
            "Observation: refused: the agent is stopped and may do nothing"
        )

    @pytest.mark.asyncio
    async def test_a_tool_that_is_not_there_is_named_with_those_that_are(
        self, atom: AgentRegistry, tools: Tools
    ) -> None:
        llm = ScriptedLLM([act("read_minds"), DONE])

        await AtomMetaAgent(llm=llm, tools=tools.registry).execute("Do it")

        assert "there is no tool 'read_minds'" in llm.prompts[1]
        assert "read_note" in llm.prompts[1]

    @pytest.mark.asyncio
    async def test_arguments_that_do_not_fit_are_explained(
        self, atom: AgentRegistry, tools: Tools
    ) -> None:
        llm = ScriptedLLM([act("read_note", value=1), act("read_note", colour="red"), DONE])

        await AtomMetaAgent(llm=llm, tools=tools.registry).execute("Do it")

        assert tools.used == []
        assert "value: 1 is not of type 'string'" in llm.prompts[1]
        assert "there is no argument 'colour'" in llm.prompts[2]

    @pytest.mark.asyncio
    async def test_a_tool_that_fails_is_an_observation_and_not_an_executed_action(
        self, atom: AgentRegistry, tools: Tools
    ) -> None:
        llm = ScriptedLLM([act("read_badly"), DONE])

        result = await AtomMetaAgent(llm=llm, tools=tools.registry).execute("Do it")

        assert result["status"] == "success"
        assert result["actions_executed"] == []
        assert "read_badly failed: RuntimeError: no such note" in llm.prompts[1]


class TestApproval:
    @pytest.fixture
    def admin(self, workspace: Workspace, db_session: Session) -> str:
        user = User(workspace=workspace, email="admin@example.com", name="Admin")
        user.role = UserRole.WORKSPACE_ADMIN
        db_session.add(user)
        db_session.commit()
        return user.id

    @pytest.fixture
    def supervised(self, atom: AgentRegistry, db_session: Session) -> AgentRegistry:
        become(db_session, atom, AgentStatus.SUPERVISED, "0.80")
        return atom

    def reviewer(self, admin: str, approved: bool) -> Callable[[dict[str, Any]], None]:
        def decide(step: dict[str, Any]) -> None:
            if step["kind"] == "approval_required":
                with SessionLocal.begin() as session:
                    service = AgentGovernanceService(session)
                    service.decide(step["action_id"], approved, admin)

        return decide

    @pytest.mark.asyncio
    async def test_a_tool_that_needs_approval_runs_once_it_is_approved(
        self, supervised: AgentRegistry, admin: str, tools: Tools, db_session: Session
    ) -> None:
        used: dict[str, list[str]] = {}

        def decide(step: dict[str, Any]) -> None:
            used[step["kind"]] = list(tools.used)
            self.reviewer(admin, True)(step)

        llm = ScriptedLLM([act("update_note", value="b"), DONE])
        agent = AtomMetaAgent(llm=llm, tools=tools.registry, poll_interval=0)
        result = await agent.execute("Update", step_callback=decide, execution_id="r")

        assert result["status"] == "success"
        assert used["approval_required"] == []
        assert used["action"] == ["update_note"]
        filed = db_session.scalars(select(HITLAction)).one()
        assert (filed.agent_id, filed.execution_id) == (supervised.id, "r")
        assert (filed.action_type, filed.params) == ("update_note", {"value": "b"})
        assert (filed.status, filed.reviewer_id) == ("approved", admin)

    @pytest.mark.asyncio
    async def test_a_callback_cannot_change_what_was_approved(
        self, supervised: AgentRegistry, admin: str, tools: Tools
    ) -> None:
        def spoil(step: dict[str, Any]) -> None:
            self.reviewer(admin, True)(step)
            step.get("action_input", {}).update(value="spoilt")

        llm = ScriptedLLM([act("update_note", value="b")])
        agent = AtomMetaAgent(llm=llm, tools=tools.registry, poll_interval=0)
        result = await agent.execute("Update", step_callback=spoil)

        assert result["actions_executed"][0]["action_input"] == {"value": "b"}

    @pytest.mark.asyncio
    async def test_a_rejected_action_does_not_run_and_ends_the_run(
        self, supervised: AgentRegistry, admin: str, tools: Tools, db_session: Session
    ) -> None:
        llm = ScriptedLLM([act("update_note"), DONE])

        agent = AtomMetaAgent(llm=llm, tools=tools.registry, poll_interval=0)
        result = await agent.execute("Update", step_callback=self.reviewer(admin, False))

        db_session.refresh(supervised)
        assert result["status"] == "rejected"
        assert "rejected" in result["failure_reason"]
        assert (tools.used, len(llm.prompts)) == ([], 1)
        assert supervised.confidence_score == Decimal("0.78")

    @pytest.mark.asyncio
    async def test_an_approval_that_nobody_gives_in_time_ends_the_run(
        self, supervised: AgentRegistry, tools: Tools
    ) -> None:
        agent = AtomMetaAgent(
            llm=ScriptedLLM([act("update_note")]),
            tools=tools.registry,
            time_to_decide=timedelta(0),
            poll_interval=0,
        )

        result = await agent.execute("Update")

        assert result["status"] == "rejected"
        assert "expired" in result["failure_reason"]
        assert tools.used == []

    @pytest.mark.asyncio
    async def test_a_run_that_is_cancelled_while_it_waits_withdraws_its_request(
        self, supervised: AgentRegistry, tools: Tools, db_session: Session
    ) -> None:
        asked = asyncio.Event()
        agent = AtomMetaAgent(llm=ScriptedLLM([act("update_note")]), tools=tools.registry)

        task = asyncio.create_task(agent.execute("Update", step_callback=lambda step: asked.set()))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        filed = db_session.scalars(select(HITLAction)).one()
        assert filed.status == "expired"
        assert AgentGovernanceService(db_session).pending_approvals() == []

    @pytest.mark.asyncio
    async def test_an_agent_that_is_paused_while_it_waits_is_refused_what_was_approved(
        self, supervised: AgentRegistry, admin: str, tools: Tools
    ) -> None:
        def approve_and_pause(step: dict[str, Any]) -> None:
            self.reviewer(admin, True)(step)
            if step["kind"] == "approval_required":
                with SessionLocal.begin() as session:
                    AgentGovernanceService(session).pause(agent_id)

        agent_id = supervised.id
        llm = ScriptedLLM([act("update_note"), DONE])
        agent = AtomMetaAgent(llm=llm, tools=tools.registry, poll_interval=0)

        await agent.execute("Update", step_callback=approve_and_pause)

        assert tools.used == []
        assert "refused: the agent is paused" in llm.prompts[1]
