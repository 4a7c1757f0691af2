"""What Atom's tests start from. The database itself comes from the plugin: `db_session` is a
session of the application's own `SessionLocal`, on a migrated clone that is this test's alone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from core.atom_meta_agent import ATOM_MAIN, PROFILE
from core.models import AgentRegistry, AgentStatus, Workspace
from ecommerce.models import Subscription
from saas.models import SaaSTier
from saas.rates import OverageRates
from sqlalchemy.orm import Session


@pytest.fixture
def workspace(db_session: Session) -> Workspace:
    """The workspace `default`, with an active plan of its own."""
    tier = SaaSTier(name="pro", base_price=Decimal(100), overage_rates=OverageRates.of((None, 0)))
    plan = Subscription(tier=tier, current_period_start=datetime(2026, 1, 1, tzinfo=UTC))
    plan.current_period_end = datetime.now(UTC) + timedelta(days=30)
    workspace = Workspace(id="default", name="Default", subscriptions=[plan])
    db_session.add(workspace)
    db_session.commit()
    return workspace
