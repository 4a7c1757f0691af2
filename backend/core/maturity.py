"""How far an agent has come, and what that lets it do."""

from enum import StrEnum


class AgentStatus(StrEnum):
    """Where an agent stands: a rung of the ladder, or off it."""

    STUDENT = "student"
    INTERN = "intern"
    SUPERVISED = "supervised"
    AUTONOMOUS = "autonomous"
    PAUSED = "paused"
    STOPPED = "stopped"
    DEPRECATED = "deprecated"
    DELETED = "deleted"


LADDER = (
    AgentStatus.STUDENT,
    AgentStatus.INTERN,
    AgentStatus.SUPERVISED,
    AgentStatus.AUTONOMOUS,
)
