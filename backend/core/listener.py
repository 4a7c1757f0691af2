"""Telling whoever started a run how it goes."""

import copy
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from core.errors import faults
from core.executions import Run

logger = logging.getLogger(__name__)

StepCallback = Callable[[dict[str, Any]], Awaitable[object] | object]


class Listener:
    """Passes events to a callback, a plain one or a coroutine function, each as its own copy."""

    def __init__(self, callback: StepCallback | None) -> None:
        self._callback = callback

    async def tell(self, run: Run, **event: Any) -> None:
        """Tell the callback; what it raises is logged and does not reach the run."""
        if self._callback is None:
            return
        about = {"execution_id": run.execution_id, "agent": run.agent_name, "depth": run.depth}
        try:
            answer = self._callback({**about, **copy.deepcopy(event)})
            if inspect.isawaitable(answer):
                await answer
        except faults():
            logger.exception("the step callback of execution %s failed", run.execution_id)
