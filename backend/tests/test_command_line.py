"""`python -m core`, as a child process on this test's own database."""

import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
Start = Callable[..., "subprocess.Popen[bytes]"]


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

    @pytest.mark.parametrize("floor", ["student", "autonomous"])
    def test_the_demo_leaves_an_agent_where_somebody_has_put_it(
        self, demo: Run, floor: str
    ) -> None:
        assert demo("promote", "atom_main", floor).returncode == 0

        assert demo("--demo").returncode == 0

        assert demo("agents").stdout.splitlines()[1].split()[1:4] == [floor, "-", floor]


class TestOutput:
    """Readers that go away, and terminals that know few letters."""

    @pytest.fixture
    def start(self, demo: Run, db_clone: Clone, tmp_path: Path) -> Iterator[Start]:
        """Start the command line with standard streams of one's own."""
        started: list[subprocess.Popen[bytes]] = []

        def begin(*arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
            changes = streams.pop("changes", {})
            process = subprocess.Popen(
                [sys.executable, "-m", "core", *arguments],
                cwd=tmp_path,
                env=environment(DATABASE_URL=db_clone.url, **changes),
                **{**dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE), **streams},
            )
            started.append(process)
            return process

        yield begin
        for process in started:
            process.kill()
            process.communicate()

    def broken_pipe(self) -> int:
        """A pipe that nobody reads from."""
        reader, writer = os.pipe()
        os.close(reader)
        return writer

    def test_a_list_that_nobody_reads_any_more_ends_quietly(self, start: Start) -> None:
        writer = self.broken_pipe()
        process = start("agents", stdout=writer)
        os.close(writer)

        err = process.communicate(timeout=60)[1]

        assert (process.returncode, err) == (141, b"")

    def test_an_answer_that_cannot_be_written_is_an_error(self, start: Start) -> None:
        with open("/dev/full", "wb") as full:
            process = start("agents", stdout=full)

        err = process.communicate(timeout=60)[1]

        assert process.returncode == 2
        assert err.startswith(b"error: [Errno 28] No space left on device\nhint: ")

    def test_an_answer_without_anywhere_to_go_is_an_error(
        self, demo: Run, db_clone: Clone, tmp_path: Path
    ) -> None:
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "core", "agents"],
            env=environment(DATABASE_URL=db_clone.url),
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )

        assert done.returncode == 2
        assert b"nowhere to write to" in done.stderr

    def test_a_run_whose_steps_nobody_sees_goes_on_and_what_nobody_saw_is_not_approved(
        self, start: Start, db_session: Session
    ) -> None:
        writer = self.broken_pipe()
        process = start("cancel", "--script", str(CANCEL_OVERDUE), stderr=writer)
        os.close(writer)

        out = process.communicate(b"y\ny\n", timeout=60)[0]

        assert (process.returncode, out) == (1, b"")
        assert db_session.scalars(select(AgentExecution)).one().status == "rejected"
        assert set(statuses(db_session).values()) == {"active"}

    @pytest.mark.parametrize(
        "changes",
        [
            {"PYTHONIOENCODING": "ascii"},
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        ],
    )
    def test_what_a_terminal_has_no_letter_for_is_an_escape(
        self, start: Start, tmp_path: Path, changes: dict[str, str]
    ) -> None:
        script = tmp_path / "script.txt"
        script.write_text("Thought: Grüße.\nFinal Answer: 4 €\n", encoding="utf-8")
        process = start("add", "--script", str(script), changes=changes)

        out, err = process.communicate(timeout=60)

        assert (process.returncode, out) == (0, b"4 \\u20ac\n")
        assert b"step 1: Gr\\xfc\\xdfe.\n" in err

    def test_what_a_model_writes_is_shown_and_never_sent(
        self, start: Start, tmp_path: Path
    ) -> None:
        nasty = "a\x1b]0;b\x07\x9b2J\u202ec\x08"
        script = tmp_path / "script.txt"
        parts = [
            f"Thought: {nasty}\nAction: read{nasty}\nAction Input: {{}}",
            f"{nasty} without a label",
            f'Thought: {nasty}\nAction: delegate_task\nAction Input: {{"agent": "\\u001b[2J\u202e",'
            ' "task": "greet"}',
            f"Final Answer: {nasty}\n  on\ttwo lines",
        ]
        script.write_text("\n---\n".join(parts), encoding="utf-8")
        process = start("do it", "--script", str(script))

        out, err = process.communicate(b"y\n", timeout=60)

        shown = (out + err).decode()
        assert [each for each in shown if not each.isprintable() and each not in "\n\t"] == []
        assert out.decode() == "a\\x1b]0;b\\x07\\x9b2J\\u202ec\\x08\n  on\ttwo lines\n"
        assert err.count(rb"a\x1b]0;b\x07\x9b2J\u202ec\x08") >= 5
        assert b"agent '" in err


