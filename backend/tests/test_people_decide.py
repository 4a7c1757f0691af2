"""The commands for people: approvals, decide, agents, promote and feedback, by the same rules."""

import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from core import terminal
from core.agent_governance_service import AgentGovernanceService
from core.arguments import parse
from core.errors import AtomError
from core.maturity import AgentStatus
from core.models import AgentFeedback, AgentRegistry, HITLAction, User, UserRole, Workspace
from core.screen import Screen
from sqlalchemy import select
from sqlalchemy.orm import Session

# What a terminal obeys or hides: an escape sequence, C1, a bell, bidirectional controls, a tag.
NASTY = "a\x1b[2Jb\x9b31mc\x07d\u202ee\u2066f\u200bg\U000e0041h\x7fi\rj\u2028k"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process, on this test's clone: exit status, output, errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        out, err = Screen(sys.stdout), Screen(sys.stderr)
        try:
            status = terminal.work(parse(arguments), out, err)
        except AtomError as error:
            status = terminal.refuse(err, error)
        except SystemExit as error:
            status = int(error.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def add_user(db: Session, workspace: Workspace, name: str, role: UserRole) -> User:
    user = User(workspace=workspace, email=f"{name}@localhost", name=name, role=role)
    db.add(user)
    db.commit()
    return user


@pytest.fixture
def operator(db_session: Session, workspace: Workspace) -> User:
    """The admin who sits at the terminal."""
    return add_user(db_session, workspace, "operator", UserRole.WORKSPACE_ADMIN)


@pytest.fixture
def member(db_session: Session, workspace: Workspace) -> User:
    return add_user(db_session, workspace, "member", UserRole.MEMBER)


@pytest.fixture
def supervised(db_session: Session, atom: AgentRegistry) -> AgentRegistry:
    atom.status = AgentStatus.SUPERVISED
    db_session.commit()
    return atom


def ask(db: Session, agent: AgentRegistry, *, hours: int = 1, thought: str = "It is late.") -> str:
    """File a request, which waits for somebody."""
    service = AgentGovernanceService(db)
    key = service.request_approval(
        agent.id,
        "cancel_it",
        {"id": "a"},
        thought=thought,
        time_to_decide=timedelta(hours=hours),
    )
    db.commit()
    return key


class TestApprovals:
    def test_each_is_shown_with_the_thought_that_led_to_it(
        self, command: Command, operator: User, supervised: AgentRegistry, db_session: Session
    ) -> None:
        later, sooner = (ask(db_session, supervised, hours=hours) for hours in (9, 2))

        status, out, err = command("approvals")

        assert (status, err) == (0, "")
        assert out.index(sooner) < out.index(later)
        assert 'atom_main wants to cancel_it {"id": "a"}\n  because: It is late.\n' in out

    def test_none_is_said(self, command: Command, workspace: Workspace) -> None:
        assert command("approvals") == (0, "no agent waits for an approval\n", "")

    def test_those_of_another_workspace_are_not_shown(
        self, command: Command, operator: User, supervised: AgentRegistry, db_session: Session
    ) -> None:
        ask(db_session, supervised)
        db_session.add(Workspace(id="acme", name="Acme"))
        db_session.commit()

        out = command("approvals", "--workspace", "acme")[1]

        assert out == "no agent waits for an approval\n"


class TestDecide:
    @pytest.mark.parametrize("verdict", ["approve", "reject"])
    def test_a_decision_is_the_users(
        self,
        command: Command,
        operator: User,
        supervised: AgentRegistry,
        db_session: Session,
        verdict: str,
    ) -> None:
        key = ask(db_session, supervised)

        status, out, err = command("decide", key, verdict)

        filed = db_session.get_one(HITLAction, key, populate_existing=True)
        past = {"approve": "approved", "reject": "rejected"}[verdict]
        assert (status, out, err) == (0, f"{past}: {key}\n", "")
        assert (filed.status, filed.reviewer_id) == (past, operator.id)

    def test_it_is_final(
        self, command: Command, operator: User, supervised: AgentRegistry, db_session: Session
    ) -> None:
        key = ask(db_session, supervised)
        command("decide", key, "reject")

        status, out, err = command("decide", key, "approve")

        assert (status, out) == (2, "")
        assert "is already rejected\nhint: python -m core approvals\n" in err

    def test_what_an_agent_may_not_do_any_more_can_only_be_rejected(
        self, command: Command, operator: User, supervised: AgentRegistry, db_session: Session
    ) -> None:
        key = ask(db_session, supervised)
        supervised.status = AgentStatus.STOPPED
        db_session.commit()

        status, out, err = command("decide", key, "approve")
        said, hint = err.splitlines()

        assert (status, out) == (2, "")
        assert "the agent is stopped and may do nothing" in said
        rejection = hint.removeprefix("hint: python -m core ").split()
        assert command(*rejection) == (0, f"rejected: {key}\n", "")

    def test_whose_word_does_not_count_is_refused(
        self,
        command: Command,
        operator: User,
        member: User,
        supervised: AgentRegistry,
        db_session: Session,
    ) -> None:
        key = ask(db_session, supervised)

        status, _, err = command("decide", key, "approve", "--user", member.email)

        assert status == 2
        assert "may not decide" in err
        assert "hint: give the --user of an admin" in err
        row = db_session.get_one(HITLAction, key, populate_existing=True)
        assert row.status == "pending"

    def test_too_late_is_expired(
        self, command: Command, operator: User, supervised: AgentRegistry, db_session: Session
    ) -> None:
        key = ask(db_session, supervised)
        row = db_session.get_one(HITLAction, key)
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
        db_session.commit()

        status, _, err = command("decide", key, "approve")

        assert status == 2
        assert "expired at" in err
        row = db_session.get_one(HITLAction, key, populate_existing=True)
        assert row.status == "expired"

    def test_a_request_of_another_workspace_does_not_exist(
        self, command: Command, supervised: AgentRegistry, db_session: Session
    ) -> None:
        key = ask(db_session, supervised)
        acme = Workspace(id="acme", name="Acme")
        add_user(db_session, acme, "ada", UserRole.WORKSPACE_ADMIN)

        said = command("decide", key, "approve", "--workspace", "acme", "--user", "ada@localhost")

        assert said[0] == 2
        assert f"approval '{key}' does not exist\nhint: python -m core approvals" in said[2]


class TestAgents:
    def test_they_are_listed_with_what_they_have_earned(
        self, command: Command, atom: AgentRegistry
    ) -> None:
        status, out, err = command("agents")

        assert (status, err) == (0, "")
        assert out.splitlines()[0].split() == ["NAME", "STATUS", "SCORE", "FLOOR", "CATEGORY", "ID"]
        assert out.splitlines()[1].split() == [
            "atom_main",
            "student",
            "0.4900",
            "-",
            "general",
            atom.id,
        ]

    def test_some_are_listed(self, command: Command, atom: AgentRegistry) -> None:
        assert "atom_main" in command("agents", "--category", "general")[1]
        assert command("agents", "--status", "paused")[1] == "there is no such agent\n"

    def test_none_is_said(self, command: Command, workspace: Workspace) -> None:
        assert command("agents") == (0, "there is no agent\n", "")

    def test_promote_sets_the_floor(
        self, command: Command, operator: User, atom: AgentRegistry, db_session: Session
    ) -> None:
        status, out, _ = command("promote", "atom_main", "supervised")

        db_session.refresh(atom)
        assert (status, out) == (0, "atom_main is supervised, and never less than supervised\n")
        assert (atom.status, atom.status_floor) == ("supervised", "supervised")

    def test_promote_needs_an_admin(
        self, command: Command, member: User, atom: AgentRegistry, db_session: Session
    ) -> None:
        status, _, err = command("promote", "atom_main", "intern", "--user", member.email)

        db_session.refresh(atom)
        assert (status, atom.status) == (2, "student")
        assert "may not promote agents" in err

    def test_promote_needs_an_agent(self, command: Command, operator: User) -> None:
        assert command("promote", "nobody", "intern")[2] == (
            "error: agent 'nobody' does not exist\nhint: python -m core agents\n"
        )


class TestFeedback:
    def test_a_members_waits_until_it_is_accepted(
        self,
        command: Command,
        operator: User,
        member: User,
        atom: AgentRegistry,
        db_session: Session,
    ) -> None:
        given = command(
            *("feedback", "give", "atom_main", "--said", "5", "--correction", "4"),
            *("--rating", "2", "--user", member.email),
        )
        key = db_session.scalars(select(AgentFeedback.id)).one()
        listed = command("feedback")[1]
        accepted = command("feedback", "accept", key)

        db_session.refresh(atom)
        assert given[:2] == (0, f"pending: {key}: it waits for a review\n")
        assert f"{key}  " in listed
        assert "  atom_main said, rated 2 of 5: 5\n  right is: 4\n" in listed
        assert accepted[:2] == (0, f"accepted: {key}\n")
        assert atom.confidence_score == Decimal("0.39")
        assert command("feedback")[1] == "no correction waits for a review\n"

    def test_an_admins_counts_at_once(
        self, command: Command, operator: User, atom: AgentRegistry, db_session: Session
    ) -> None:
        said = command("feedback", "give", "atom_main", "--said", "5", "--correction", "4")

        db_session.refresh(atom)
        assert said[1].startswith("accepted: ")
        assert atom.confidence_score == Decimal("0.39")

    def test_a_rejected_one_costs_nothing_and_is_final(
        self,
        command: Command,
        operator: User,
        member: User,
        atom: AgentRegistry,
        db_session: Session,
    ) -> None:
        service = AgentGovernanceService(db_session)
        key = service.submit_feedback(atom.id, member.id, "5", "4").id
        db_session.commit()

        rejected, again = (command("feedback", deed, key) for deed in ("reject", "accept"))

        db_session.refresh(atom)
        assert rejected[:2] == (0, f"rejected: {key}\n")
        assert "already rejected\nhint: python -m core feedback\n" in again[2]
        assert atom.confidence_score == Decimal("0.49")

    def test_the_oldest_of_the_workspaces_own_is_first(
        self, command: Command, member: User, atom: AgentRegistry, db_session: Session
    ) -> None:
        acme = Workspace(id="acme", name="Acme")
        about = {"category": "c", "module_path": "m", "class_name": "C"}
        db_session.add(AgentRegistry(id="theirs", workspace=acme, name="theirs", **about))
        db_session.flush()
        moment = datetime(2026, 3, 1, tzinfo=UTC)
        for agent, said, days in ((atom.id, "b", 2), (atom.id, "a", 1), ("theirs", "x", 0)):
            feedback = AgentFeedback(agent_id=agent, user_id=member.id, user_correction="")
            feedback.original_output = said
            feedback.created_at = moment + timedelta(days=days)
            db_session.add(feedback)
        db_session.commit()

        listed = [line[-1] for line in command("feedback")[1].splitlines() if " said" in line]

        assert listed == ["a", "b"]
        assert "theirs said: x" in command("feedback", "--workspace", "acme")[1]

    def test_a_rating_out_of_range_is_an_error(
        self, command: Command, operator: User, atom: AgentRegistry
    ) -> None:
        said = command(
            *("feedback", "give", "atom_main", "--said", "5", "--correction", "4"),
            *("--rating", "6"),
        )

        assert said[0] == 2
        assert "a rating is from 1 to 5" in said[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["decide"],
        ["decide", "x"],
        ["decide", "x", "maybe"],
        ["promote", "atom_main", "paused"],
        ["feedback", "give", "atom_main"],
        ["feedback", "delete", "x"],
        ["approvals", "--nonsense"],
        ["agents", "--status", "asleep"],
    ],
)
def test_what_a_command_does_not_take_is_an_error(command: Command, arguments: list[str]) -> None:
    status, out, err = command(*arguments)

    assert (status, out) == (2, "")
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: python -m core")
    assert hint.endswith("--help")


