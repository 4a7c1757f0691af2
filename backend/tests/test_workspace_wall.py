"""A workspace is a wall, for objects that are handed in as well as for ids."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.atom_meta_agent import AtomMetaAgent
from core.errors import ExecutionOfAnother, NotFound
from core.llm import ScriptedLLM
from core.maturity import AgentStatus
from core.models import AgentExecution, AgentRegistry, HITLAction, User, UserRole, Workspace
from ecommerce.customers import CustomerService
from ecommerce.models import Customer, Store, Subscription, SubscriptionAudit
from ecommerce.subscriptions import AlreadySubscribed, SubscriptionService
from saas.models import SaaSTier
from saas.rates import OverageRates
from sqlalchemy import select
from sqlalchemy.orm import Session

DONE = "Thought: I should finish.\nFinal Answer: Done."

File = Callable[[AgentGovernanceService, str, str], object]


@pytest.fixture
def acme(db_session: Session, workspace: Workspace) -> Workspace:
    """Another workspace, with an agent `theirs` and its run `their-run`."""
    acme = Workspace(id="acme", name="Acme")
    agent = AgentRegistry(
        id="theirs", workspace=acme, name="sam", category="c", module_path="m", class_name="C"
    )
    db_session.add(agent)
    db_session.flush()
    db_session.add(
        AgentExecution(id="their-run", workspace_id="acme", agent_id="theirs", request="")
    )
    db_session.commit()
    return acme


@pytest.mark.parametrize("role", ["member", "workspace_admin"])
@pytest.mark.asyncio
async def test_a_user_of_another_workspace_does_not_ask_here(
    acme: Workspace, db_session: Session, role: str
) -> None:
    user = User(workspace=acme, email="ada@acme.example", name="Ada", role=UserRole(role))
    db_session.add(user)
    db_session.commit()
    llm = ScriptedLLM([DONE])

    with pytest.raises(NotFound, match="user"):
        await AtomMetaAgent("default", user, llm=llm).execute("Do it", execution_id="r")

    assert llm.prompts == []
    assert db_session.get(AgentExecution, "r") is None


@pytest.mark.asyncio
async def test_a_super_admin_asks_everywhere(acme: Workspace, db_session: Session) -> None:
    user = User(workspace=acme, email="root@acme.example", name="R", role=UserRole.SUPER_ADMIN)
    db_session.add(user)
    db_session.commit()

    result = await AtomMetaAgent("default", user, llm=ScriptedLLM([DONE])).execute("Do it")

    assert result["status"] == "success"


@pytest.mark.asyncio
async def test_a_user_who_only_says_that_they_are_of_this_workspace_does_not_ask(
    workspace: Workspace, db_session: Session
) -> None:
    forged = User(id="nobody", workspace_id="default", email="x@example.com", name="X")

    with pytest.raises(NotFound, match="user 'nobody'"):
        await AtomMetaAgent("default", forged, llm=ScriptedLLM([DONE])).execute("Do it")


@pytest.mark.asyncio
async def test_a_user_who_was_not_saved_does_not_ask(acme: Workspace, db_session: Session) -> None:
    for workspace_id in ("acme", "default"):
        unsaved = User(workspace_id=workspace_id, email="x@example.com", name="X")

        with pytest.raises(NotFound, match=r"user 'x@example\.com'"):
            await AtomMetaAgent("default", unsaved, llm=ScriptedLLM([DONE])).execute("Do it")

    assert db_session.scalars(select(AgentExecution.id)).all() == ["their-run"]


class TestARefusedStart:
    """What is handed in is not saved, wherever the caller's transaction goes on."""

    @pytest.fixture
    def shops(self, acme: Workspace, db_session: Session) -> dict[str, Store]:
        """A shop and a customer of each workspace, of which the session knows nothing."""
        shops = {each: Store(workspace_id=each, name="Shop") for each in ("default", "acme")}
        for name, shop in shops.items():
            db_session.add(Customer(id=name, store=shop, name="Ada", email=f"{name}@example.com"))
        db_session.commit()
        for each in (*shops.values(), *db_session.scalars(select(Customer))):
            db_session.refresh(each)
        db_session.expunge_all()
        return shops

    @pytest.fixture
    def state(self, db_session: Session) -> Callable[[], list[object]]:
        """All that a start can write."""
        queries = [
            select(Customer.id, Customer.name, Customer.store_id).order_by(Customer.id),
            select(Store.id, Store.name, Store.workspace_id).order_by(Store.id),
            select(SaaSTier.name).order_by(SaaSTier.name),
            select(Subscription.id),
            select(SubscriptionAudit.id),
        ]
        return lambda: [tuple(row) for query in queries for row in db_session.execute(query)]

    HANDED_IN: Mapping[str, Callable[[Session, dict[str, Store]], Customer | None]] = {
        "a changed customer of theirs": lambda db, _: customer(db, "acme", name="Eve"),
        "a changed customer of theirs, of whom no more is known": lambda db, _: customer(
            db, "acme", expired=True, name="Eve"
        ),
        "an unchanged customer of theirs": lambda db, _: customer(db, "acme"),
        "a new customer of their shop": lambda _, shops: Customer(
            store_id=shops["acme"].id, name="Eve", email="eve@example.com"
        ),
        "a new customer of a new shop of theirs": lambda _, shops: Customer(
            store=Store(workspace_id="acme", name="Other"), name="Eve", email="eve@example.com"
        ),
        "a customer of ours who is moved to their shop": lambda db, shops: customer(
            db, "default", store_id=shops["acme"].id
        ),
        "a customer of ours, and a changed shop of theirs": lambda db, shops: customer(
            db, "default", store=renamed(shops["acme"])
        ),
        "a customer of theirs who is moved to our shop": lambda db, shops: customer(
            db, "acme", store_id=shops["default"].id
        ),
        "a second plan": lambda *_: None,
    }

    @pytest.mark.parametrize("case", HANDED_IN)
    def test_leaves_nothing(
        self,
        shops: dict[str, Store],
        state: Callable[[], list[object]],
        db_session: Session,
        case: str,
    ) -> None:
        before = state()
        tier = SaaSTier(name="new", base_price=1, overage_rates=OverageRates.of((None, 0)))
        handed_in = self.HANDED_IN[case](db_session, shops)

        with pytest.raises((NotFound, AlreadySubscribed)):
            SubscriptionService(db_session, "default").start(tier, handed_in)
        db_session.commit()

        assert state() == before

    def test_keeps_what_the_transaction_did_before(
        self, shops: dict[str, Store], db_session: Session
    ) -> None:
        CustomerService(db_session, "default").set_phone("default", "1")
        plan = db_session.scalars(select(SaaSTier)).one()

        with pytest.raises(NotFound):
            SubscriptionService(db_session).start(plan, customer(db_session, "acme"))
        ours = customer(db_session, "default", expired=True, name="Ada L.")
        started = SubscriptionService(db_session).start(plan, ours)
        db_session.commit()

        assert (ours.phone, ours.name) == ("1", "Ada L.")
        assert db_session.get_one(Subscription, started.id).customer_id == "default"


