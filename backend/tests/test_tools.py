"""The tools that come with Atom, on the project's own tables."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from core.errors import NotFound
from core.maturity import complexity_of
from core.models import Workspace
from core.tools import InvalidArguments, Tool, ToolContext, ToolRegistry, default_tools
from core.tools import tool as make_tool
from ecommerce.customers import CustomerInUse
from ecommerce.models import Customer, Order, Store, Subscription, SubscriptionAudit
from ecommerce.subscriptions import SubscriptionService
from saas.metering import UsageMeter
from saas.models import SaaSTier
from saas.rates import OverageRates
from sqlalchemy import select
from sqlalchemy.orm import Session

Use = Callable[..., Any]


@pytest.fixture
def use(workspace: Workspace) -> Use:
    """Use a tool as an agent of the workspace."""
    tools = default_tools()

    async def nobody(agent: str, task: str) -> dict[str, Any]:
        raise NotImplementedError

    def run(name: str, workspace_id: str = "default", **arguments: Any) -> Any:
        tool = tools.get(name)
        assert tool is not None
        tool.check(arguments)
        return tool.function(
            ToolContext(workspace_id, "agent-1", "run-1", tools, nobody), **arguments
        )

    return run


@pytest.fixture
def customer(workspace: Workspace, db_session: Session) -> Customer:
    """A customer of the workspace's store."""
    store = Store(workspace=workspace, name="Shop")
    customer = Customer(store=store, name="Ada", email="ada@example.com")
    db_session.add(customer)
    db_session.commit()
    return customer


@pytest.fixture
def subscribe(customer: Customer, db_session: Session) -> Callable[[int], Subscription]:
    """Give the customer a subscription whose period ends in so many days."""
    tier = db_session.scalars(select(SaaSTier)).one()

    def make(days: int) -> Subscription:
        end = datetime.now(UTC) + timedelta(days=days)
        subscription = Subscription(
            workspace=customer.store.workspace,
            customer=customer,
            tier=tier,
            current_period_start=end - timedelta(days=30),
            current_period_end=end,
        )
        db_session.add(subscription)
        db_session.commit()
        return subscription

    return make


def test_there_is_a_tool_for_each_complexity() -> None:
    by_name = {tool.name: complexity_of(tool.name) for tool in default_tools()}

    assert by_name == {
        "search_tools": 1,
        "find_customer": 1,
        "list_overdue_subscriptions": 1,
        "draft_renewal": 2,
        "update_customer_phone": 3,
        "cancel_subscription": 3,
        "delegate_task": 3,
        "delete_customer": 4,
    }


class TestCustomers:
    def test_find_customer_knows_the_workspaces_own(self, use: Use, customer: Customer) -> None:
        found = use("find_customer", email="ada@example.com")

        assert [each["customer_id"] for each in found] == [customer.id]
        assert use("find_customer", email="nobody@example.com") == []
        assert use("find_customer", "elsewhere", email="ada@example.com") == []

    def test_find_customer_goes_by_the_names_of_the_stores(
        self, use: Use, workspace: Workspace, db_session: Session
    ) -> None:
        for name in ("B", "C", "A"):
            store = Store(id=f"store-{name}", workspace=workspace, name=name)
            db_session.add(Customer(id=name, store=store, name=name, email="ada@example.com"))
            db_session.flush()
        db_session.commit()

        found = use("find_customer", email="ada@example.com")

        assert [each["customer_id"] for each in found] == ["A", "B", "C"]

    def test_update_customer_phone_is_committed(
        self, use: Use, customer: Customer, db_session: Session
    ) -> None:
        use("update_customer_phone", customer_id=customer.id, phone="+49 30 1")

        db_session.refresh(customer)
        assert customer.phone == "+49 30 1"

    def test_delete_customer_deletes_one_who_is_not_in_use(
        self, use: Use, customer: Customer, db_session: Session
    ) -> None:
        use("delete_customer", customer_id=customer.id)

        db_session.expire_all()
        assert db_session.scalars(select(Customer)).all() == []

    @pytest.mark.parametrize(
        ("tool", "arguments"), [("update_customer_phone", {"phone": "1"}), ("delete_customer", {})]
    )
    def test_a_customer_who_is_not_there_or_of_another_workspace_is_not_found(
        self,
        use: Use,
        customer: Customer,
        db_session: Session,
        tool: str,
        arguments: dict[str, str],
    ) -> None:
        with pytest.raises(NotFound, match="customer 'nobody'"):
            use(tool, customer_id="nobody", **arguments)
        with pytest.raises(NotFound, match="customer"):
            use(tool, "elsewhere", customer_id=customer.id, **arguments)

        db_session.expire_all()
        assert db_session.scalars(select(Customer.phone)).all() == [None]

    @pytest.mark.parametrize("with_order", [True, False])
    def test_delete_customer_refuses_one_with_orders_or_subscriptions(
        self,
        use: Use,
        customer: Customer,
        subscribe: Callable[[int], Subscription],
        db_session: Session,
        with_order: bool,
    ) -> None:
        if with_order:
            store = customer.store
            db_session.add(Order(store=store, customer=customer, number="1", total=Decimal(1)))
            db_session.commit()
        else:
            subscribe(1)

        with pytest.raises(CustomerInUse) as caught:
            use("delete_customer", customer_id=customer.id)

        assert caught.value.customer_id == customer.id