def test_what_was_typed_before_the_question_is_no_answer_to_it(
    demo: Run, db_clone: Clone, db_session: Session, tmp_path: Path
) -> None:
    keyboard, terminal = pty.openpty()
    os.write(keyboard, b"y\ny\ny\n")
    with subprocess.Popen(
        [sys.executable, "-m", "core", "cancel", "--script", str(CANCEL_OVERDUE)],
        cwd=tmp_path,
        env=environment(DATABASE_URL=db_clone.url),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        seen = ""
        while "approve? [y/N]" not in seen:
            seen += process.stderr.read(1)
        os.write(keyboard, b"n\n")
        process.communicate()
    os.close(keyboard)
    os.close(terminal)

    assert process.returncode == 1
    assert "atom_main thinks: Ada's has been overdue the longest.\natom_main wants to" in seen
    assert statuses(db_session)["demo-ada"] == "active"


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

    @pytest.mark.parametrize("file", ["file:{}?uri=true", "file://{}?mode=rw&uri=true"])
    def test_a_database_that_a_uri_names(self, run: Run, tmp_path: Path, file: str) -> None:
        there, missing = (f"sqlite:///{file.format(tmp_path / name)}" for name in ("a b.db", "c"))
        (tmp_path / "a b.db").touch()

        self.assert_error(run("--init", "--database", there), "never migrated", "upgrade head")
        self.assert_error(run("--init", "--database", missing), "does not exist", "upgrade head")
        assert [each.name for each in tmp_path.iterdir()] == ["a b.db"]

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

    def test_who_is_a_member_is_made_no_admin_and_is_told(
        self, demo: Run, db_session: Session
    ) -> None:
        db_session.scalars(select(User)).one().role = UserRole.MEMBER
        db_session.commit()

        self.assert_error(demo("--init"), "may not administer workspace 'default'", "--user")

        assert db_session.scalars(select(User.role)).all() == ["member"]

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

    @pytest.mark.parametrize("option", ["--database", "--workspace", "--user", "--script"])
    @pytest.mark.parametrize("given", ["", " "])
    def test_an_option_that_chooses_nothing(self, demo: Run, option: str, given: str) -> None:
        self.assert_error(demo("agents", option, given), option, "--help")
        self.assert_error(demo("do it", option, given), f"{option}: it is empty", "--help")

    @pytest.mark.parametrize(
        "url", ["sqlite:///other.db", "sqlite://", "postgresql://h/d", "nonsense"]
    )
    def test_another_database_than_the_process_works_on(
        self, db_clone: Clone, db_session: Session, tmp_path: Path, url: str
    ) -> None:
        code = (
            "import sys, core.database; from core.__main__ import main; "
            f"sys.exit(main(['--init', '--database', {url!r}]))"
        )

        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment(DATABASE_URL=db_clone.url),
            capture_output=True,
            text=True,
            check=False,
        )

        self.assert_error(done, "database", "DATABASE_URL")
        assert db_session.scalars(select(Workspace)).all() == []

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
