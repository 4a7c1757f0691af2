"""Where every action of a run is put before governance, and waits if a human decides."""

from datetime import timedelta
from typing import Any

from core import database
from core.agent_governance_service import AgentGovernanceService
from core.errors import ActionRejected
from core.executions import Run
from core.listener import Listener
from core.models import ApprovalStatus
from core.permission import Enforcement, EnforcementStatus


class Gate:
    """Lets an action pass, or says why not."""

    def __init__(
        self, listener: Listener, *, time_to_decide: timedelta, poll_interval: float
    ) -> None:
        self._listener = listener
        self._time_to_decide = time_to_decide
        self._poll_interval = poll_interval

    async def refusal(self, run: Run, action_type: str, params: dict[str, Any]) -> str | None:
        """Why the run's agent may not perform an action; `None` when it may, now.

        Raises:
            ActionRejected: a human was asked, and rejected the action or did not answer in time.
        """
        verdict = self._enforce(run, action_type, params)
        if verdict["status"] is EnforcementStatus.PENDING_APPROVAL:
            await self._until_approved(run, action_type, params, verdict)
            # The agent may have been paused or demoted while the human was thinking.
            return self._maturity_refusal(run, action_type)
        return None if verdict["proceed"] else verdict["reason"]

    def _enforce(self, run: Run, action_type: str, params: dict[str, Any]) -> Enforcement:
        with database.SessionLocal.begin() as db:
            return AgentGovernanceService(db, run.workspace_id).enforce_action(
                run.agent_id,
                action_type,
                params,
                execution_id=run.execution_id,
                time_to_decide=self._time_to_decide,
            )

    async def _until_approved(
        self, run: Run, action_type: str, params: dict[str, Any], verdict: Enforcement
    ) -> None:
        action_id = str(verdict["action_id"])
        try:
            await self._listener.tell(
                run,
                kind="approval_required",
                action=action_type,
                action_input=params,
                action_id=action_id,
                observation=verdict["reason"],
            )
            with database.SessionLocal() as db:
                service = AgentGovernanceService(db, run.workspace_id)
                view = await service.wait_for_approval(action_id, poll_interval=self._poll_interval)
        except BaseException:
            # Whoever approved it later would approve what nobody does any more.
            with database.SessionLocal.begin() as db:
                AgentGovernanceService(db, run.workspace_id).withdraw_request(action_id)
            raise
        if view["status"] is not ApprovalStatus.APPROVED:
            raise ActionRejected(action_type, view["status"])

    def _maturity_refusal(self, run: Run, action_type: str) -> str | None:
        with database.SessionLocal() as db:
            service = AgentGovernanceService(db, run.workspace_id)
            decision = service.can_perform_action(run.agent_id, action_type)
        return None if decision["allowed"] else decision["reason"]
