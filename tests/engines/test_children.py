"""What is told of where a child process goes, by what a process says that was asked."""

from __future__ import annotations

import types

import pytest

from alembic_snapshot.engines.children import Children
from alembic_snapshot.errors import CloneError
from alembic_snapshot.project.config import Project

CLONE, REAL = "/clones/clone.db", "/project/real.db"
VALUES = {
    "url": f"sqlite:///{CLONE}",
    "async_url": f"sqlite+aiosqlite:///{CLONE}",
    "path": CLONE,
}


def place(name):
    return {"kind": "sqlite", "name": name, "host": "", "port": 0}


def clone(variables=None, environment=None):
    return types.SimpleNamespace(
        url=VALUES["url"],
        target=types.SimpleNamespace(places=lambda: VALUES),
        variables=lambda: dict(variables or {}),
        snapshot=types.SimpleNamespace(
            project=Project(root="/project", environment=environment or {})
        ),
    )


class Told(Children):
    """Children of which each answer is known: the databases by what a variable is."""

    def __init__(self, tmp_path, leads, *, others=(), environment=None, **report):
        self.asked, self.refused, self.said = [], [], []
        self.leads = leads
        self.report = {
            "asked": ["SHOP_URL", "HOME"], "were_all": False, "is_async": False, "files": [],
            "candidates": [("SHOP_URL", True)], **report,
        }  # fmt: skip
        super().__init__(
            Project(root=tmp_path, engine="shop:db", environment=environment or {}),
            "shop:db",
            lambda: list(others),
            refuse=self.refused.append,
            unknown=self.said.append,
        )

    def _ask(self, environ):
        self.asked.append(dict(environ))
        return {"places": [place(one) for one in self.leads(environ)], **self.report}


def by_url(environ):
    return [CLONE] if environ.get("SHOP_URL") == VALUES["url"] else [REAL]


def told(children, environ):
    children.check(clone(), environ)
    return [(error.message, error.hint) for error in children.refused]


LEADS = (
    "shop:db leads to '/project/real.db' in a child process with the clone's environ, and not to "
    "the test's clone"
)
TABLE = "below [tool.alembic-snapshot]"
LITERAL = "the application asks for no variable, so environ can't lead it: its URL is a literal"


def test_where_it_leads_to_the_clone_nothing_is_said(tmp_path):
    children = Told(tmp_path, by_url)

    assert told(children, {"SHOP_URL": VALUES["url"]}) == []
    assert (len(children.asked), children.said) == (1, [])


HINTS = {
    "a URL": (by_url, {}, f'write environment = {{ SHOP_URL = "{{url}}" }} {TABLE}'),
    "an asynchronous one": (
        lambda environ: [CLONE] if environ["SHOP_URL"] == VALUES["async_url"] else [REAL],
        {"is_async": True},
        f'write environment = {{ SHOP_URL = "{{async_url}}" }} {TABLE}',
    ),
    "a path": (
        lambda environ: [CLONE] if environ["SHOP_URL"] == CLONE else [REAL],
        {"candidates": [("SHOP_URL", False)]},
        f'write environment = {{ SHOP_URL = "{{path}}" }} {TABLE}',
    ),
    "what may be either": (
        lambda environ: [CLONE] if environ["SHOP_URL"] == CLONE else [REAL],
        {"candidates": [("SHOP_URL", None)]},
        f'write environment = {{ SHOP_URL = "{{path}}" }} {TABLE}',
    ),
    "what only seems to": (
        lambda environ: [CLONE, REAL] if environ["SHOP_URL"] == VALUES["url"] else [REAL],
        {},
        f'write environment = {{ NAME = "{{url}}" }} {TABLE}, with the variable that the '
        "application reads; if it reads none for its URL, let it read one",
    ),
    "no variable": (
        lambda environ: [REAL],
        {"candidates": [], "is_async": True},
        f'{LITERAL}; let it ask for one first, as in os.environ.get("DATABASE_URL", …), and write '
        f'environment = {{ DATABASE_URL = "{{async_url}}" }} {TABLE}',
    ),
    "a file": (
        lambda environ: [REAL],
        {"candidates": [], "files": ["app.ini", "b.toml"]},
        f"{LITERAL}, or from app.ini or b.toml; let it ask for one first, as in "
        'os.environ.get("DATABASE_URL", …), and write environment = '
        f'{{ DATABASE_URL = "{{url}}" }} {TABLE}',
    ),
    "no variable, and one in the table": (
        lambda environ: [REAL],
        {"candidates": [], "environment": {"SHOP": "{url}"}},
        f'{LITERAL}; let it ask for one first, as in os.environ.get("SHOP", …), which environment '
        f"{TABLE} has",
    ),
    "no variable, and another in the table": (
        lambda environ: [REAL],
        {"candidates": [], "environment": {"HOME": "x"}},
        f'{LITERAL}; let it ask for one first, as in os.environ.get("DATABASE_URL", …), and write '
        f'DATABASE_URL = "{{url}}" in environment {TABLE}',
    ),
    "one in the table already": (
        by_url,
        {"environment": {"SHOP": "{url}", "HOME": "x"}},
        f'write SHOP_URL = "{{url}}" in environment {TABLE}; it does not read SHOP',
    ),
    "only ones in the table": (
        lambda environ: [REAL],
        {"environment": {"SHOP": "{url}", "OTHER": "x"}},
        f"name the variable that the application reads in environment {TABLE}, as in NAME = "
        '"{url}"; if it reads none for its URL, let it read one; it does not read SHOP, OTHER',
    ),
    "one in the table that is read": (
        lambda environ: [REAL],
        {"environment": {"HOME": "{path}"}},
        f"name the variable that the application reads in environment {TABLE}, as in NAME = "
        '"{url}"; if it reads none for its URL, let it read one',
    ),
    "all of them": (
        lambda environ: [REAL],
        {"environment": {"SHOP": "{url}"}, "were_all": True},
        f"name the variable that the application reads in environment {TABLE}, as in NAME = "
        '"{url}"; if it reads none for its URL, let it read one',
    ),
}


