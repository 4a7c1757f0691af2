"""Runs that are ended from outside, at each kind of moment, by real signals to real processes."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from core import interrupts
from core.database import SessionLocal, engine
from core.models import (
    AgentExecution,
    AgentRegistry,
    ApprovalStatus,
    ExecutionStatus,
    HITLAction,
    User,
    UserRole,
    Workspace,
)
from core.processes import is_dead, this_process
from core.recovery import count_owed_outcomes, interrupt_dead_runs
from ecommerce.demo import fill
from ecommerce.models import Subscription
from saas.metering import UsageMeter
from saas.models import UsageEvent
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from alembic_snapshot import Clone

BACKEND = Path(__file__).parents[1]
CANCEL_OVERDUE = str(BACKEND / "examples" / "cancel-overdue.txt")

# The command line, with a tool that says that it works and then works for ever.
WITH_A_SLOW_TOOL = """
import sys, time
from core import composition
from core.tools import tool

@tool("Wait.")
def read_slowly(context):
    print("working", file=sys.stderr, flush=True)
    while True:
        time.sleep(60)

composition.every_tool = lambda: [read_slowly]
from core.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
USE_IT = "Thought: I wait.\nAction: read_slowly\nAction Input: {}"

Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def shop(db_session: Session, workspace: Workspace) -> Workspace:
    """A workspace with the demo shop, its operator, and a supervised agent."""
    operator = User(workspace=workspace, email="operator@localhost", name="Operator")
    operator.role = UserRole.WORKSPACE_ADMIN
    db_session.add(operator)
    fill(db_session, workspace, operator)
    agent = db_session.scalars(select(AgentRegistry)).one()
    agent.confidence_score = Decimal("0.60")
    db_session.commit()
    return workspace


@pytest.fixture
def start(shop: Workspace, db_clone: Clone, tmp_path: Path) -> Iterator[Start]:
    """Start the command line, or a program like it, with signals as a shell leaves them."""
    processes: list[Process] = []
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}

    def as_a_shell_does() -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_DFL)

    def begin(*arguments: str, program: str | None = None, **environment: str) -> Process:
        command = ["-m", "core"] if program is None else ["-c", program]
        process = subprocess.Popen(
            [sys.executable, *command, *arguments],
            cwd=tmp_path,
            env={**kept, **db_clone.environ, "PYTHONPATH": str(BACKEND), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=as_a_shell_does,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def read_until(process: Process, text: str) -> str:
    """What a process says up to a text."""
    assert process.stderr is not None
    seen = ""
    while text not in seen:
        letter = process.stderr.read(1)
        assert letter, f"it ended before it said {text!r}: {seen}"
        seen += letter
    return seen


@pytest.fixture
def silent_model() -> Iterator[tuple[str, Event]]:
    """The address of a model that is asked and never answers."""
    asked, over = Event(), Event()

    class Silent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.set()
            over.wait()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
        over.set()
        server.shutdown()
        thread.join()


def at_the_model(start: Start, silent: tuple[str, Event], script: Path) -> Process:
    address, asked = silent
    process = start(
        "think",
        OPENAI_BASE_URL=address,
        OPENAI_API_KEY="sk-test",
        OPENAI_MODEL="silent",
        NO_PROXY="127.0.0.1",
    )
    assert asked.wait(60)
    return process


def at_the_question(start: Start, silent: tuple[str, Event], script: Path) -> Process:
    process = start("cancel", "--script", CANCEL_OVERDUE)
    read_until(process, "approve? [y/N]")
    return process


def at_the_wait_for_others(start: Start, silent: tuple[str, Event], script: Path) -> Process:
    process = start("cancel", "--script", CANCEL_OVERDUE, "--wait")
    read_until(process, "waits for: python -m core decide ")
    return process


def in_a_tool(start: Start, silent: tuple[str, Event], script: Path) -> Process:
    script.write_text(USE_IT)
    process = start("wait", "--script", str(script), program=WITH_A_SLOW_TOOL)
    read_until(process, "working")
    return process


MOMENTS = [at_the_model, at_the_question, at_the_wait_for_others, in_a_tool]


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        *((moment, number) for moment in MOMENTS for number in (signal.SIGINT, signal.SIGTERM)),
        (at_the_question, signal.SIGHUP),
    ],
)
def test_a_signal_ends_a_run_at_any_moment_and_costs_no_trust(
    start: Start,
    silent_model: tuple[str, Event],
    db_session: Session,
    tmp_path: Path,
    moment: Callable[[Start, tuple[str, Event], Path], Process],
    number: signal.Signals,
) -> None:
    process = moment(start, silent_model, tmp_path / "script.txt")

    process.send_signal(number)
    out, err = process.communicate(timeout=60)

    run = db_session.scalars(select(AgentExecution)).one()
    assert (process.returncode, out) == (130, ""), err
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert (run.status, run.counts, run.outcome_recorded_at) == ("interrupted", False, None)
    assert run.finished_at is not None
    assert {each.status for each in db_session.scalars(select(HITLAction))} <= {"expired"}
    assert run.agent.confidence_score == Decimal("0.60")
    assert db_session.scalars(select(UsageEvent)).all() == []