class TestSubscriptions:
    def test_overdue_are_the_customers_active_ones_whose_period_has_ended(
        self, use: Use, subscribe: Callable[[int], Subscription]
    ) -> None:
        late, later, canceled, _current = (subscribe(days) for days in (-2, -9, -5, 5))
        use("cancel_subscription", subscription_id=canceled.id)

        listed = [each["subscription_id"] for each in use("list_overdue_subscriptions")]

        assert listed == [later.id, late.id]
        assert use("list_overdue_subscriptions", "elsewhere") == []

    def test_draft_renewal_changes_nothing(
        self, use: Use, subscribe: Callable[[int], Subscription], db_session: Session
    ) -> None:
        subscription = subscribe(-1)
        end = subscription.current_period_end

        draft = use("draft_renewal", subscription_id=subscription.id)

        db_session.refresh(subscription)
        assert (draft["amount_due"], draft["usage"]) == ("100.00", "0")
        assert draft["next_period_end"] == (end + timedelta(days=30)).isoformat()
        assert subscription.current_period_end == end

    def test_a_draft_and_a_bill_are_of_the_current_period(
        self, use: Use, subscribe: Callable[[int], Subscription], db_session: Session
    ) -> None:
        subscription = subscribe(-1)
        subscription.tier.overage_rates = OverageRates.of((None, 1))
        key, billed = subscription.id, subscription.tier.billed_event_type
        before = subscription.current_period_start
        UsageMeter(db_session, clock=lambda: before).record(key, billed, 7, "before")
        SubscriptionService(db_session).renew(key, "ada")
        UsageMeter(db_session).record(key, billed, 3, "now")
        db_session.commit()

        draft = use("draft_renewal", subscription_id=key)
        said = use("cancel_subscription", subscription_id=key)

        assert (draft["usage"], draft["amount_due"]) == ("3.0000", "103.00")
        assert said["billed"] == "103.00"

    def test_cancel_subscription_leaves_the_agents_name_in_the_audit(
        self, use: Use, subscribe: Callable[[int], Subscription], db_session: Session
    ) -> None:
        subscription = subscribe(-1)

        said = use("cancel_subscription", subscription_id=subscription.id)

        db_session.refresh(subscription)
        canceled = SubscriptionAudit.event == "canceled"
        audit = db_session.scalars(select(SubscriptionAudit).where(canceled)).one()
        assert (said["billed"], said["currency"]) == (audit.details["billed"], "EUR")
        assert subscription.status == "canceled"
        assert (audit.subscription, audit.actor) == (subscription, "agent:agent-1")

    def test_a_subscription_of_another_workspace_is_not_found(
        self, use: Use, subscribe: Callable[[int], Subscription]
    ) -> None:
        with pytest.raises(NotFound, match="subscription"):
            use("cancel_subscription", "elsewhere", subscription_id=subscribe(-1).id)


