"""Money, scores and times: exact and aware, in the database as in Python."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from core.database import Base
from core.errors import AtomError
from core.inserts import insert_for
from core.models import AgentRegistry, User, Workspace
from core.types import ExactDecimal, NotExact, NotExactInSQL, NotUtcInSQL, UtcDateTime
from ecommerce.models import Store, Subscription
from saas.models import SaaSTier
from saas.rates import OverageRates
from sqlalchemy import (
    Date,
    Integer,
    String,
    bindparam,
    case,
    cast,
    except_,
    extract,
    func,
    insert,
    intersect,
    literal,
    null,
    select,
    text,
    tuple_,
    type_coerce,
    union,
    union_all,
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
TWO_AND_A_HALF = literal(2.5, MONEY)
TIERS = Base.metadata.tables["saas_tiers"]
START, ENDED = Subscription.current_period_start, Subscription.canceled_at
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
            lambda: 2 * TIERS.c.base_price,
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

    def test_what_stands_beside_an_exact_number_is_one_of_its_scale(
        self, db_session: Session
    ) -> None:
        half, name = literal(0.5), SaaSTier.name
        recursive = select(PRICE).cte(recursive=True)
        asked: dict[str, Callable[[], Any]] = {
            "CASE of one": lambda: select(case({Decimal("0.5"): "half"}, value=PRICE)),
            "CASE of a float": lambda: select(case({0.5: "half"}, value=PRICE)),
            "CASE when one": lambda: select(case({PRICE: "half"}, value=half)),
            "UNION": lambda: select(union_all(select(PRICE), select(UNITS)).subquery()),
            "UNION, the other way": lambda: select(union(select(UNITS), select(PRICE)).subquery()),
            "UNION with a number": lambda: select(union(select(PRICE), select(half)).subquery()),
            "UNION after a text": lambda: union(
                select(text("name"), PRICE).select_from(SaaSTier), select(name, UNITS)
            ),
            "UNION of unions": lambda: select(
                union(select(PRICE), union(select(PRICE), select(UNITS))).subquery()
            ),
            "UNION of several": lambda: union(
                select(SaaSTier.id, PRICE), select(SaaSTier.id, half)
            ),
            "EXCEPT": lambda: select(except_(select(half), select(PRICE)).subquery()),
            "INTERSECT": lambda: select(intersect(select(half), select(PRICE)).subquery()),
            "a recursive UNION": lambda: select(recursive.union_all(select(UNITS))),
            "BETWEEN": lambda: select(half.between(PRICE, PRICE)),
            "BETWEEN, the other way": lambda: select(PRICE.between(half, PRICE)),
            "NOT BETWEEN": lambda: select(~half.between(PRICE, PRICE)),
            "IN": lambda: select(half.in_([PRICE])),
            "IN, the other way": lambda: select(PRICE.in_([PRICE, half])),
            "IN a query": lambda: select(half.in_(select(PRICE))),
            "a tuple": lambda: select(tuple_(PRICE) > tuple_(half)),
            "a tuple's other place": lambda: select(tuple_(name, half) == tuple_(name, PRICE)),
            "a tuple IN tuples": lambda: select(tuple_(PRICE, name).in_([tuple_(half, name)])),
            "a tuple IN a query": lambda: select(tuple_(PRICE, name).in_(select(half, name))),
            "a parameter": lambda: select(bindparam("given") == PRICE).params(given=0.5),
            "a parameter's multiple": lambda: select(bindparam("given") * PRICE).params(given=2),
            "a parameter without a value": lambda: select(bindparam("given", None) == PRICE),
            "an assignment": lambda: update(SaaSTier).values(base_price=literal(1)),
            "an assignment in order": lambda: update(SaaSTier).ordered_values((PRICE, literal(1))),
            "an assignment in a table": lambda: update(TIERS).values(base_price=half),
            "an assignment of another scale": lambda: update(SaaSTier).values(base_price=UNITS),
            "an assignment to no number": lambda: update(SaaSTier).values(name=PRICE),
            "an INSERT": lambda: insert(SaaSTier).values(name="x", base_price=half),
            "an INSERT of rows": lambda: insert(SaaSTier).values([{"base_price": half}]),
            "an INSERT from SELECT": lambda: insert(SaaSTier).from_select(
                ["name", "base_price"], select(name, half)
            ),
            "an INSERT that may update": lambda: (
                insert_for(db_session, SaaSTier)
                .values(name="a")
                .on_conflict_do_update(index_elements=["name"], set_={"base_price": half})
            ),
            "a window's range": lambda: select(
                func.count().over(order_by=PRICE, range_=(-1, 1)).label("n")
            ),
            "a window's range downwards": lambda: select(
                func.count().over(order_by=PRICE.desc(), range_=(-1, 1)).label("n")
            ),
            "a window's range, NULL last": lambda: select(
                func.count().over(order_by=PRICE.asc().nulls_last(), range_=(-1, 1)).label("n")
            ),
            "a median": lambda: select(func.percentile_cont(0.5).within_group(PRICE)),
            "a median downwards": lambda: select(
                func.percentile_cont(0.5).within_group(PRICE.desc().nulls_last())
            ),
            "a rank": lambda: select(func.rank(1).within_group(PRICE)),
        }

        assert not_refused(db_session, asked, NotExactInSQL) == []

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
            (lambda: func.count().filter(case({TWO_AND_A_HALF: True}, value=PRICE)), 1),
            (lambda: func.count().filter(TWO_AND_A_HALF.between(PRICE, PRICE)), 1),
            (lambda: func.count().filter(TWO_AND_A_HALF.in_([PRICE, null()])), 1),
            (lambda: func.count().filter(tuple_(PRICE, SaaSTier.name) == (2.5, "a")), 1),
            (lambda: func.count().filter(tuple_(PRICE, SaaSTier.name).in_([(2.5, "a")])), 1),
            (lambda: func.count().filter(tuple_(PRICE).in_(select(func.max(PRICE)))), 1),
            (lambda: func.count().filter(bindparam("given", 0.5, MONEY) == PRICE), 1),
            (lambda: func.sum(union_all(select(PRICE), select(PRICE)).subquery().c[0]), "6.00"),
            (lambda: func.sum(union_all(select(PRICE), select(null())).subquery().c[0]), "3.00"),
            (lambda: func.count(PRICE).over(order_by=PRICE, rows=(None, 0)), 1),
            (lambda: func.count(PRICE).over(order_by=SaaSTier.name, range_=(None, 0)), 1),
            (lambda: func.count(PRICE).over(range_=(None, 0)), 2),
        ],
    )
    def test_what_is_exact_on_a_scaled_integer_is_done(
        self, db_session: Session, asked: Callable[[], Any], answer: Any
    ) -> None:
        db_session.add_all([tier("a", "2.50"), tier("b", "0.50")])
        db_session.flush()

        found = db_session.scalar(select(asked()))

        assert found == (Decimal(answer) if isinstance(answer, str) else answer)

    def test_what_is_assigned_is_exact(self, db_session: Session) -> None:
        db_session.add_all([tier("a", "2.50"), tier("b", "0.50")])
        db_session.flush()
        row = select(
            literal("c"), func.max(PRICE) + 1, func.max(UNITS), func.max(SaaSTier.currency)
        )
        keys = ["name", "base_price", "included_units", "currency"]
        insert_again = insert_for(db_session, SaaSTier)

        for statement in (
            update(SaaSTier).where(SaaSTier.name == "a").values(base_price=TWO_AND_A_HALF),
            update(SaaSTier).where(SaaSTier.name == "b").values({PRICE: PRICE + 1, UNITS: 0.5}),
            insert(SaaSTier).from_select(
                [*keys, "id", "billed_event_type", "overage_rates", "created_at"],
                row.add_columns(
                    literal("c"),
                    literal("call"),
                    literal(OverageRates.of((None, 0)), SaaSTier.overage_rates.type),
                    literal(NOON, UtcDateTime()),
                ),
            ),
            insert_again.values(
                name="c", base_price=7, overage_rates=OverageRates.of((None, 0))
            ).on_conflict_do_update(
                index_elements=["name"], set_={"base_price": insert_again.excluded.base_price}
            ),
        ):
            db_session.execute(statement)

        found = db_session.execute(select(SaaSTier.name, PRICE).order_by(SaaSTier.name))
        assert [tuple(each) for each in found] == [
            ("a", Decimal("2.50")),
            ("b", Decimal("1.50")),
            ("c", Decimal(7)),
        ]

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

    def test_what_is_not_a_moment_beside_one_is_refused(self, db_session: Session) -> None:
        local = literal(NOON.astimezone(timezone(timedelta(hours=5))))
        asked: dict[str, Callable[[], Any]] = {
            "coalesce": lambda: select(func.coalesce(ENDED, local)),
            "coalesce with a naive one": lambda: select(
                func.coalesce(ENDED, NOON.replace(tzinfo=None))
            ),
            "max": lambda: select(func.max(START, local)),
            "nullif": lambda: select(func.nullif(START, local)),
            "CASE": lambda: select(case((ENDED.is_(None), local), else_=ENDED)),
            "CASE of one": lambda: select(case({NOON: "start"}, value=START)),
            "comparison": lambda: select(local >= START),
            "comparison, the other way": lambda: select(local <= START),
            "the database's clock": lambda: select(func.now() < START),
            "BETWEEN": lambda: select(local.between(START, ENDED)),
            "IN": lambda: select(local.in_([START])),
            "IN, the other way": lambda: select(START.in_([local])),
            "a tuple": lambda: select(tuple_(START, ENDED) == tuple_(START, local)),
            "UNION": lambda: select(union(select(START), select(local)).subquery()),
            "an assignment": lambda: update(Subscription).values(canceled_at=local),
            "later": lambda: select(START + timedelta(days=1)),
            "earlier": lambda: select(START - timedelta(days=1) < NOON),
            "difference": lambda: select(ENDED - START),
            "LIKE": lambda: select(START.like("2026%")),
        }

        assert not_refused(db_session, asked, NotUtcInSQL) == []
        with pytest.raises(NotUtcInSQL, match=r"beside a moment .* the type UtcDateTime"):
            db_session.execute(asked["coalesce"]())

    def test_what_gives_no_moment_is_refused(self, db_session: Session) -> None:
        other = select(START.label("start")).subquery().c.start
        asked: dict[str, Callable[[], Any]] = {
            "the month": lambda: select(extract("month", START)),
            "the hour, in a condition": lambda: select(Subscription.id).where(
                extract("hour", START) == 1
            ),
            "the day, of a subquery": lambda: select(extract("day", other)),
            "the day, of the greatest": lambda: select(extract("day", func.max(START))),
            "date()": lambda: select(func.date(START)),
            "date_trunc()": lambda: select(func.date_trunc("month", START)),
            "strftime()": lambda: select(func.strftime("%m", START)),
            "to_char()": lambda: select(func.to_char(START, "MM")),
            "date(), to group by": lambda: select(func.count()).group_by(func.date(START)),
            "a mean": lambda: select(func.avg(START)),
            "a sum": lambda: select(func.sum(START)),
            "a length": lambda: select(func.length(START)),
            "joined texts": lambda: select(func.aggregate_strings(START, ",")),
            "a cast to a date": lambda: select(cast(START, Date)),
            "a cast to a text": lambda: select(cast(START, String)),
            "a cast to a moment": lambda: select(cast(Subscription.id, UtcDateTime)),
            "another type": lambda: select(type_coerce(START, String)),
            "a text as a moment": lambda: select(type_coerce(Subscription.id, UtcDateTime)),
            "one before": lambda: select(func.lag(START).over(order_by=START)),
        }

        assert not_refused(db_session, asked, NotUtcInSQL) == []
        with pytest.raises(NotUtcInSQL, match=r"^the month of a moment is another one on SQLite"):
            db_session.execute(asked["the month"]())

    def test_moments_are_compared_and_ordered(
        self, workspace: Workspace, db_session: Session
    ) -> None:
        db_session.execute(update(Subscription).values(current_period_start=NOON))
        there, moment = NOON.astimezone(timezone(timedelta(hours=5))), UtcDateTime()
        later = literal(there + timedelta(seconds=1), moment)
        asked = {
            "comparison": there >= START,
            "BETWEEN": START.between(there, there),
            "BETWEEN, the other way": later.between(START, later),
            "IN": START.in_([there]),
            "a tuple": tuple_(START, Subscription.status) == (there, "active"),
            "coalesce": func.coalesce(ENDED, later) > START,
            "CASE": case((ENDED.is_(None), later), else_=ENDED) > START,
            "CASE of one": case({literal(there, moment): True}, value=START, else_=False),
            "NULL": func.coalesce(null(), START) == there,
            "UNION": START.in_(union(select(START), select(later))),
            "a value of the type": type_coerce(there, moment) == START,
            "a part of a date": extract("year", literal(NOON.date())) == NOON.year,
        }

        answers = {name: db_session.scalar(select(each)) for name, each in asked.items()}

        assert answers == dict.fromkeys(asked, True)
        assert db_session.scalar(select(func.max(START))) == NOON
        assert db_session.scalar(select(func.count(START.distinct()))) == 1

    @pytest.mark.parametrize("value", ["2026-03-01", 1, timedelta(days=1), NOON.date()])
    def test_what_is_no_time_is_refused(self, db_session: Session, value: object) -> None:
        with pytest.raises(StatementError, match="is no datetime"):
            db_session.scalars(select(value == START)).all()


def not_refused(
    db: Session, asked: dict[str, Callable[[], Any]], refusal: type[Exception]
) -> list[str]:
    """What of it the database was asked."""
    let_through = []
    for name, query in asked.items():
        try:
            db.execute(query())
        except refusal:
            continue
        let_through.append(name)
    return let_through


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
