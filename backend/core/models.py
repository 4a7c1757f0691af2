"""Workspaces, people, agents, and what agents did."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.clock import utc_now
from core.database import Base, new_id
from core.documents import Document
from core.maturity import AgentStatus
from core.types import ExactDecimal, FreeText, UtcDateTime, lowercase_enum

DEFAULT_WORKSPACE = "default"

Score = ExactDecimal(5, 4)


class UserRole(StrEnum):
    """What a person may decide."""

    SUPER_ADMIN = "super_admin"
    WORKSPACE_ADMIN = "workspace_admin"
    MEMBER = "member"


class ExecutionStatus(StrEnum):
    """How far a run has come, or how it ended."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    MAX_STEPS_EXCEEDED = "max_steps_exceeded"
    REJECTED = "rejected"
    INTERRUPTED = "interrupted"


class AgentTriggerMode(StrEnum):
    """What started a run."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    EVENT = "event"
    DELEGATED = "delegated"


class StepKind(StrEnum):
    """What the model's reply turned out to be."""

    ACTION = "action"
    FINAL = "final"
    INVALID = "invalid"


class FeedbackStatus(StrEnum):
    """Whether a correction counts yet."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class ApprovalStatus(StrEnum):
    """Where a request for approval stands; all but pending are final."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Workspace(Base):
    """A company's own corner of Atom."""

    __tablename__ = "workspaces"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, onupdate=utc_now)


def default_workspace(context: DefaultExecutionContext) -> str:
    """The workspace of who names none; it is made in the same transaction if it is not there."""
    insert = sqlite.insert if context.dialect.name == "sqlite" else postgresql.insert
    row = insert(Workspace).values(id=DEFAULT_WORKSPACE, name=DEFAULT_WORKSPACE)
    context.root_connection.execute(row.on_conflict_do_nothing())
    return DEFAULT_WORKSPACE


class User(Base):
    """A person who works in a workspace."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), index=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[UserRole] = mapped_column(
        lowercase_enum(UserRole, "role"), default=UserRole.MEMBER
    )
    specialty: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    workspace: Mapped[Workspace] = relationship()


class AgentRegistry(Base):
    """An agent, and how much it is trusted."""

    __tablename__ = "agent_registry"
    __table_args__ = (
        UniqueConstraint("workspace_id", "module_path", "class_name", "name"),
        Index(None, "workspace_id", "name"),
        Index(None, "workspace_id", "category"),
        Index(None, "workspace_id", "status"),
        CheckConstraint("confidence_score BETWEEN 0 AND 10000", name="confidence_score").ddl_if(
            dialect="sqlite"
        ),
        CheckConstraint("confidence_score BETWEEN 0 AND 1", name="confidence_score").ddl_if(
            dialect="postgresql"
        ),
        CheckConstraint(
            "status_floor IN ('student', 'intern', 'supervised', 'autonomous')",
            name="status_floor",
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id"), default=default_workspace
    )
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str | None] = mapped_column(Text)
    category: Mapped[str] = mapped_column(String(100))
    module_path: Mapped[str] = mapped_column(String(200))
    class_name: Mapped[str] = mapped_column(String(200))
    status: Mapped[AgentStatus] = mapped_column(
        lowercase_enum(AgentStatus, "status"), default=AgentStatus.STUDENT
    )
    confidence_score: Mapped[Decimal | None] = mapped_column(Score)
    status_floor: Mapped[AgentStatus | None] = mapped_column(
        lowercase_enum(AgentStatus, "status_floor", create_constraint=False)
    )
    version: Mapped[str] = mapped_column(String(50), default="1.0.0")
    configuration: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, onupdate=utc_now)

    workspace: Mapped[Workspace] = relationship()


class AgentExecution(Base):
    """One run of an agent, from request to answer."""

    __tablename__ = "agent_executions"
    __table_args__ = (Index(None, "workspace_id", "status"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), index=True)
    agent_id: Mapped[str] = mapped_column(ForeignKey("agent_registry.id"), index=True)
    process: Mapped[str | None] = mapped_column(String(400))
    parent_execution_id: Mapped[str | None] = mapped_column(
        ForeignKey("agent_executions.id"), index=True
    )
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    request: Mapped[str] = mapped_column(FreeText)
    trigger_mode: Mapped[AgentTriggerMode] = mapped_column(
        lowercase_enum(AgentTriggerMode, "trigger_mode"), default=AgentTriggerMode.MANUAL
    )
    status: Mapped[ExecutionStatus] = mapped_column(
        lowercase_enum(ExecutionStatus, "status"), default=ExecutionStatus.RUNNING
    )
    final_output: Mapped[str | None] = mapped_column(FreeText)
    failure_reason: Mapped[str | None] = mapped_column(FreeText)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    counts: Mapped[bool] = mapped_column(default=True)
    outcome_recorded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    agent: Mapped[AgentRegistry] = relationship()
    steps: Mapped[list["AgentReasoningStep"]] = relationship(
        back_populates="execution", order_by="AgentReasoningStep.step_number"
    )


class AgentReasoningStep(Base):
    """One turn of a run: what the model said, and what came of it."""

    __tablename__ = "agent_reasoning_steps"
    __table_args__ = (UniqueConstraint("execution_id", "step_number"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    execution_id: Mapped[str] = mapped_column(ForeignKey("agent_executions.id"))
    step_number: Mapped[int]
    kind: Mapped[StepKind] = mapped_column(lowercase_enum(StepKind, "kind"))
    thought: Mapped[str] = mapped_column(FreeText, default="")
    action: Mapped[str | None] = mapped_column(String(200))
    action_input: Mapped[dict[str, Any] | None] = mapped_column(Document(none_as_null=True))
    observation: Mapped[str | None] = mapped_column(FreeText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

    execution: Mapped[AgentExecution] = relationship(back_populates="steps")


class AgentFeedback(Base):
    """A person's correction of something an agent said."""

    __tablename__ = "agent_feedback"
    __table_args__ = (
        CheckConstraint("rating BETWEEN 1 AND 5", name="rating"),
        Index(None, "status", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    agent_id: Mapped[str] = mapped_column(ForeignKey("agent_registry.id"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    original_output: Mapped[str] = mapped_column(FreeText)
    user_correction: Mapped[str] = mapped_column(FreeText)
    rating: Mapped[int | None]
    status: Mapped[FeedbackStatus] = mapped_column(
        lowercase_enum(FeedbackStatus, "status"), default=FeedbackStatus.PENDING
    )
    reviewer_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    reviewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class HITLAction(Base):
    """An action that waits for a human in the loop to decide."""

    __tablename__ = "hitl_actions"
    __table_args__ = (Index(None, "workspace_id", "status", "expires_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"))
    agent_id: Mapped[str] = mapped_column(ForeignKey("agent_registry.id"), index=True)
    execution_id: Mapped[str | None] = mapped_column(ForeignKey("agent_executions.id"), index=True)
    action_type: Mapped[str] = mapped_column(String(200))
    params: Mapped[dict[str, Any]] = mapped_column(Document, default=dict)
    reason: Mapped[str] = mapped_column(FreeText)
    thought: Mapped[str] = mapped_column(FreeText, default="")
    status: Mapped[ApprovalStatus] = mapped_column(
        lowercase_enum(ApprovalStatus, "status"), default=ApprovalStatus.PENDING
    )
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reviewer_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    reviewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