class TestRegistry:
    def test_search_finds_tools_by_every_word(self, use: Use) -> None:
        found = use("search_tools", query="subscription cancel")

        assert [each["name"] for each in found] == ["cancel_subscription"]

    def test_a_name_is_taken_once(self) -> None:
        tools = default_tools()

        with pytest.raises(ValueError, match="already"):
            tools.add(next(iter(tools)))

    @pytest.mark.parametrize("name", ["", "Read", "read file", "mcp/delete", "_read", "read__it"])
    def test_a_name_is_one_that_governance_can_read(self, name: str) -> None:
        with pytest.raises(ValueError, match="not a tool's name"):
            ToolRegistry([Tool(name, "", {}, print)])

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ({}, "'subscription_id' is missing"),
            ({"subscription_id": 1}, "1 is not of type 'string'"),
            ({"subscription_id": "a", "force": True}, "no argument 'force'"),
        ],
    )
    def test_arguments_are_checked_against_the_schema(
        self, arguments: dict[str, Any], problem: str
    ) -> None:
        tool = default_tools().get("cancel_subscription")
        assert tool is not None

        with pytest.raises(InvalidArguments, match=problem) as caught:
            tool.check(arguments)

        assert caught.value.tool == "cancel_subscription"

    def test_true_is_not_a_number(self) -> None:
        schema = {"properties": {"count": {"type": "integer"}}}

        with pytest.raises(InvalidArguments, match="count: True is not of type 'integer'"):
            Tool("count", "", schema, print).check({"count": True})

    @pytest.mark.parametrize("schema", [{}, {"type": ["string", "null"]}, {"type": "null"}])
    def test_a_schema_may_permit_more_than_one_type(self, schema: dict[str, Any]) -> None:
        Tool("note", "", {"properties": {"text": schema}}, print).check({"text": None})

    @pytest.mark.parametrize(
        ("schema", "good", "bad"),
        [
            ({"enum": ["low", 1, None]}, ["low", 1, None], ["high", "1", True, []]),
            ({"const": 0}, [0], [1, False, "0"]),
            ({"minimum": 1, "maximum": 3}, [1, 3, 2.5, "0", True], [0, 4, -5.0]),
            ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, [2, 1.5, None], [1, 3]),
            ({"minLength": 2, "maxLength": 3}, ["ab", "abc", 7, [1]], ["a", "abcd"]),
            ({"minItems": 1, "maxItems": 2}, [[1], [1, 2], "", {}], [[], [1, 2, 3]]),
            ({"pattern": "^a+$"}, ["a", "aa", 1], ["b", "ab", ""]),
            ({"type": ["integer", "null"]}, [1, None], [1.5, True, "1"]),
            ({"type": "integer"}, [1, 1.0], [1.5, "1"]),
            ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, ["a", 3], [2]),
            ({"multipleOf": 2}, [4, "x"], [3]),
            ({"items": {"type": "string"}}, [["a"], [], "a"], [[1], ["a", None]]),
            (
                {"properties": {"a": {"items": {"minimum": 1}}}, "required": ["a"]},
                [{"a": [1]}, {"a": [], "b": 0}],
                [{}, {"b": [1]}, {"a": [1, 0]}],
            ),
            ({"properties": {"a": {}}, "additionalProperties": False}, [{}, {"a": 1}], [{"b": 1}]),
        ],
        ids=lambda given: "".join(given) if isinstance(given, dict) else "",
    )
    def test_all_of_a_schema_holds(
        self, schema: dict[str, Any], good: list[Any], bad: list[Any]
    ) -> None:
        tool = Tool("note", "", {"properties": {"value": {**schema, "description": "x"}}}, print)

        for value in good:
            tool.check({"value": value})
        for value in bad:
            with pytest.raises(InvalidArguments, match=r"^note: value"):
                tool.check({"value": value})

    @pytest.mark.parametrize(
        ("schema", "problem"),
        [
            ({"type": "date"}, "type: 'date' is not valid"),
            ({"type": ["string", "nil"]}, r"type: \['string', 'nil'\] is not valid"),
            ({"anyOf": []}, "anyOf: "),
            ({"minimun": 1}, "'minimun' of a schema is not checked"),
            ({"anyOf": [{"minimun": 1}]}, "'minimun' of a schema is not checked"),
            ({"additionalProperties": {"minimun": 1}}, "'minimun' of a schema is not checked"),
            ({"pattern": "("}, r"pattern: '\(' is not a 'regex'"),
            ({"$ref": "https://example.org/a"}, r"'\$ref' of a schema is not checked"),
            ({"format": "date"}, "'format' of a schema is not checked"),
        ],
    )
    def test_what_would_not_be_checked_is_refused_when_a_tool_is_made(
        self, schema: dict[str, Any], problem: str
    ) -> None:
        nested = {"properties": {"b": schema}}
        for each in (schema, {"items": schema}, nested, {"items": nested}):
            with pytest.raises(ValueError, match=f"^tool 'note': .*{problem}"):
                Tool("note", "", {"properties": {"a": each}}, print)
            with pytest.raises(ValueError, match=f"^tool 'print': .*{problem}"):
                make_tool("Print.", a=each)(print)