def customer(
    db: Session, customer_id: str, *, expired: bool = False, **changed: object
) -> Customer:
    """A customer whom no session has, with changes that nobody has sent."""
    found = db.get_one(Customer, customer_id)
    if expired:
        db.expire(found)
    db.expunge(found)
    for name, value in changed.items():
        setattr(found, name, value)
    return found


def renamed(store: Store) -> Store:
    store.name = "Eve's"
    return store


FILING: dict[str, File] = {
    "enforce_action": lambda s, agent, run: s.enforce_action(
        agent, "read", require_approval=True, execution_id=run
    ),
    "an action that needs no approval": lambda s, agent, run: s.enforce_action(
        agent, "read", execution_id=run
    ),
    "request_approval": lambda s, agent, run: s.request_approval(agent, "read", execution_id=run),
}


@pytest.mark.parametrize("call", FILING)
@pytest.mark.parametrize("run", ["their-run", "no-run"])
def test_a_run_of_another_workspace_does_not_ask_for_approval_here(
    governance: AgentGovernanceService,
    atom: AgentRegistry,
    acme: Workspace,
    db_session: Session,
    call: str,
    run: str,
) -> None:
    with pytest.raises(NotFound, match=f"execution '{run}'"):
        FILING[call](governance, atom.id, run)

    assert db_session.scalars(select(HITLAction)).all() == []


