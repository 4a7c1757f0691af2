"""What governance needs of whoever bills for runs."""

from importlib import import_module
from typing import Protocol, cast

from sqlalchemy.orm import Session


class Meter(Protocol):
    """Counts runs of agents against what a workspace subscribes to."""

    def record_run(self, workspace_id: str, run_id: str) -> object:
        """Count a run, once for each `run_id`, in the transaction of the meter's session."""
        ...


def default_meter(db: Session) -> Meter:
    """The meter of `saas`, imported when it is first needed: `core` does not depend on it."""
    return cast(Meter, import_module("saas.metering").UsageMeter(db))
