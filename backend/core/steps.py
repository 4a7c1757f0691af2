"""The steps of a run on a screen, and its questions to whoever sits there."""

import asyncio
import json
from typing import Any

from core import database
from core.agent_governance_service import AgentGovernanceService
from core.answers import Answers
from core.approvals import ApprovalView
from core.errors import AtomError
from core.models import ApprovalStatus
from core.screen import Screen, block, one_line


class Steps:
    """Shows the steps of a run, and asks for the approvals that it waits for.

    Without `answers` nobody is asked here: the run waits for `python -m core decide`.
    """

    def __init__(
        self, screen: Screen, answers: Answers | None, workspace_id: str, user_id: str
    ) -> None:
        self._screen = screen
        self._answers = answers
        self._workspace_id = workspace_id
        self._user_id = user_id

    async def show(self, step: dict[str, Any]) -> None:
        """Show a step, or ask for the approval that it waits for."""
        indent = "    " * step["depth"]
        agent = f"{indent}{one_line(step['agent'])}"
        if step["kind"] == "approval_required":
            # The action stands last, where no thought, however long, can push it off the screen.
            self._screen.show(f"{agent} thinks: {block(step['thought'], indent)}")
            self._screen.show(f"{agent} wants to {_action(step)}")
            await self._ask(step["action_id"], indent)
            return
        thought = block(step["thought"], indent)
        self._screen.show(f"{agent}, step {step['step_number']}: {thought}")
        if step["action"] is not None:
            self._screen.show(f"{indent}  {_action(step)}")
        self._screen.show(f"{indent}  -> {block(step['observation'], indent)}")

    async def _ask(self, action_id: str, indent: str) -> None:
        if self._answers is None:
            self._screen.show(f"{indent}  waits for: python -m core decide {action_id}")
            return
        self._answers.forget()
        self._screen.show(f"{indent}  request {action_id}")
        self._screen.show(f"{indent}  approve? [y/N] ", end="")
        approved = await self._answer(self._answers, action_id, indent)
        if approved is None:
            return
        try:
            with database.SessionLocal.begin() as db:
                service = AgentGovernanceService(db, self._workspace_id)
                service.decide(action_id, approved, self._user_id)
        except AtomError as error:
            said = one_line(str(error))
            self._screen.show(f"{indent}  {said}; the run waits for somebody else's decision")

    async def _answer(self, answers: Answers, action_id: str, indent: str) -> bool | None:
        """What is answered here; `None` if it was decided elsewhere before."""
        here = asyncio.create_task(answers.line())
        elsewhere = asyncio.create_task(self._decided(action_id))
        try:
            await asyncio.wait({here, elsewhere}, return_when=asyncio.FIRST_COMPLETED)
            if here.done():
                answer = here.result()
                if not answer.endswith("\n"):
                    self._screen.show("")
                # No answer, at the end of the input, is a no; so is one to what nobody saw.
                return not self._screen.lost and answer.strip().casefold() in ("y", "yes")
            view = elsewhere.result()
        except asyncio.CancelledError:
            self._screen.show("")
            raise
        finally:
            here.cancel()
            elsewhere.cancel()
            await asyncio.gather(here, elsewhere, return_exceptions=True)
        self._screen.show(f"\n{indent}  {view['status']}{_elsewhere(view)}")
        return None

    async def _decided(self, action_id: str) -> ApprovalView:
        with database.SessionLocal() as db:
            service = AgentGovernanceService(db, self._workspace_id)
            return await service.wait_for_approval(action_id)


def compact(arguments: dict[str, Any] | None) -> str:
    """Arguments on one line."""
    return json.dumps(arguments or {}, ensure_ascii=False)


def _action(step: dict[str, Any]) -> str:
    return f"{one_line(step['action'])} {one_line(compact(step['action_input']))}"


def _elsewhere(view: ApprovalView) -> str:
    return "" if view["status"] is ApprovalStatus.EXPIRED else " by somebody else"
