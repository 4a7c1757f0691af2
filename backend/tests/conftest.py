"""What Atom's tests start from; `db_session` is the plugin's, on a database of this test's own."""

from decimal import Decimal

import pytest
from core.agent_governance_service import AgentGovernanceService
from core.models import AgentRegistry, User, UserRole, Workspace
from core.registry import ATOM_MAIN
from ecommerce.subscriptions import SubscriptionService
from saas.models import SaaSTier
from saas.rates import OverageRates
from sqlalchemy.orm import Session


@pytest.fixture
def workspace(db_session: Session) -> Workspace:
    """The workspace `default`, with an active plan of its own."""
    workspace = Workspace(id="default", name="Default")
    tier = SaaSTier(name="pro", base_price=Decimal(100), overage_rates=OverageRates.of((None, 0)))
    db_session.add_all([workspace, tier])
    db_session.flush()
    SubscriptionService(db_session, workspace.id).start(tier)
    db_session.commit()
    return workspace


@pytest.fixture
def atom(db_session: Session, workspace: Workspace) -> AgentRegistry:
    """The agent `atom_main`: a student, one success short of being an intern."""
    atom = AgentRegistry(workspace=workspace, category="general", **ATOM_MAIN._asdict())
    atom.confidence_score = Decimal("0.49")
    db_session.add(atom)
    db_session.commit()
    return atom


@pytest.fixture
def admin(db_session: Session, workspace: Workspace) -> str:
    """The id of the workspace's admin."""
    user = User(workspace=workspace, email="admin@example.com", name="Admin")
    user.role = UserRole.WORKSPACE_ADMIN
    db_session.add(user)
    db_session.commit()
    return user.id


@pytest.fixture
def governance(db_session: Session, workspace: Workspace) -> AgentGovernanceService:
    return AgentGovernanceService(db_session, workspace.id)
