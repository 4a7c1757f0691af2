"""Where every action of a run is put before governance, and waits if a human decides."""

from datetime import timedelta

from core import database
from core.agent_governance_service import AgentGovernanceService
from core.errors import ActionRejected
from core.executions import Run
from core.listener import Listener
from core.models import ApprovalStatus
from core.permission import Enforcement, EnforcementStatus
from core.react import Act


class Gate:
    """Lets an action pass, or says why not."""

    def __init__(
        self, listener: Listener, *, time_to_decide: timedelta, poll_interval: float
    ) -> None:
        self._listener = listener
        self._time_to_decide = time_to_decide
        self._poll_interval = poll_interval

    async def refusal(self, run: Run, turn: Act) -> str | None:
        """Why the run's agent may not do what its model wants to; `None` when it may, now.

        Raises:
            ActionRejected: a human was asked, and rejected the action or did not answer in time.
        """
        verdict = self._enforce(run, turn)
        if verdict["status"] is EnforcementStatus.PENDING_APPROVAL:
            await self._until_approved(run, turn, verdict)
            # The agent may have been paused or demoted while the human was thinking.
            return self._maturity_refusal(run, turn.action)
        return None if verdict["proceed"] else verdict["reason"]

    def _enforce(self, run: Run, turn: Act) -> Enforcement:
        with database.SessionLocal.begin() as db:
            return AgentGovernanceService(db, run.workspace_id).enforce_action(
                run.agent_id,
                turn.action,
                turn.action_input,
                execution_id=run.execution_id,
                thought=turn.thought,
                time_to_decide=self._time_to_decide,
            )

    async def _until_approved(self, run: Run, turn: Act, verdict: Enforcement) -> None:
        action_id = str(verdict["action_id"])
        try:
            await self._listener.tell(
                run,
                kind="approval_required",
                thought=turn.thought,
                action=turn.action,
                action_input=turn.action_input,
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
            raise ActionRejected(turn.action, view["status"])

    def _maturity_refusal(self, run: Run, action_type: str) -> str | None:
        with database.SessionLocal() as db:
            service = AgentGovernanceService(db, run.workspace_id)
            decision = service.can_perform_action(run.agent_id, action_type)
        return None if decision["allowed"] else decision["reason"]