@pytest.mark.parametrize("call", FILING)
def test_a_run_asks_for_approval_of_what_its_own_agent_does(
    governance: AgentGovernanceService,
    atom: AgentRegistry,
    db_session: Session,
    call: str,
) -> None:
    sam = governance.register_or_update_agent("sam", "sales", "m", "C")
    db_session.add(AgentExecution(id="r", workspace_id="default", agent_id=sam.id, request=""))
    db_session.flush()

    with pytest.raises(ExecutionOfAnother):
        FILING[call](governance, atom.id, "r")

    FILING[call](governance, "sam", "r")


BY_ID: dict[str, Callable[[AgentGovernanceService, str, str], object]] = {
    "get_approval_status": lambda s, key, _: s.get_approval_status(key),
    "withdraw_request": lambda s, key, _: s.withdraw_request(key),
    "wait_for_approval": lambda s, key, _: asyncio.run(s.wait_for_approval(key)),
    "approve": lambda s, key, admin: s.decide(key, True, admin),
    "reject": lambda s, key, admin: s.decide(key, False, admin),
    "accept": lambda s, key, admin: s.review_feedback(key, True, admin),
    "refuse": lambda s, key, admin: s.review_feedback(key, False, admin),
    "promote": lambda s, key, admin: s.promote(key, AgentStatus.INTERN, admin),
    "stop": lambda s, key, _: s.stop(key),
    "capabilities": lambda s, key, _: s.get_agent_capabilities(key),
    "a reviewer": lambda s, key, _: s.submit_feedback("atom_main", key, "5", "4"),
    "an outcome": lambda s, key, _: asyncio.run(s.record_outcome(key, True)),
}


@pytest.mark.parametrize("call", BY_ID)
def test_what_is_in_another_workspace_is_told_of_as_what_is_nowhere(
    governance: AgentGovernanceService,
    atom: AgentRegistry,
    admin: str,
    acme: Workspace,
    db_session: Session,
    call: str,
) -> None:
    user = User(workspace=acme, id="their-user", email="ada@acme.example", name="Ada")
    db_session.add(user)
    db_session.flush()
    asked = AgentGovernanceService(db_session, "acme")
    feedback = asked.submit_feedback("theirs", user.id, "5", "4")
    request = asked.request_approval("theirs", "read_it")
    db_session.commit()

    for theirs in ("theirs", user.id, feedback.id, request):
        with pytest.raises(NotFound) as told:
            BY_ID[call](governance, theirs, admin)
        with pytest.raises(NotFound) as nowhere:
            BY_ID[call](governance, "nowhere", admin)
        assert str(told.value) == str(nowhere.value).replace("nowhere", theirs)
        assert (told.value.kind, told.value.key) == (nowhere.value.kind, theirs)

    db_session.commit()
    db_session.expire_all()
    assert asked.get_approval_status(request)["status"] == "pending"
    assert feedback.status == "pending"
    assert db_session.get_one(AgentRegistry, "theirs").status == "student"


@pytest.mark.asyncio
async def test_the_outcome_of_a_run_of_another_workspace_is_not_counted(
    governance: AgentGovernanceService, atom: AgentRegistry, acme: Workspace
) -> None:
    with pytest.raises(NotFound, match="execution 'their-run'"):
        await governance.record_outcome(atom.id, True, "their-run")
    with pytest.raises(NotFound, match="agent 'theirs'"):
        await governance.record_outcome("theirs", True, "their-run")
    with pytest.raises(NotFound, match="agent 'sam'"):
        await governance.record_outcome("sam", True, "their-run")
