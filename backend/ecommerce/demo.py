"""A small shop to try the agent on, with two subscriptions that are overdue."""

from datetime import timedelta
from decimal import Decimal

from core.agent_governance_service import AgentGovernanceService, AgentStatus
from core.clock import utc_now
from core.database import current
from core.errors import AtomError
from core.inserts import insert_once
from core.models import User, Workspace
from core.people import require_admin
from core.registry import ensure_atom
from saas.models import SaaSTier
from saas.rates import OverageRates
from sqlalchemy import select
from sqlalchemy.orm import Session

from ecommerce.models import Customer, Store, Subscription
from ecommerce.subscriptions import MONTH

CUSTOMERS = {"ada": -40, "grace": -3, "edsger": 20}


class ShopElsewhere(AtomError):
    """A database has one demo shop, because its rows have ids that are fixed."""

    hint = "use that workspace, or another --database"

    def __init__(self, workspace_id: str) -> None:
        super().__init__(f"the demo shop is in workspace {workspace_id!r}")
        self.workspace_id = workspace_id


def fill(db: Session, workspace: Workspace, admin: User) -> None:
    """Fill a workspace with a shop, unless it is there, and let the admin promote `atom_main`.

    An agent whose floor somebody has set keeps that one, be it higher or lower.

    The shop's rows have ids that a script can name: `demo-ada`, `demo-grace` and `demo-edsger` are
    subscriptions; the first two are overdue.

    Raises:
        ShopElsewhere: the shop is in another workspace.
        NotAllowed: the user is not an admin.
    """
    row = {"id": "demo-store", "workspace_id": workspace.id, "name": "Demo shop"}
    is_new = insert_once(db, Store, row, [Store.id])
    store = current(db, select(Store).where(Store.id == row["id"])).one()
    if store.workspace_id != workspace.id:
        raise ShopElsewhere(store.workspace_id)
    if is_new:
        _open_shop(db, workspace, store)
    require_admin(db, workspace.id, admin.id, "promote agents")
    agent = ensure_atom(db, workspace.id)
    if agent.status_floor is None:
        service = AgentGovernanceService(db, workspace.id)
        service.promote(agent.id, AgentStatus.SUPERVISED, admin.id)


def _open_shop(db: Session, workspace: Workspace, store: Store) -> None:
    tier = SaaSTier(
        name="Demo tier",
        base_price=Decimal("100.00"),
        included_units=Decimal(1000),
        overage_rates=OverageRates.of((500, "0.01"), (None, "0.005")),
    )
    for name, days in CUSTOMERS.items():
        customer = Customer(store=store, name=name.title(), email=f"{name}@example.com")
        end = utc_now() + timedelta(days=days)
        db.add(
            Subscription(
                id=f"demo-{name}",
                workspace=workspace,
                customer=customer,
                tier=tier,
                current_period_start=end - MONTH,
                current_period_end=end,
            )
        )
    db.flush()
