"""What governance needs of whoever bills for runs."""

from typing import Protocol


class Meter(Protocol):
    """Counts runs of agents against what a workspace subscribes to."""

    def record_run(self, workspace_id: str, run_id: str) -> object:
        """Count a run, once for each `run_id`, in the transaction of the meter's session."""
        ...