@pytest.mark.parametrize("name", ["approvals", "agents", "feedback"])
def test_a_workspace_that_is_not_there_is_an_error(
    command: Command, db_session: Session, name: str
) -> None:
    status, out, err = command(name, "--workspace", "nowhere")

    assert (status, out) == (2, "")
    assert "workspace 'nowhere' does not exist\nhint: --init" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--workspace", "acme", "--user", "x@y", "approvals"),
        ("approvals", "--workspace=acme", "--user=x@y"),
        ("--workspace", "acme", "approvals", "--user", "x@y"),
        ("feedback", "--workspace", "acme", "accept", "--user", "x@y", "ID"),
        ("--user", "x@y", "do it", "--workspace", "acme"),
        ("--user", "x@y", "--workspace", "acme", "--", "agents"),
    ],
)
def test_options_stand_before_a_command_or_after_it(arguments: tuple[str, ...]) -> None:
    read = parse(arguments)

    assert (read.workspace, read.user, read.database) == ("acme", "x@y", None)


def test_what_follows_two_dashes_is_no_option() -> None:
    read = parse(("--", "--user"))

    assert (read.command, read.request, read.user) == (None, "--user", "operator@localhost")


def test_the_help_names_every_command(command: Command) -> None:
    status, out, _ = command("--help")

    assert status == 0
    for name in ("approvals", "decide", "agents", "promote", "feedback"):
        assert f"\n  {name} " in out
        assert command(name, "--help")[0] == 0


