"""What is changed inside of a column of JSON is saved, and both databases take the same."""

import copy
import json
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.base import Base
from core.clock import utc_now
from core.database import SessionLocal
from core.documents import Document, NotJSON
from core.mappers import load_all
from core.maturity import AgentStatus
from core.models import AgentRegistry, HITLAction
from ecommerce.models import Subscription, SubscriptionAudit
from saas.metering import UsageMeter
from saas.models import UsageEvent
from sqlalchemy import JSON, select
from sqlalchemy.orm import Session

BEFORE: dict[str, Any] = {"tools": ["a", "b"], "model": {"name": "m", "tags": [{"x": 1}]}, "n": 2}

CHANGES: dict[str, Callable[[Any], object]] = {
    "a key is set": lambda it: it.__setitem__("new", 1),
    "a key is deleted": lambda it: it.__delitem__("n"),
    "it is updated": lambda it: it.update(n=3, more={"y": 1}),
    "it is joined": lambda it: it.__ior__({"n": 4}),
    "a key is taken": lambda it: it.pop("n"),
    "the last key is taken": lambda it: it.popitem(),
    "it is emptied": lambda it: it.clear(),
    "a default is set": lambda it: it.setdefault("new", {}).update(deep=True),
    "a default is there": lambda it: it.setdefault("model", {}).update(name="o"),
    "one inside is changed": lambda it: it["model"].update(name="o"),
    "one deep inside is changed": lambda it: it["model"]["tags"][0].update(x=2),
    "an item is set": lambda it: it["tools"].__setitem__(0, "z"),
    "a slice is set": lambda it: it["tools"].__setitem__(slice(0, 1), [{"z": 1}, "y"]),
    "an item is deleted": lambda it: it["tools"].__delitem__(0),
    "an item is added": lambda it: it["tools"].append("c"),
    "a list is extended": lambda it: it["tools"].extend(["c"]),
    "a list is added to": lambda it: it["tools"].__iadd__(["c"]),
    "a list is repeated": lambda it: it["tools"].__imul__(2),
    "an item is inserted": lambda it: it["tools"].insert(0, "c"),
    "an item is taken": lambda it: it["tools"].pop(),
    "an item is removed": lambda it: it["tools"].remove("a"),
    "a list is turned": lambda it: it["tools"].reverse(),
    "a list is put in order": lambda it: it["tools"].sort(reverse=True),
    "a list is emptied": lambda it: it["tools"].clear(),
    "what was put in is changed": lambda it: (
        it.__setitem__("new", {"in": []}),
        it["new"]["in"].append(1),
    ),
    "what was added is changed": lambda it: (it["tools"].append({}), it["tools"][-1].update(x=1)),
    "a part is in two places": lambda it: (
        it.__setitem__("copy", it["model"]),
        it["copy"].update(name="o"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_inside_is_saved(atom: AgentRegistry, db_session: Session, change: str) -> None:
    atom.configuration = BEFORE
    db_session.commit()
    expected: Any = copy.deepcopy(BEFORE)
    CHANGES[change](expected)

    with SessionLocal.begin() as db:
        CHANGES[change](db.get_one(AgentRegistry, atom.id).configuration)

    db_session.expire_all()
    assert atom.configuration == expected != BEFORE


@pytest.mark.parametrize("held", ["new", "flushed", "committed"])
def test_a_change_is_saved_whenever_it_is_made(
    atom: AgentRegistry, db_session: Session, held: str
) -> None:
    agent = AgentRegistry(name="n", category="c", module_path="m", class_name="C")
    if held == "new":
        agent.configuration = {}
    db_session.add(agent)
    {"new": lambda: None, "flushed": db_session.flush, "committed": db_session.commit}[held]()

    agent.configuration["x"] = [1]
    agent.configuration["x"].append(2)
    db_session.commit()

    with SessionLocal() as db:
        assert db.get_one(AgentRegistry, agent.id).configuration == {"x": [1, 2]}


def test_an_unchanged_one_writes_nothing(atom: AgentRegistry, db_session: Session) -> None:
    atom.configuration = BEFORE
    db_session.commit()

    assert [*atom.configuration["model"].items(), *atom.configuration["tools"]]
    atom.configuration.get("tools", []).copy().append("c")

    assert not db_session.dirty
    assert atom.configuration == BEFORE


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_a_copy_is_a_value_of_its_own(
    atom: AgentRegistry, db_session: Session, again: Callable[[Any], Any]
) -> None:
    atom.configuration = BEFORE
    db_session.commit()

    made = again(atom.configuration)
    made["n"] = 7

    assert atom.configuration == json.loads(json.dumps(BEFORE))
    assert made == {**BEFORE, "n": 7}
    assert not db_session.dirty


def test_an_object_that_was_away_tells_of_changes(atom: AgentRegistry, db_session: Session) -> None:
    atom.configuration = BEFORE
    db_session.commit()
    db_session.refresh(atom)

    back = pickle.loads(pickle.dumps(atom))
    with SessionLocal.begin() as db:
        db.add(back)
        back.configuration["model"]["name"] = "o"

    db_session.expire_all()
    assert atom.configuration["model"]["name"] == "o"


def test_every_column_of_json_is_one() -> None:
    load_all()
    columns = [column for table in Base.metadata.tables.values() for column in table.columns]
    documents = [str(each) for each in columns if isinstance(each.type, Document)]

    assert len(documents) > 4
    assert documents == [str(each) for each in columns if isinstance(each.type, JSON)]


def configure(db: Session, value: Any) -> Any:
    service = AgentGovernanceService(db)
    identity = ("atom_main", "general", "m", "C")
    agent = service.register_or_update_agent(*identity, configuration=value)
    return select(AgentRegistry.configuration).where(AgentRegistry.id == agent.id)


def ask(db: Session, value: Any) -> Any:
    action = AgentGovernanceService(db).request_approval("atom_main", "read_file", value)
    return select(HITLAction.params).where(HITLAction.id == action)


def meter(db: Session, value: Any) -> Any:
    plan = db.scalars(select(Subscription)).one()
    event = UsageMeter(db).record(plan.id, "api_call", 1, "key", value)
    return select(UsageEvent.details).where(UsageEvent.id == event.id)


def audit(db: Session, value: Any) -> Any:
    row = db.scalars(select(SubscriptionAudit)).one()
    row.details = value
    db.flush()
    return select(SubscriptionAudit.details)


WRITERS = {each.__name__: each for each in (configure, ask, meter, audit)}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_no_json_is_refused_on_either_database(
    atom: AgentRegistry, db_session: Session, writer: str
) -> None:
    atom.status = AgentStatus.SUPERVISED
    db_session.commit()
    ring: list[Any] = []
    ring.append({"x": float("inf")})
    for value in (float("nan"), ring, utc_now(), timedelta(1), {1, 2}, b"x"):
        with pytest.raises(NotJSON, match=r"^not JSON: "), SessionLocal.begin() as db:
            WRITERS[writer](db, {"x": value})

    with SessionLocal() as db:
        query = WRITERS[writer](db, {"x": ["\0", "\ud800", None, 10**300]})
        assert db.scalar(query) == {"x": ["\0", "\ud800", None, 10**300]}
