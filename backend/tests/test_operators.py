"""Who makes a workspace, a person and a shop, when somebody else makes them just then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from core.database import engine
from core.models import AgentRegistry, User, Workspace
from core.operators import initialise
from ecommerce.models import Store, Subscription
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session


@contextmanager
def first(deed: Callable[[], object]) -> Iterator[None]:
    """Let a deed be done by somebody else when the first row is about to be written here."""

    deeds = [deed]

    def before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT") and deeds:
            deeds.pop()()

    event.listen(engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", before)


@pytest.mark.parametrize("demo", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_two_who_do_the_same_at_once_find_it_done(
    db_session: Session, there: bool, demo: bool
) -> None:
    if there:
        initialise("acme", "ada@example.com", demo=False)

    with first(lambda: initialise("acme", "ada@example.com", demo)):
        initialise("acme", "ada@example.com", demo)

    rows = [db_session.scalar(select(func.count()).select_from(each)) for each in MADE]
    assert rows == [1, 1, *((1, 1, 3) if demo else (0, 0, 0))]


MADE = (Workspace, User, Store, AgentRegistry, Subscription)