class TestRunning:
    def test_what_was_done_before_the_signal_was_heard_is_done(self) -> None:
        async def work() -> str:
            os.kill(os.getpid(), signal.SIGTERM)
            return "done"

        assert interrupts.run(work) == "done"

    def test_a_second_signal_breaks_off_what_does_not_heed_the_first(self) -> None:
        deeds: list[str] = []

        async def work() -> None:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                deeds.append("cancelled")
                os.kill(os.getpid(), signal.SIGTERM)
                deeds.append("went on")

        with pytest.raises(KeyboardInterrupt):
            interrupts.run(work)

        assert deeds == ["cancelled"]

    def test_signals_are_handled_afterwards_as_they_were_before(self) -> None:
        async def work() -> list[Any]:
            return [signal.getsignal(each) for each in interrupts.ENDING]

        before = [signal.getsignal(each) for each in interrupts.ENDING]
        within = interrupts.run(work)

        assert [signal.getsignal(each) for each in interrupts.ENDING] == before
        assert within != before

    def test_an_error_is_the_works_own(self) -> None:
        async def work() -> None:
            raise LookupError("no such note")

        with pytest.raises(LookupError, match="no such note"):
            interrupts.run(work)


def test_a_signal_that_is_ignored_stays_so(start: Start, db_session: Session) -> None:
    program = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from core.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    process = start("cancel", "--script", CANCEL_OVERDUE, program=program)
    read_until(process, "approve? [y/N]")

    process.send_signal(signal.SIGHUP)
    process.communicate("n\n", timeout=60)

    assert process.returncode == 1
    assert db_session.scalars(select(AgentExecution)).one().status == "rejected"


def test_a_run_that_ended_and_was_not_counted_is_counted_by_the_next_command(
    start: Start, db_session: Session
) -> None:
    atom = db_session.scalars(select(AgentRegistry)).one()
    run = AgentExecution(workspace_id="default", agent=atom, request="", status="success")
    db_session.add(run)
    db_session.commit()

    out, err = start("agents").communicate(timeout=60)

    assert err == f"run {run.id} is counted now: it ended before, and could not be\n"
    assert "0.6100" in out


def test_a_run_whose_process_died_is_found_by_the_next_command(
    start: Start, db_session: Session
) -> None:
    process = at_the_question(start, ("", Event()), Path())
    process.kill()
    process.communicate()
    dead = db_session.scalars(select(AgentExecution)).one()
    before = dead.status
    db_session.rollback()

    out, err = start("approvals").communicate(timeout=60)

    db_session.refresh(dead)
    assert before == "running"
    assert err == f"run {dead.id} is interrupted: its process died\n"
    assert out == "no agent waits for an approval\n"
    assert (dead.status, dead.counts) == ("interrupted", False)
    assert dead.failure_reason == "its process died"
    assert dead.finished_at is not None
    assert db_session.scalars(select(HITLAction)).one().status == "expired"
    assert dead.agent.confidence_score == Decimal("0.60")


