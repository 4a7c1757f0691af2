"""The customers of a workspace's stores."""

from core.database import current, flushed
from core.errors import AtomError, NotFound
from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from ecommerce.models import Customer, Order, Store, Subscription


class CustomerInUse(AtomError):
    """A customer who ordered or subscribed cannot be deleted."""

    def __init__(self, customer_id: str) -> None:
        super().__init__(f"customer {customer_id!r} has orders or subscriptions")
        self.customer_id = customer_id


class CustomerService:
    """Finds and changes customers; flushes, and leaves the commit to the caller."""

    def __init__(self, db: Session, workspace_id: str = "default") -> None:
        self.db = db
        self.workspace_id = workspace_id

    def find(self, email: str) -> list[Customer]:
        """The customers with this address, one for each store of the workspace that knows it."""
        query = (
            select(Customer)
            .join(Customer.store)
            .where(Customer.email == email, Store.workspace_id == self.workspace_id)
        )
        return list(current(self.db, query.order_by(Store.name)))

    def get(self, customer_id: str) -> Customer:
        """The customer of that id.

        Raises:
            NotFound: the workspace has no such customer.
        """
        query = (
            select(Customer)
            .join(Customer.store)
            .where(Customer.id == customer_id, Store.workspace_id == self.workspace_id)
        )
        customer = current(self.db, query).one_or_none()
        if customer is None:
            raise NotFound("customer", customer_id)
        return customer

    def require(self, customer_id: str) -> None:
        """Look for a customer without loading it.

        Raises:
            NotFound: the workspace has no such customer.
        """
        query = (
            select(Store.workspace_id)
            .join(Customer, Customer.store_id == Store.id)
            .where(Customer.id == customer_id)
        )
        if flushed(self.db).scalar(query) != self.workspace_id:
            raise NotFound("customer", customer_id)

    def set_phone(self, customer_id: str, phone: str) -> Customer:
        """Give a customer another phone number.

        Raises:
            NotFound: the workspace has no such customer.
        """
        customer = self.get(customer_id)
        customer.phone = phone
        self.db.flush()
        return customer

    def delete(self, customer_id: str) -> Customer:
        """Delete a customer who has neither orders nor subscriptions.

        Raises:
            NotFound: the workspace has no such customer.
            CustomerInUse: the customer has orders or subscriptions.
        """
        customer = self.get(customer_id)
        in_use = or_(
            exists().where(Order.customer_id == customer_id),
            exists().where(Subscription.customer_id == customer_id),
        )
        if flushed(self.db).scalar(select(in_use)):
            raise CustomerInUse(customer_id)
        self.db.delete(customer)
        self.db.flush()
        return customer