@pytest.mark.parametrize(("leads", "report", "hint"), HINTS.values(), ids=HINTS)
def test_a_hint_is_a_line_that_was_tried(tmp_path, leads, report, hint):
    children = Told(tmp_path, leads, **report)

    assert told(children, {"SHOP_URL": "old", "HOME": "/h"}) == [(LEADS, hint)]
    assert all(environ["HOME"] == "/h" for environ in children.asked)


def test_only_a_few_lines_are_tried_and_none_that_is_so_already(tmp_path):
    names = [f"V{number}" for number in range(20)]
    children = Told(tmp_path, lambda _: [REAL], candidates=[(name, True) for name in names])

    told(children, {"V0": VALUES["url"]})

    tried = [[name for name in names if name in environ] for environ in children.asked]
    assert tried == [["V0"], *(["V0", f"V{number}"] for number in range(1, 9))]


def test_one_that_leads_nowhere_is_another_kind_of_database(tmp_path):
    children = Told(tmp_path, lambda _: [])

    [(message, _)] = told(children, {})

    assert message == LEADS.replace("'/project/real.db'", "another kind of database")


def test_an_answer_holds_as_long_as_what_was_asked_for_is_the_same(tmp_path, monkeypatch):
    others = [clone({"OTHER_URL": "x"}, {"OTHER_URL": "{url}"})]
    children = Told(
        tmp_path, lambda _: [CLONE], others=others, environment={"MINE": "{url}"},
        asked=["SHOP_URL", "DATABASE_URL", "MINE", "OTHER_URL", "PYTEST_CURRENT_TEST"],
    )  # fmt: skip
    assert children.variables() == {"OTHER_URL": "x"}

    first = {"SHOP_URL": "a", "HOME": "b"}
    for environ, count in (
        (first, 1),
        ({**first, "HOME": "c"}, 1),
        ({**first, "DATABASE_URL": "c", "MINE": "c", "OTHER_URL": "c"}, 1),
        ({**first, "PYTEST_CURRENT_TEST": "c"}, 1),
        ({**first, "SHOP_URL": "c"}, 2),
        ({"HOME": "b"}, 3),
        (first, 3),
    ):
        children.check(clone(), environ)
        assert len(children.asked) == count
    monkeypatch.chdir(tmp_path)
    children.check(clone(), first)
    assert len(children.asked) == 4


def test_where_all_were_asked_for_each_counts(tmp_path):
    children = Told(tmp_path, lambda _: [CLONE], were_all=True)
    for environ in ({"A": "1"}, {"A": "1", "PYTEST_X": "2"}, {"A": "2"}, {"A": "2", "B": "1"}):
        children.check(clone(), environ)

    assert [one.get("A") for one in children.asked] == ["1", "2"]


def test_each_time_it_is_an_error_of_its_own(tmp_path):
    children = Told(tmp_path, by_url)
    for _ in range(2):
        children.check(clone(), {})

    one, other = children.refused
    assert one is not other
    assert isinstance(one, CloneError)
    assert (one.message, one.hint) == (other.message, other.hint)


def test_why_it_is_not_known_is_told_once(tmp_path):
    children = Told(tmp_path, by_url, problem="it does not say")
    for _ in range(2):
        children.check(clone(), {})

    assert children.refused == []
    assert children.said == [
        "where a child process with the clone's environ goes can't be known: it does not say"
    ]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "no engine is configured"),
        ({"engine": "sqlite:///a.db"}, "engine is a URL, and who makes the engine is not known"),
        (
            {"engine": "sqlite:///a.db", "sessionmaker": "shop:made"},
            "engine is a URL, and who makes the engine is not known",
        ),
    ],
)
def test_what_no_process_can_tell_is_told_without_one(tmp_path, keys, problem):
    said = []
    project = Project(root=tmp_path, **keys)
    children = Children(project, "shop:db", list, refuse=said.append, unknown=said.append)

    children.check(clone(), {})

    assert said == [
        f"where a child process with the clone's environ goes can't be known: {problem}"
    ]