def test_a_run_whose_process_lives_is_left_alone_and_decided_by_another_terminal(
    start: Start, db_session: Session
) -> None:
    process = start("cancel", "--script", CANCEL_OVERDUE)
    for _ in range(2):
        read_until(process, "approve? [y/N]")
        listed, err = start("approvals").communicate(timeout=60)
        assert err == ""
        key = listed.split()[0]
        decided = start("decide", key, "approve").communicate(timeout=60)
        assert decided == (f"approved: {key}\n", "")
        read_until(process, "approved by somebody else")

    out, _ = process.communicate(timeout=60)

    assert (process.returncode, "Ada's and Grace's, are canceled." in out) == (0, True)
    assert "because: Ada's has been overdue the longest." in listed or "Grace's is" in listed


def test_a_run_that_waits_for_others_asks_nobody_here(start: Start, db_session: Session) -> None:
    process = start("cancel", "--script", CANCEL_OVERDUE, "--wait")
    read_until(process, "waits for: python -m core decide ")
    assert process.stderr is not None
    key = process.stderr.readline().strip()

    start("decide", key, "reject").communicate(timeout=60)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (1, "")
    assert "rejected: the approval of 'cancel_subscription' is rejected" in err


class TestProcesses:
    def test_this_one_lives(self) -> None:
        assert not is_dead(this_process())

    def test_one_that_ended_is_dead(self, tmp_path: Path) -> None:
        code = "from core.processes import this_process; print(this_process())"
        environment = {**os.environ, "PYTHONPATH": str(BACKEND)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )

        assert is_dead(done.stdout.strip())

    def test_a_zombie_is_dead(self) -> None:
        code = "from core.processes import this_process; print(this_process(), flush=True)"
        with subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(BACKEND)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            name = process.stdout.read().strip()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            dead = is_dead(name)

        assert dead

    def test_a_number_that_was_given_again_is_another_process(self) -> None:
        place, _, _ = this_process().partition(" since ")

        assert is_dead(f"{place} since another boot 1")

    @pytest.mark.parametrize("name", ["", "nonsense", "elsewhere pid 1 since 1", "x pid y since z"])
    def test_of_another_place_nothing_is_known(self, name: str) -> None:
        assert not is_dead(name)

    def test_what_cannot_be_told_is_no_death(self) -> None:
        place, _, _ = this_process().partition(" since ")

        assert not is_dead(f"{place} since ?")


