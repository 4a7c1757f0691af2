"""`python -m core`, as a child process on this test's own database."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from core.models import AgentExecution, HITLAction, User, UserRole, Workspace
from ecommerce.demo import fill
from ecommerce.models import Subscription
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from alembic_snapshot import Clone

BACKEND = Path(__file__).parents[1]
CANCEL_OVERDUE = BACKEND / "examples" / "cancel-overdue.txt"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, without a model."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {**kept, "PYTHONPATH": str(BACKEND), "PYTHONWARNINGS": "error", **changes}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command line in an empty directory."""

    def command(
        *arguments: str, stdin: str = "", **changes: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "core", *arguments],
            cwd=tmp_path,
            env=environment(**changes),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    return command


@pytest.fixture
def demo(run: Run, db_clone: Clone, workspace: Workspace, db_session: Session) -> Run:
    """Run the command line on a database with the demo shop in it, and its operator."""
    operator = User(workspace=workspace, email="operator@localhost", name="Operator")
    operator.role = UserRole.WORKSPACE_ADMIN
    db_session.add(operator)
    fill(db_session, workspace, operator)
    db_session.commit()

    def command(*arguments: str, **options: str) -> "subprocess.CompletedProcess[str]":
        return run("--database", db_clone.url, *arguments, **options)

    return command


def statuses(db_session: Session) -> dict[str, str]:
    """The status of each of the customers' subscriptions."""
    customers = select(Subscription).where(Subscription.customer_id.is_not(None))
    return {each.id: each.status.value for each in db_session.scalars(customers)}


