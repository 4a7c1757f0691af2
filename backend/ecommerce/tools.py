"""What agents can do in a workspace's stores: at least one tool for each complexity."""

from typing import Any

from core.tools import ToolContext, tool
from saas.billing import amount_due, billed_usage

from ecommerce.customers import CustomerService
from ecommerce.models import Customer, Subscription
from ecommerce.subscriptions import SubscriptionService

SUBSCRIPTION_ID = {"type": "string", "description": "the subscription's id"}
CUSTOMER_ID = {"type": "string", "description": "the customer's id"}


@tool("Find a customer by e-mail address.", email={"type": "string"})
def find_customer(context: ToolContext, email: str) -> list[dict[str, Any]]:
    """The customers with an address, one for each store that knows it."""
    with context.begin() as db:
        return [_customer(each) for each in CustomerService(db, context.workspace_id).find(email)]


@tool("List the customers' subscriptions whose period has ended and that were not renewed.")
def list_overdue_subscriptions(context: ToolContext) -> list[dict[str, Any]]:
    """The overdue subscriptions, the oldest first."""
    with context.begin() as db:
        return [
            _subscription(each) for each in SubscriptionService(db, context.workspace_id).overdue()
        ]


@tool(
    "Draft the renewal of a subscription: what its period comes to. Changes nothing.",
    subscription_id=SUBSCRIPTION_ID,
)
def draft_renewal(context: ToolContext, subscription_id: str) -> dict[str, Any]:
    """What a renewal would bill, and the next period's end."""
    with context.begin() as db:
        subscription = SubscriptionService(db, context.workspace_id).find(subscription_id)
        start, end = subscription.current_period_start, subscription.current_period_end
        return {
            **_subscription(subscription),
            "usage": str(billed_usage(db, subscription)),
            "amount_due": str(amount_due(db, subscription)),
            "currency": subscription.tier.currency,
            "next_period_end": (end + (end - start)).isoformat(),
        }


@tool(
    "Update the phone number of a customer.",
    customer_id=CUSTOMER_ID,
    phone={"type": "string"},
)
def update_customer_phone(context: ToolContext, customer_id: str, phone: str) -> dict[str, Any]:
    """The customer with the new number."""
    with context.begin() as db:
        return _customer(CustomerService(db, context.workspace_id).set_phone(customer_id, phone))


@tool(
    "Cancel a subscription, at once and for good, and settle what is due.",
    subscription_id=SUBSCRIPTION_ID,
)
def cancel_subscription(context: ToolContext, subscription_id: str) -> dict[str, Any]:
    """The subscription, canceled, and what was billed for the end of it."""
    with context.begin() as db:
        service = SubscriptionService(db, context.workspace_id)
        subscription = service.cancel(subscription_id, context.actor)
        last = subscription.invoices[-1]
        return {
            **_subscription(subscription),
            "billed": str(last.amount),
            "currency": last.currency,
        }


@tool("Delete a customer who has neither orders nor subscriptions.", customer_id=CUSTOMER_ID)
def delete_customer(context: ToolContext, customer_id: str) -> dict[str, Any]:
    """The customer that is gone."""
    with context.begin() as db:
        return _customer(CustomerService(db, context.workspace_id).delete(customer_id))


TOOLS = [
    find_customer,
    list_overdue_subscriptions,
    draft_renewal,
    update_customer_phone,
    cancel_subscription,
    delete_customer,
]


def _customer(customer: Customer) -> dict[str, Any]:
    return {
        "customer_id": customer.id,
        "name": customer.name,
        "email": customer.email,
        "phone": customer.phone,
    }


def _subscription(subscription: Subscription) -> dict[str, Any]:
    return {
        "subscription_id": subscription.id,
        "customer": subscription.customer and subscription.customer.name,
        "tier": subscription.tier.name,
        "status": subscription.status,
        "period_end": subscription.current_period_end.isoformat(),
        "canceled_at": subscription.canceled_at and subscription.canceled_at.isoformat(),
    }
