"""Money, scores and times: exact and aware, in the database as in Python."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from core.errors import AtomError
from core.models import AgentRegistry, User, Workspace
from core.types import ExactDecimal, NotExact, NotExactInSQL, UtcDateTime
from ecommerce.models import Store
from saas.models import SaaSTier
from saas.rates import OverageRates
from sqlalchemy import (
    Integer,
    String,
    case,
    cast,
    func,
    literal,
    null,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session

SQLITE: Dialect = sqlite.dialect()
POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
PRICE, UNITS = SaaSTier.base_price, SaaSTier.included_units
MONEY = ExactDecimal(14, 2)
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def tier(name: str, price: str) -> SaaSTier:
    return SaaSTier(name=name, base_price=Decimal(price), overage_rates=OverageRates.of((None, 0)))


class TestExactDecimal:
    def test_it_is_a_scaled_integer_on_sqlite_and_numeric_on_postgresql(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        kind, stored = {
            "sqlite": ("typeof", ("integer", 4900)),
            "postgresql": ("pg_typeof", ("numeric", Decimal("0.4900"))),
        }[db_session.get_bind().dialect.name]

        found = db_session.execute(
            text(
                f"SELECT CAST({kind}(confidence_score) AS VARCHAR), confidence_score "
                "FROM agent_registry"
            )
        ).one()

        assert tuple(found) == stored

    def test_it_has_its_precision_and_scale_on_postgresql(self) -> None:
        column = ExactDecimal(14, 2)

        assert column.dialect_impl(POSTGRESQL).compile(dialect=POSTGRESQL) == "NUMERIC(14, 2)"
        assert column.process_bind_param(Decimal("1.5"), POSTGRESQL) == Decimal("1.50")

    def test_it_has_no_more_digits_than_a_64_bit_integer(self) -> None:
        assert ExactDecimal(18, 4).precision == 18
        with pytest.raises(ValueError, match="64-bit"):
            ExactDecimal(19, 4)

    def test_what_a_float_would_spoil_stays_exact(self, db_session: Session) -> None:
        db_session.add_all([tier("a", "0.10"), tier("b", "0.20"), tier("c", "999999999999.99")])
        db_session.commit()

        prices = db_session.scalars(select(SaaSTier.base_price).order_by(SaaSTier.name)).all()
        total = db_session.scalar(select(func.sum(SaaSTier.base_price)))

        assert prices == [Decimal("0.10"), Decimal("0.20"), Decimal("999999999999.99")]
        assert total == Decimal("1000000000000.29")

    def test_it_adds_and_compares_in_sql(self, db_session: Session) -> None:
        db_session.add_all([tier("a", "0.10"), tier("b", "0.30")])
        db_session.flush()

        db_session.execute(update(SaaSTier).values(base_price=SaaSTier.base_price + Decimal("0.1")))
        cheap = db_session.scalars(select(SaaSTier).where(SaaSTier.base_price < Decimal("0.4")))

        assert [(each.name, each.base_price) for each in cheap] == [("a", Decimal("0.20"))]

    @pytest.mark.parametrize(
        "asked",
        [
            lambda: PRICE * 2,
            lambda: 2 * PRICE,
            lambda: PRICE / 2,
            lambda: PRICE // 2,
            lambda: PRICE % 2,
            lambda: PRICE * PRICE,
            lambda: func.sum(PRICE) / 3,
            lambda: PRICE.op("^")(2),
            lambda: PRICE.bitwise_and(1),
            lambda: PRICE.like("1%"),
            lambda: PRICE.concat("1"),
            lambda: PRICE + UNITS,
            lambda: PRICE < UNITS,
            lambda: PRICE.between(UNITS, UNITS),
            lambda: PRICE.in_(select(UNITS)),
            lambda: literal(5) == PRICE,
            lambda: func.length(SaaSTier.name) == PRICE,
            lambda: literal(5) < PRICE,
            lambda: func.length(SaaSTier.name) + PRICE,
            lambda: func.avg(PRICE),
            lambda: func.round(PRICE),
            lambda: func.abs(PRICE),
            lambda: func.total(PRICE),
            lambda: func.group_concat(PRICE),
            lambda: func.nullif(PRICE, PRICE),
            lambda: func.lower(PRICE),
            lambda: func.sqrt(func.sum(PRICE)),
            lambda: func.coalesce(PRICE, 1),
            lambda: func.coalesce(PRICE, UNITS),
            lambda: func.max(PRICE, 1),
            lambda: case((SaaSTier.name == "a", PRICE), else_=1),
            lambda: case((SaaSTier.name == "a", 1), else_=PRICE),
            lambda: cast(PRICE, Integer),
            lambda: cast(PRICE, String),
            lambda: cast(SaaSTier.name, ExactDecimal(14, 2)),
            lambda: type_coerce(PRICE, Integer),
        ],
    )
    def test_what_would_be_done_to_the_scaled_integer_is_refused(
        self, db_session: Session, asked: Callable[[], Any]
    ) -> None:
        db_session.add(tier("a", "2.50"))
        db_session.flush()

        with pytest.raises(NotExactInSQL, match="belongs in Python"):
            db_session.scalars(select(asked())).all()

    @pytest.mark.parametrize(
        ("asked", "answer"),
        [
            (lambda: func.sum(PRICE), "3.00"),
            (lambda: func.min(PRICE), "0.50"),
            (lambda: func.max(PRICE), "2.50"),
            (lambda: func.max(PRICE) - func.min(PRICE), "2.00"),
            (lambda: func.max(-PRICE), "-0.50"),
            (lambda: func.sum(PRICE + PRICE - 1), "4.00"),
            (lambda: func.sum(PRICE.distinct()), "3.00"),
            (lambda: func.count(PRICE.distinct()), 2),
            (lambda: func.sum(func.coalesce(null(), PRICE)), "3.00"),
            (lambda: func.sum(case((PRICE > 1, PRICE), else_=null())), "2.50"),
            (lambda: func.coalesce(literal(0.49, MONEY), PRICE), "0.49"),
            (lambda: func.count().filter(PRICE.between(0.5, 1)), 1),
            (lambda: func.count().filter(PRICE.in_([Decimal("2.5"), 7])), 1),
            (lambda: func.count().filter(select(func.max(PRICE)).scalar_subquery() == PRICE), 1),
            (lambda: func.count().filter(PRICE.is_not(None)), 2),
            (lambda: func.count().filter(PRICE > 1), 1),
        ],
    )
    def test_what_is_exact_on_a_scaled_integer_is_done(
        self, db_session: Session, asked: Callable[[], Any], answer: Any
    ) -> None:
        db_session.add_all([tier("a", "2.50"), tier("b", "0.50")])
        db_session.flush()

        found = db_session.scalar(select(asked()))

        assert found == (Decimal(answer) if isinstance(answer, str) else answer)

    @pytest.mark.parametrize("value", ["0.5", True, 1j, object()])
    def test_what_is_no_number_is_refused(self, value: object) -> None:
        with pytest.raises(NotExact, match="not exact"):
            ExactDecimal(5, 4).process_bind_param(value, SQLITE)

    @pytest.mark.parametrize("value", ["0.00001", "10", "-10", "NaN", "sNaN", "Infinity", "1e30"])
    @pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL])
    def test_what_does_not_fit_is_refused_and_never_rounded(
        self, value: str, dialect: Dialect
    ) -> None:
        with pytest.raises(NotExact, match=r"does not fit|not finite"):
            ExactDecimal(5, 4).process_bind_param(Decimal(value), dialect)

    @pytest.mark.parametrize("value", [0.49, 0.1, 1e-4, -0.07, 3.0])
    def test_a_float_is_what_it_prints(self, value: float) -> None:
        assert ExactDecimal(5, 4).exact(value) == Decimal(repr(value))

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.1 + 0.2, 1e300])
    def test_a_float_that_does_not_fit_is_refused(self, db_session: Session, value: float) -> None:
        db_session.add(tier("a", "1"))
        db_session.flush()

        with pytest.raises(NotExact, match=r"does not fit|not finite") as caught:
            db_session.execute(update(SaaSTier).values(base_price=value))

        assert isinstance(caught.value, AtomError)

    def test_a_float_reads_back_as_the_decimal(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        atom.confidence_score = 0.49  # type: ignore[assignment]
        db_session.commit()

        assert atom.confidence_score == Decimal("0.49")

    def test_what_something_else_has_written_is_no_number_by_itself(self) -> None:
        with pytest.raises(NotExact, match="no scaled integer"):
            ExactDecimal(5, 4).process_result_value(0.5, SQLITE)

    @pytest.mark.parametrize("score", ["-0.0001", "1.0001"])
    def test_the_database_refuses_a_score_outside_0_and_1(
        self, atom: AgentRegistry, db_session: Session, score: str
    ) -> None:
        atom.confidence_score = Decimal(score)

        with pytest.raises(IntegrityError, match="confidence_score"):
            db_session.flush()


class TestUtcDateTime:
    def test_a_time_reads_back_aware(self, workspace: Workspace, db_session: Session) -> None:
        workspace.created_at = NOON
        db_session.commit()

        assert workspace.created_at == NOON
        assert workspace.created_at.tzinfo is UTC

    def test_a_time_of_another_zone_is_the_same_moment(
        self, workspace: Workspace, db_session: Session
    ) -> None:
        workspace.created_at = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
        db_session.commit()

        in_utc = {
            "sqlite": "created_at",
            "postgresql": "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
        }[db_session.get_bind().dialect.name]
        stored = db_session.scalar(text(f"SELECT {in_utc} FROM workspaces"))
        assert stored == "2026-03-01 12:00:00.123456"
        assert workspace.created_at == NOON

    def test_a_naive_time_is_refused(self, workspace: Workspace, db_session: Session) -> None:
        workspace.created_at = NOON.replace(tzinfo=None)

        with pytest.raises(StatementError, match="no time zone"):
            db_session.flush()

    def test_postgresql_is_given_aware_times(self) -> None:
        bound = UtcDateTime().process_bind_param(NOON, POSTGRESQL)

        assert bound == NOON
        assert bound is not None
        assert bound.tzinfo is UTC


class TestConstraints:
    def test_foreign_keys_are_enforced(self, db_session: Session) -> None:
        db_session.add(Store(workspace_id="nowhere", name="Shop"))

        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            db_session.flush()

    def test_an_enum_is_stored_as_its_short_lower_case_value(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        assert db_session.scalar(text("SELECT status FROM agent_registry")) == "student"

    @pytest.mark.parametrize(
        ("statement", "constraint"),
        [
            ("UPDATE agent_registry SET status = 'STUDENT'", "ck_agent_registry_status"),
            ("UPDATE agent_registry SET status_floor = 'paused'", "ck_agent_registry_status_floor"),
            ("UPDATE ecommerce_subscriptions SET status = ''", "ck_ecommerce_subscriptions_status"),
        ],
    )
    def test_the_database_refuses_a_value_that_is_not_in_the_enum(
        self, atom: AgentRegistry, db_session: Session, statement: str, constraint: str
    ) -> None:
        with pytest.raises(IntegrityError, match=constraint):
            db_session.execute(text(statement))

    def test_an_agent_is_unique_in_its_workspace(
        self, atom: AgentRegistry, db_session: Session
    ) -> None:
        names = {key: getattr(atom, key) for key in ("name", "module_path", "class_name")}
        db_session.add(AgentRegistry(workspace=atom.workspace, category="other", **names))

        with pytest.raises(IntegrityError, match=r"(?i)unique"):
            db_session.flush()

    def test_keys_are_random_uuids(self, workspace: Workspace, db_session: Session) -> None:
        users = [User(workspace=workspace, email=f"{name}@example.com", name=name) for name in "ab"]
        db_session.add_all(users)
        db_session.flush()

        assert len({user.id for user in users}) == 2
        assert {len(user.id) for user in users} == {36}