class TestRun:
    def test_approved_actions_are_done_and_the_answer_is_the_output(
        self, demo: Run, db_session: Session
    ) -> None:
        done = demo("cancel the overdue", "--script", str(CANCEL_OVERDUE), stdin="y\nyes\n")

        assert (done.returncode, done.stdout) == (
            0,
            "Two overdue subscriptions, Ada's and Grace's, are canceled.\n",
        )
        assert statuses(db_session) == {
            "demo-ada": "canceled",
            "demo-grace": "canceled",
            "demo-edsger": "active",
        }
        requests = db_session.scalars(select(HITLAction)).all()
        operator = db_session.scalars(select(User)).one()
        assert [each.reviewer_id for each in requests] == [operator.id] * 2

    @pytest.mark.parametrize("answer", ["n\n", "\n", ""])
    def test_anything_but_yes_is_a_no(self, demo: Run, db_session: Session, answer: str) -> None:
        done = demo("cancel the overdue", "--script", str(CANCEL_OVERDUE), stdin=answer)

        assert (done.returncode, done.stdout) == (1, "")
        assert "rejected" in done.stderr
        assert set(statuses(db_session).values()) == {"active"}

    def test_without_a_standard_input_the_answer_is_no(
        self, demo: Run, db_clone: Clone, db_session: Session
    ) -> None:
        command = [sys.executable, "-m", "core", "cancel", "--script", str(CANCEL_OVERDUE)]

        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", *command],
            env=environment(DATABASE_URL=db_clone.url),
            capture_output=True,
            timeout=60,
            check=False,
        )

        assert done.returncode == 1
        assert b"rejected" in done.stderr
        assert b"Traceback" not in done.stderr

    def test_steps_appear_as_they_happen_and_nothing_is_done_before_the_answer(
        self, demo: Run, db_clone: Clone, db_session: Session, tmp_path: Path
    ) -> None:
        with subprocess.Popen(
            [sys.executable, "-m", "core", "cancel", "--script", str(CANCEL_OVERDUE)],
            cwd=tmp_path,
            env=environment(DATABASE_URL=db_clone.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            seen = ""
            while "approve? [y/N]" not in seen:
                seen += process.stderr.read(1)
            running = db_session.scalars(select(AgentExecution)).one().status
            before = statuses(db_session)
            db_session.rollback()
            process.communicate("n\n")

        assert "list_overdue_subscriptions" in seen
        assert 'cancel_subscription {"subscription_id": "demo-ada"}' in seen
        assert running == "running"
        assert before["demo-ada"] == "active"

    def test_a_model_that_fails_fails_the_run(self, demo: Run, tmp_path: Path) -> None:
        script = tmp_path / "short.txt"
        script.write_text("Thought: Hm.\n")

        done = demo("do it", "--script", str(script))

        assert done.returncode == 1
        assert done.stderr.count("the model gave no reply: the script has 1 answers") == 1

    def test_a_super_admin_asks_in_any_workspace(
        self, demo: Run, db_session: Session, tmp_path: Path
    ) -> None:
        db_session.scalars(select(User)).one().role = UserRole.SUPER_ADMIN
        db_session.add(Workspace(id="acme", name="Acme"))
        db_session.commit()
        script = tmp_path / "windows.txt"
        script.write_bytes(b"\xef\xbb\xbfThought: So.\r\nFinal Answer: Done.\r\n")

        done = demo("do it", "--workspace", "acme", "--script", str(script))

        assert (done.returncode, done.stdout) == (0, "Done.\n")
        assert "step 1: So.\n" in done.stderr

    def test_the_demo_is_filled_once(self, run: Run, db_clone: Clone, db_session: Session) -> None:
        for _ in range(2):
            assert run("--demo", "--database", db_clone.url).returncode == 0

        assert sorted(statuses(db_session)) == ["demo-ada", "demo-edsger", "demo-grace"]


class TestErrors:
    def assert_error(self, done: "subprocess.CompletedProcess[str]", error: str, hint: str) -> None:
        lines = done.stderr.splitlines()
        assert (done.returncode, done.stdout, len(lines)) == (2, "", 2), done.stderr
        assert lines[0].startswith("error: ")
        assert error in lines[0]
        assert lines[1].startswith("hint: ")
        assert hint in lines[1]

    def test_a_database_that_is_not_there_is_not_made(self, run: Run, tmp_path: Path) -> None:
        done = run("do it", DATABASE_URL="")

        self.assert_error(done, "atom_dev.db does not exist", "alembic.ini upgrade head")
        assert list(tmp_path.iterdir()) == []

    def test_what_the_hint_says_to_do_makes_the_database_ready(
        self, run: Run, tmp_path: Path
    ) -> None:
        hint = run("--init", DATABASE_URL="").stderr.splitlines()[1]
        command = shlex.split(hint.partition("run: ")[2])

        subprocess.run(
            [sys.executable, "-m", "alembic.config", *command[1:]],
            cwd=tmp_path,
            env=environment(DATABASE_URL=""),
            capture_output=True,
            check=True,
        )

        assert run("--init", DATABASE_URL="").returncode == 0

    def test_a_database_that_was_never_migrated(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "empty.db").touch()

        done = run("do it", "--database", "sqlite:///empty.db")

        self.assert_error(done, "was never migrated", "alembic.ini upgrade head")

    def test_a_database_of_last_week(self, run: Run, db_clone: Clone, db_session: Session) -> None:
        db_session.execute(text("UPDATE alembic_version SET version_num = '0007'"))
        db_session.commit()

        done = run("do it", "--database", db_clone.url)

        self.assert_error(done, "is at 0007", "alembic.ini upgrade head")

    def test_a_file_that_is_no_database(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "notes.db").write_text("These are only notes. " * 100)

        done = run("do it", "--database", "sqlite:///notes.db")

        self.assert_error(done, "file is not a database", "--database")

    def test_a_database_that_fails_in_the_middle(self, demo: Run, db_session: Session) -> None:
        db_session.execute(text("DROP TABLE agent_reasoning_steps"))
        db_session.commit()

        done = demo("do it", "--script", str(CANCEL_OVERDUE))

        self.assert_error(done, "agent_reasoning_steps", "--database")

    @pytest.mark.parametrize(
        "url",
        ["nonsense", "sqlite+nope://", "oracle://u@h/d", "sqlite+aiosqlite://", "sqlite://h:port/"],
    )
    def test_a_url_that_names_no_database_that_can_be_used_here(self, run: Run, url: str) -> None:
        done = run("do it", DATABASE_URL=url)

        self.assert_error(done, "database's URL can't be used: ", "--database")

    def test_a_server_that_is_not_there(self, run: Run) -> None:
        pytest.importorskip("psycopg")

        done = run("do it", "--database", "postgresql+psycopg://nobody@127.0.0.1:1/none")

        self.assert_error(done, "cannot be used: ", "--database")

    def test_a_database_without_the_workspace(self, run: Run, db_clone: Clone) -> None:
        done = run("do it", "--database", db_clone.url)

        self.assert_error(done, "workspace 'default' does not exist", "--init")

    def test_a_user_who_is_not_there(self, demo: Run) -> None:
        done = demo("do it", "--user", "nobody@example.com")

        self.assert_error(done, "user 'nobody@example.com' does not exist", "--init")

    @pytest.mark.parametrize("arguments", [["do it"], ["--init"]])
    def test_a_user_of_another_workspace(
        self, demo: Run, db_session: Session, arguments: list[str]
    ) -> None:
        db_session.add(Workspace(id="acme", name="Acme"))
        db_session.commit()

        done = demo(*arguments, "--workspace", "acme", "--script", str(CANCEL_OVERDUE))

        self.assert_error(done, "'operator@localhost' is not one of workspace 'acme'", "--user")

    def test_a_demo_for_somebody_who_is_no_admin(self, demo: Run, db_session: Session) -> None:
        db_session.scalars(select(User)).one().role = UserRole.MEMBER
        db_session.commit()

        self.assert_error(demo("--demo"), "may not promote agents", "--user")

    def test_a_demo_shop_that_is_in_another_workspace(self, demo: Run) -> None:
        done = demo("--demo", "--workspace", "acme", "--user", "ada@acme.example")

        self.assert_error(done, "the demo shop is in workspace 'default'", "--database")

    def test_no_model(self, demo: Run) -> None:
        self.assert_error(demo("do it"), "OPENAI_API_KEY is missing", "--script")

    def test_a_script_that_is_not_there(self, demo: Run) -> None:
        done = demo("do it", "--script", "none.txt")

        self.assert_error(done, "none.txt", "--help")

    @pytest.mark.parametrize(
        ("content", "problem"),
        [(b"\xff", "is not UTF-8"), (b"---\n \n---\n", "has no replies")],
    )
    def test_a_script_that_is_none(
        self, demo: Run, tmp_path: Path, content: bytes, problem: str
    ) -> None:
        (tmp_path / "script.txt").write_bytes(content)

        done = demo("do it", "--script", "script.txt")

        self.assert_error(done, f"script.txt {problem}", "examples/cancel-overdue.txt")

    def test_an_option_that_is_none(self, run: Run) -> None:
        self.assert_error(run("do it", "--nonsense"), "--nonsense", "--help")

    @pytest.mark.parametrize("arguments", [[], [" "]])
    def test_no_request(self, demo: Run, arguments: list[str]) -> None:
        self.assert_error(demo(*arguments), "there is no request", "--help")


def test_init_makes_the_workspace_and_its_admin(
    run: Run, db_clone: Clone, db_session: Session
) -> None:
    done = run(
        "--init", "--workspace", "acme", "--user", "ada@acme.example", DATABASE_URL=db_clone.url
    )

    user = db_session.scalars(select(User)).one()
    assert done.returncode == 0
    assert (user.workspace_id, user.email) == ("acme", "ada@acme.example")
    assert user.role == "workspace_admin"