def test_a_request_of_one_such_word_comes_after_two_dashes(
    command: Command, operator: User
) -> None:
    status, _, err = command("--", "agents")

    assert status == 2
    assert "OPENAI_API_KEY is missing" in err


def test_an_argument_that_is_not_utf_8_is_an_error(command: Command) -> None:
    status, _, err = command("agents", "--user", "\udcff")

    assert status == 2
    assert "is not UTF-8" in err


def unsafe(text: str) -> set[str]:
    """The characters of a text that a terminal obeys or hides."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {each for each in text if unicodedata.category(each) in kinds} - {"\n"}


class TestNastyText:
    """What a model, a tool or anybody else wrote is shown and never sent."""

    @pytest.fixture
    def nasty(self, supervised: AgentRegistry, db_session: Session, member: User) -> AgentRegistry:
        supervised.name = supervised.category = NASTY
        service = AgentGovernanceService(db_session)
        service.request_approval(supervised.id, f"read {NASTY}", {NASTY: NASTY}, thought=NASTY)
        service.submit_feedback(supervised.id, member.id, NASTY, NASTY)
        db_session.commit()
        return supervised

    @pytest.mark.parametrize("name", ["approvals", "agents", "feedback"])
    def test_lists(self, command: Command, nasty: AgentRegistry, name: str) -> None:
        status, out, _ = command(name)

        assert status == 0
        assert unsafe(out) == set()
        assert r"a\x1b[2Jb\x9b31mc\x07d\u202ee\u2066f\u200bg\U000e0041h\x7fi\rj\u2028k" in out

    def test_promote(self, command: Command, operator: User, nasty: AgentRegistry) -> None:
        status, out, _ = command("promote", nasty.id, "intern")

        assert (status, unsafe(out)) == (0, set())

    @pytest.mark.parametrize(
        "arguments", [("decide", NASTY, "approve"), ("promote", NASTY + "x", "intern")]
    )
    def test_errors(
        self, command: Command, operator: User, nasty: AgentRegistry, arguments: tuple[str, ...]
    ) -> None:
        status, _, err = command(*arguments)

        assert (status, unsafe(err)) == (2, set())

    def test_a_thought_of_many_lines_cannot_be_taken_for_ours(
        self, command: Command, supervised: AgentRegistry, db_session: Session
    ) -> None:
        ask(db_session, supervised, thought="So.\n  approve? [y/N] y\n0-0  until never")

        out = command("approvals")[1]

        assert "  because: So.\n    |   approve? [y/N] y\n    | 0-0  until never\n" in out
