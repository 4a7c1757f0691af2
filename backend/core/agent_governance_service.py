"""What an agent may do, who decides, and how it earns the right to do more."""

from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from core import composition, feedback, registry, scores
from core.approvals import DEFAULT_TIME_TO_DECIDE, ApprovalDesk, ApprovalView, Request
from core.clock import Clock, utc_now
from core.database import new_id
from core.errors import (
    ActionNotApprovable,
    AmbiguousName,
    NotFound,
    NotOnLadder,
    require_bool,
    require_text,
)
from core.maturity import LADDER, AgentStatus
from core.metering import Meter
from core.models import AgentFeedback, AgentRegistry, HITLAction
from core.outcomes import claim_outcome, require_run_of
from core.people import require_admin
from core.permission import (
    Capabilities,
    Enforcement,
    EnforcementStatus,
    GovernanceDecision,
    capabilities,
    decide_action,
)

__all__ = ["AgentGovernanceService", "AgentStatus", "Enforcement", "EnforcementStatus"]


class AgentGovernanceService:
    """Governs the agents of one workspace.

    Every `agent_id` takes an agent's id or its name; an id wins, and a name that several agents
    have is an `AmbiguousName`.

    Works in the session that it is given and flushes; whoever opened the session commits. The one
    exception is `wait_for_approval`.
    """

    def __init__(
        self,
        db: Session,
        workspace_id: str = "default",
        *,
        clock: Clock = utc_now,
        meter: Meter | None = None,
    ) -> None:
        self.db = db
        self.workspace_id = workspace_id
        self._clock = clock
        self._meter = composition.meter(db) if meter is None else meter
        self._desk = ApprovalDesk(db, workspace_id, clock)

    def can_perform_action(
        self, agent_id: str, action_type: str, require_approval: bool = False
    ) -> GovernanceDecision:
        """Say whether an agent may perform an action, and whether a human has to agree.

        The decision has the same keys on every path; an agent that is missing, belongs to another
        workspace, or has a name that others have, too, is refused and has the status `None`.

        Raises:
            NotYesOrNo: `require_approval` is no `bool`.
        """
        return self._judge(agent_id, action_type, require_approval)[1]

    def enforce_action(
        self,
        agent_id: str,
        action_type: str,
        params: dict[str, Any] | None = None,
        *,
        require_approval: bool = False,
        execution_id: str | None = None,
        time_to_decide: timedelta = DEFAULT_TIME_TO_DECIDE,
        thought: str = "",
    ) -> Enforcement:
        """Decide about an action and file the request if a human has to agree.

        `proceed` is true for `APPROVED` alone. `thought` is what led to the action, for the human.

        Raises:
            NotFound: the workspace has no such execution.
            ExecutionOfAnother: the execution is another agent's.
            NotYesOrNo: `require_approval` is no `bool`.
        """
        agent, decision = self._judge(agent_id, action_type, require_approval)
        if execution_id is not None and agent is not None:
            require_run_of(self.db, agent, execution_id)
        action_id = None
        if agent is None or not decision["allowed"]:
            status = EnforcementStatus.BLOCKED
        elif decision["requires_human_approval"]:
            status = EnforcementStatus.PENDING_APPROVAL
            request = Request(
                action_type, params or {}, decision["reason"], thought, execution_id, time_to_decide
            )
            action_id = self._desk.file(agent.id, request)
        else:
            status = EnforcementStatus.APPROVED
        return Enforcement(
            proceed=status is EnforcementStatus.APPROVED,
            status=status,
            reason=decision["reason"],
            action_id=action_id,
        )

    def request_approval(
        self,
        agent_id: str,
        action_type: str,
        params: dict[str, Any] | None = None,
        reason: str = "",
        *,
        execution_id: str | None = None,
        time_to_decide: timedelta = DEFAULT_TIME_TO_DECIDE,
        thought: str = "",
    ) -> str:
        """File a request for a human to decide and return its id.

        Raises:
            ActionNotApprovable: the agent may not perform the action at all.
            NotFound: the workspace has no such execution.
            ExecutionOfAnother: the execution is another agent's.
        """
        agent, decision = self._judge(agent_id, action_type)
        if agent is None or not decision["allowed"]:
            raise ActionNotApprovable(agent_id, action_type, decision["reason"])
        if execution_id is not None:
            require_run_of(self.db, agent, execution_id)
        why = reason or decision["reason"]
        request = Request(action_type, params or {}, why, thought, execution_id, time_to_decide)
        return self._desk.file(agent.id, request)

    def decide(self, action_id: str, approved: bool, reviewer_id: str) -> ApprovalView:
        """Approve or reject a pending request; atomic and final.

        Raises:
            NotFound: the workspace has no such request, or no such reviewer.
            NotAllowed: the reviewer is neither an admin nor a specialist in the agent's category.
            ActionNotApprovable: it is approved, and the agent may not perform the action now,
                because it was stopped or demoted since. It can be rejected.
            NotYesOrNo: `approved` is no `bool`.
            AlreadyDecided: somebody else was first.
            ApprovalExpired: the deadline has passed; the request is expired then, even if the
                caller's transaction is rolled back because of this error.
        """
        require_bool(approved=approved)
        return self._desk.decide(action_id, approved, reviewer_id)

    def get_approval_status(self, action_id: str) -> ApprovalView:
        """How a request stands; one that is past its deadline becomes expired.

        Raises:
            NotFound: the workspace has no such request.
        """
        return self._desk.look(action_id, self._clock())

    def withdraw_request(self, action_id: str) -> ApprovalView:
        """Let a pending request expire now, because nobody waits for it any more.

        Raises:
            NotFound: the workspace has no such request.
        """
        return self._desk.withdraw(action_id)

    def pending_approvals(self) -> list[HITLAction]:
        """The requests that somebody can still decide, the most urgent first."""
        return self._desk.pending()

    async def wait_for_approval(
        self, action_id: str, *, poll_interval: float = 1.0, clock: Clock | None = None
    ) -> ApprovalView:
        """Wait until a request is decided or expired.

        A unit of work: commits before it waits and after each look, every `poll_interval` seconds.

        Raises:
            NotFound: the workspace has no such request.
        """
        clock = self._clock if clock is None else clock
        return await self._desk.wait(action_id, clock, poll_interval)

    async def record_outcome(
        self, agent_id: str, success: bool, execution_id: str | None = None
    ) -> bool:
        """Count how a run ended: in the agent's score and status, and on the workspace's plan.

        A run with an id counts once, however often it is reported, and not at all if it was refused
        or interrupted; without one, each call is a run of its own. Returns whether this call
        counted. The score and the usage event are in the same
        transaction; concurrent outcomes lose none. An agent off the ladder is not changed;
        what it did before it left is metered.

        Raises:
            NotFound: the workspace has no such agent, or the run is one of another workspace.
            ExecutionOfAnother: the run is another agent's.
            OutcomeContradicted: the run is recorded here, and still running or ended otherwise.
            Blank: the run's id is empty.
            NotYesOrNo: `success` is no `bool`.
        """
        require_bool(success=success)
        agent = self._agent(agent_id)
        if execution_id is not None:
            require_text(execution_id=execution_id)
            if not claim_outcome(self.db, agent, execution_id, success, self._clock()):
                return False
        scores.change_score(self.db, agent.id, scores.SUCCESS if success else scores.FAILURE)
        self._meter.record_run(self.workspace_id, execution_id or new_id())
        return True

    def submit_feedback(
        self,
        agent_id: str,
        user_id: str,
        original_output: str,
        user_correction: str,
        rating: int | None = None,
    ) -> AgentFeedback:
        """File a correction: a trusted person's costs the agent 0.10, others' waits for a review.

        Trusted is an admin, and a user whose specialty is the agent's category.

        Raises:
            NotFound: the workspace has no such agent or user.
            RatingOutOfRange: the rating is not from 1 to 5.
        """
        agent = self._agent(agent_id)
        return feedback.submit(self.db, agent, user_id, original_output, user_correction, rating)

    def pending_feedback(self) -> list[AgentFeedback]:
        """The corrections that nobody has reviewed yet, the oldest first."""
        return feedback.pending(self.db, self.workspace_id)

    def review_feedback(self, feedback_id: str, accepted: bool, reviewer_id: str) -> AgentFeedback:
        """Accept or reject a pending correction, once; an accepted one costs the agent 0.10.

        Raises:
            NotFound: the workspace has no such feedback, or no such reviewer.
            NotAllowed: the reviewer is not trusted.
            AlreadyDecided: it was accepted or rejected before.
            NotYesOrNo: `accepted` is no `bool`.
        """
        require_bool(accepted=accepted)
        return feedback.review(
            self.db, self.workspace_id, feedback_id, accepted, reviewer_id, self._clock()
        )

    def promote(self, agent_id: str, status: AgentStatus, user_id: str) -> AgentRegistry:
        """Set the floor under an agent's status; the status rises to it and never falls below.

        A lower floor than before takes a promotion back: the status is then what the score earns.

        Raises:
            NotFound: the workspace has no such agent or user.
            NotAllowed: the user is not an admin.
            NotOnLadder: `status` is not a rung of the ladder.
            AgentOffLadder: the agent is paused, stopped, deprecated or deleted.
        """
        require_admin(self.db, self.workspace_id, user_id, "promote agents")
        if status not in LADDER:
            raise NotOnLadder(status)
        agent = self._agent(agent_id)
        scores.promote(self.db, agent, status)
        return agent

    def pause(self, agent_id: str) -> AgentRegistry:
        """Take an agent off the ladder until it is resumed.

        Raises:
            NotFound: the workspace has no such agent.
            AgentOffLadder: it is off the ladder already.
        """
        agent = self._agent(agent_id)
        scores.leave_ladder(self.db, agent, LADDER, AgentStatus.PAUSED)
        return agent

    def resume(self, agent_id: str) -> AgentRegistry:
        """Put a paused agent back where its score and floor say it belongs.

        Without either, before its first outcome, it is a student again.

        Raises:
            NotFound: the workspace has no such agent.
            AgentOffLadder: it is not paused.
        """
        agent = self._agent(agent_id)
        scores.rejoin_ladder(self.db, agent, AgentStatus.PAUSED)
        return agent

    def stop(self, agent_id: str) -> AgentRegistry:
        """Take an agent off the ladder for good.

        Raises:
            NotFound: the workspace has no such agent.
            AgentOffLadder: it is neither on the ladder nor paused.
        """
        agent = self._agent(agent_id)
        origin = (*LADDER, AgentStatus.PAUSED)
        scores.leave_ladder(self.db, agent, origin, AgentStatus.STOPPED)
        return agent

    def register_or_update_agent(
        self,
        name: str,
        category: str,
        module_path: str,
        class_name: str,
        description: str | None = None,
        *,
        version: str | None = None,
        configuration: dict[str, Any] | None = None,
    ) -> AgentRegistry:
        """The agent of this name, module path and class name: new as a student, or updated.

        What is not given stays as it is. Score and status are earned, never registered.

        Raises:
            NotFound: there is no such workspace.
            Blank: one of the first four is empty.
        """
        require_text(name=name, category=category, module_path=module_path, class_name=class_name)
        profile = registry.Profile(category=category)
        if description is not None:
            profile["description"] = description
        if version is not None:
            profile["version"] = version
        if configuration is not None:
            profile["configuration"] = configuration
        identity = registry.Identity(module_path, class_name, name)
        return registry.register_agent(self.db, self.workspace_id, identity, profile)

    def list_agents(
        self, category: str | None = None, status: AgentStatus | None = None
    ) -> list[AgentRegistry]:
        """The workspace's agents by name; deleted ones only when `status` asks for them."""
        return registry.list_agents(self.db, self.workspace_id, category, status)

    def get_agent_capabilities(self, agent_id: str) -> Capabilities:
        """What an agent may do at once, after approval, and not at all.

        Raises:
            NotFound: the workspace has no such agent.
        """
        agent = self._agent(agent_id)
        return capabilities(agent.id, agent.status, agent.confidence_score)

    def _judge(
        self, agent_id: str, action_type: str, require_approval: bool = False
    ) -> tuple[AgentRegistry | None, GovernanceDecision]:
        require_bool(require_approval=require_approval)
        try:
            agent = self._agent(agent_id)
        except NotFound:
            return None, decide_action(None, None, action_type)
        except AmbiguousName as error:
            return None, {**decide_action(None, None, action_type), "reason": str(error)}
        status, score = agent.status, agent.confidence_score
        return agent, decide_action(status, score, action_type, require_approval)

    def _agent(self, agent_id: str) -> AgentRegistry:
        return registry.find_agent(self.db, self.workspace_id, agent_id)