class TestRecovery:
    def add(self, db: Session, key: str, process: str | None, **other: Any) -> None:
        agent = db.scalars(select(AgentRegistry)).one()
        about = {"workspace_id": "default", "agent_id": agent.id, "request": "", **other}
        db.add(AgentExecution(id=key, process=process, **about))
        db.commit()

    def test_only_runs_of_dead_processes_of_this_place_are_interrupted(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        place, _, _ = this_process().partition(" pid ")
        self.add(db_session, "dead", f"{place} pid 1 since another boot")
        self.add(db_session, "alive", this_process())
        self.add(db_session, "elsewhere", "elsewhere pid 1 since 1")
        self.add(db_session, "unknown", None)
        self.add(db_session, "done", f"{place} pid 1 since another boot", status="success")

        found = interrupt_dead_runs("default")
        again = interrupt_dead_runs("default")

        db_session.expire_all()
        runs = {each.id: each.status for each in db_session.scalars(select(AgentExecution))}
        assert (found, again) == (["dead"], [])
        assert runs == {
            "dead": "interrupted",
            "alive": "running",
            "elsewhere": "running",
            "unknown": "running",
            "done": "success",
        }

    def test_what_a_dead_run_asked_is_expired_and_nothing_else(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        place, _, _ = this_process().partition(" pid ")
        self.add(db_session, "dead", f"{place} pid 1 since another boot")
        self.add(db_session, "alive", this_process())
        later = datetime.now(UTC) + timedelta(hours=1)
        asked = {
            "pending": ("dead", "pending"),
            "approved": ("dead", "approved"),
            "rejected": ("dead", "rejected"),
            "of another": ("alive", "pending"),
            "of none": (None, "pending"),
        }
        for key, (run, status) in asked.items():
            about = {"id": key, "workspace_id": "default", "agent_id": atom.id, "reason": ""}
            action = HITLAction(execution_id=run, action_type="read", expires_at=later, **about)
            action.status = ApprovalStatus(status)
            db_session.add(action)
        db_session.commit()

        assert interrupt_dead_runs("default") == ["dead"]

        db_session.expire_all()
        requests = {each.id: each for each in db_session.scalars(select(HITLAction))}
        becomes = {key: status for key, (_, status) in asked.items()} | {"pending": "expired"}
        assert {key: each.status for key, each in requests.items()} == becomes
        assert {key for key, each in requests.items() if each.expires_at != later} == {"pending"}
        assert requests["pending"].expires_at <= datetime.now(UTC)

    def test_a_run_that_ended_in_between_is_not_interrupted(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        place, _, _ = this_process().partition(" pid ")
        self.add(db_session, "dead", f"{place} pid 1 since another boot")
        db_session.rollback()
        ended: list[bool] = []

        def end_it(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("UPDATE agent_executions") and not ended:
                ended.append(True)
                with SessionLocal.begin() as other:
                    other.get_one(AgentExecution, "dead").status = ExecutionStatus.SUCCESS

        event.listen(engine, "before_cursor_execute", end_it)
        try:
            found = interrupt_dead_runs("default")
        finally:
            event.remove(engine, "before_cursor_execute", end_it)

        assert (ended, found) == ([True], [])
        assert db_session.get_one(AgentExecution, "dead").status == "success"

    @pytest.mark.parametrize(
        ("status", "score"),
        [
            ("success", "0.50"),
            ("failed", "0.47"),
            ("rejected", "0.47"),
            ("max_steps_exceeded", "0.47"),
        ],
    )
    @pytest.mark.asyncio
    async def test_what_ended_and_was_not_counted_is_counted_later_and_once(
        self,
        atom: AgentRegistry,
        db_session: Session,
        caplog: pytest.LogCaptureFixture,
        status: str,
        score: str,
    ) -> None:
        self.add(db_session, "owed", None, status=status)
        self.add(db_session, "running", this_process())
        self.add(db_session, "refused", None, status="rejected", counts=False)
        self.add(db_session, "interrupted", None, status="interrupted", counts=False)

        found = [await count_owed_outcomes(each) for each in ("acme", "default", "default")]

        db_session.expire_all()
        usage = db_session.scalars(select(UsageEvent.idempotency_key)).all()
        assert (found, caplog.text) == ([[], ["owed"], []], "")
        assert (atom.confidence_score, usage) == (Decimal(score), ["agent_execution:owed"])

    @pytest.mark.asyncio
    async def test_one_that_can_still_not_be_counted_keeps_no_other_from_it(
        self, atom: AgentRegistry, db_session: Session, caplog: pytest.LogCaptureFixture
    ) -> None:
        for key, hour in (("2", 3), ("1", 2), ("3", 1)):
            at = datetime(2026, 3, 1, hour, tzinfo=UTC)
            self.add(db_session, key, None, status="success", started_at=at)
        plan = db_session.scalars(select(Subscription)).one()
        UsageMeter(db_session).record(plan.id, "agent_execution", 7, "agent_execution:1")
        db_session.commit()

        assert await count_owed_outcomes("default") == ["3", "2"]

        db_session.expire_all()
        assert "the outcome of execution 1 was not counted" in caplog.text
        assert atom.confidence_score == Decimal("0.51")

    def test_those_of_another_workspace_are_its_own_matter(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        place, _, _ = this_process().partition(" pid ")
        self.add(db_session, "dead", f"{place} pid 1 since another boot")

        assert interrupt_dead_runs("acme") == []
