"""`build --summary`: what happened, in Markdown."""

from __future__ import annotations


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return dict(line.strip("| ").split(" | ", 1) for line in lines)


def test_the_summary_says_what_was_built_why_and_what_ran(project):
    project.history(3)
    project.ensure()
    project.revision("0003", "0002", "op.execute('select 1')")

    rows = rows_of(project.command("build", "--summary").stdout)

    assert "built: migrations/versions/0003_made.py changed" in rows["snapshot"]
    assert rows["ran"] == "`0003`"
    assert rows["revisions"] == "3, at `0003`"


def test_the_summary_of_a_hit_is_short(project):
    project.configure('drift = "ignore"')
    project.history(1)
    project.ensure()

    done = project.command("build", "--summary")

    assert done.stdout.startswith("### Database snapshot\n")
    assert rows_of(done.stdout)["snapshot"].endswith("reused")
    assert "ran" not in rows_of(done.stdout)
    assert done.stderr == ""


def test_the_summary_lists_what_the_checks_found_on_one_line_each(project):
    project.revision("a")
    project.revision("b", "a")
    project.revision("c", "a")

    text = project.command("build", "--summary").stdout

    assert [line for line in text.splitlines() if line.startswith("- ")] == [
        '- there are 2 heads, b and c: join them with `alembic merge heads`, or set heads = "many"',
        "- drift: not checked, because env.py gives no target_metadata to context.configure()",
    ]


def test_a_pipe_in_a_reason_does_not_break_the_table(project):
    project.history(1)
    project.ensure()
    project.revision("0002", "0001").rename(project.versions / "a|b.py")

    row = rows_of(project.command("build", "--summary").stdout)["snapshot"]

    assert "a\\|b.py" in row


def test_the_summary_says_with_what_it_was_compared(project):
    project.revision("a", upgrade="op.execute('create table t (x)')")
    scratch = ("build", "--from-scratch", "--summary")

    first, again = (rows_of(project.command(*scratch).stdout)["compared"] for _ in range(2))
    random = "op.execute(\"insert into t values (strftime('%f', 'now') || random())\")"
    project.revision("b", "a", upgrade=random)
    project.ensure()
    differs = project.command(*scratch)

    assert first == "with nothing: the store had no such snapshot"
    assert again == "with the one that was there: no difference"
    assert rows_of(differs.stdout)["compared"] == "with the one that was there: it differs"
    assert differs.returncode == 1
    assert "the snapshot that was there differs from it" in differs.stdout
    assert "warning: the snapshot that was there differs from it:\n" in differs.stderr
