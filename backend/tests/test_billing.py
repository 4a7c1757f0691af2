"""What periods cost, to the cent."""

import json
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from typing import Any

import pytest
from core.base import Base
from core.models import Workspace
from core.types import NotExact
from ecommerce.models import Subscription
from ecommerce.subscriptions import SubscriptionService
from saas.billing import amount_due, calculate
from saas.metering import NegativeQuantity, UsageMeter
from saas.models import SaaSTier
from saas.rates import InvalidRates, OverageRates, OverageRatesType
from sqlalchemy import JSON, literal, select, update
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session

STEPS = OverageRates.of((500, "0.01"), (None, "0.005"))
FLAT = OverageRates.of((None, "0.50"))


def subscription(included: int, rates: OverageRates, base: str = "100.00") -> Subscription:
    tier = SaaSTier(base_price=Decimal(base), included_units=Decimal(included))
    tier.overage_rates = rates
    return Subscription(tier=tier)


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        (0, "100.00"),
        (1000, "100.00"),
        (1001, "100.01"),
        (1200, "102.00"),
        (1500, "105.00"),
        (1501, "105.01"),
        (1600, "105.50"),
    ],
)
def test_the_overage_is_priced_step_by_step(usage: int, price: str) -> None:
    assert calculate(subscription(1000, STEPS), usage) == Decimal(price)


def test_150_with_100_included_at_050_on_a_base_of_100_come_to_125() -> None:
    assert calculate(subscription(100, FLAT), 150) == Decimal("125.00")


def test_three_steps_apply_in_order() -> None:
    rates = OverageRates.of((10, 3), (20, 2), (None, 1))

    assert calculate(subscription(0, rates, "0"), 25) == 10 * 3 + 10 * 2 + 5 * 1


EVERY_TRAP = Context(prec=5)
for signal in EVERY_TRAP.traps:
    EVERY_TRAP.traps[signal] = True
CONTEXTS = {
    "six digits": Context(prec=6),
    "one digit, downwards": Context(prec=1, rounding=ROUND_DOWN),
    "small exponents": Context(prec=9, Emax=3, Emin=-3, clamp=1),
    "no traps": Context(prec=3, traps=[]),
    "every trap": EVERY_TRAP,
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_context_in_which_the_caller_reckons_changes_no_money(
    workspace: Workspace, db_session: Session, context: str
) -> None:
    plan = db_session.scalars(select(Subscription)).one()
    rates = OverageRates.of((1000, "0.0012345"), (None, "0.0000678"))
    prices = SaaSTier.base_price, SaaSTier.included_units
    used = Decimal("12345678901234.5678")

    with localcontext(CONTEXTS[context]):
        plan.tier = SaaSTier(
            name="t", base_price=Decimal("1234567.89"), included_units=0.0001, overage_rates=rates
        )
        db_session.flush()
        UsageMeter(db_session).record(plan.id, plan.tier.billed_event_type, used, "key-1")
        db_session.expire_all()
        read = db_session.execute(select(*prices).where(SaaSTier.name == "t")).one()
        due = amount_due(db_session, plan), calculate(plan, used), rates.price(used)
        canceled = SubscriptionService(db_session).cancel(plan.id, "somebody")
        billed = [(invoice.used, invoice.amount) for invoice in canceled.invoices]

    assert tuple(read) == (Decimal("1234567.89"), Decimal("0.0001"))
    price = Decimal("838271598.56")
    assert due == (price, price, Decimal("837037030.67040369684"))
    assert billed == [(used, price)]


@pytest.mark.parametrize(("usage", "price"), [("1500.9", "105.00"), ("1501", "105.01")])
def test_a_price_is_rounded_once_half_a_cent_upwards(usage: str, price: str) -> None:
    assert calculate(subscription(1000, STEPS), Decimal(usage)) == Decimal(price)


def test_negative_usage_has_no_price() -> None:
    with pytest.raises(NegativeQuantity):
        calculate(subscription(0, FLAT), -1)


@pytest.mark.parametrize("usage", [float("nan"), Decimal("Infinity"), None])
def test_what_is_no_number_has_no_price(usage: Any) -> None:
    with pytest.raises(NotExact):
        calculate(subscription(0, FLAT), usage)


def test_what_is_due_comes_from_the_events_of_the_period(
    workspace: Workspace, db_session: Session
) -> None:
    plan = db_session.scalars(select(Subscription)).one()
    plan.tier.included_units, plan.tier.overage_rates = Decimal(1000), STEPS
    meter = UsageMeter(db_session)
    meter.record(plan.id, "api_call", 900, "key-1")
    meter.record(plan.id, "api_call", 700, "key-2")
    meter.record(plan.id, "agent_execution", 5000, "key-3")

    assert amount_due(db_session, plan) == Decimal("105.50")


class TestCurrency:
    def test_a_tier_has_a_currency(self, db_session: Session) -> None:
        dear = SaaSTier(name="dear", base_price=1, overage_rates=FLAT, currency="CHF")
        plain = SaaSTier(name="plain", base_price=1, overage_rates=FLAT)
        db_session.add_all([dear, plain])
        db_session.commit()

        assert (dear.currency, plain.currency) == ("CHF", "EUR")

    @pytest.mark.parametrize("currency", ["eur", "EU", "", None])
    def test_a_currency_is_three_capital_letters(
        self, db_session: Session, currency: str | None
    ) -> None:
        tier = SaaSTier(name="odd", base_price=1, overage_rates=FLAT, currency="EUR")
        db_session.add(tier)
        db_session.flush()
        tier.currency = currency  # type: ignore[assignment]

        with pytest.raises(IntegrityError, match="currency"):
            db_session.flush()


class TestRates:
    @pytest.mark.parametrize(
        ("steps", "problem"),
        [
            ([], "are empty"),
            ([(500, "0.01")], "end closed, at 500 units"),
            ([(None, "0.01"), (500, "0.005")], "end closed, at 500 units"),
            ([(None, "0.01"), (None, "0.005")], "are not in ascending order"),
            ([(500, "0.01"), (500, "0.01"), (None, "0.005")], "are not in ascending order"),
            ([(500, "0.01"), (400, "0.01"), (None, "0.005")], "are not in ascending order"),
            ([(5, "1"), (7, "1"), (6, "1"), (None, "1")], "are not in ascending order"),
            ([(0, "0.01"), (None, "0.005")], "are not in ascending order"),
            ([(500, "-0.01"), (None, "0.005")], "contain a negative rate"),
            ([(500, "0.01"), (None, "-0.005")], "contain a negative rate"),
            ([(500, 0.01), (None, "0.005")], "contain a float, which is not exact"),
            ([(500.5, "0.01"), (None, "0.005")], "contain a float, which is not exact"),
            ([("many", "0.01"), (None, "0.005")], "contain what is no number: 'many', '0.01'"),
            ([(None, "much")], "contain what is no number: None, 'much'"),
            ([(None, None)], "contain what is no number: None, None"),
            ([(None, [1])], "contain what is no number: None, [1]"),
            ([({}, "1"), (None, "1")], "contain what is no number: {}, '1'"),
            ([(None, True)], "contain what is no number: None, True"),
            ([(True, "1"), (None, "1")], "contain what is no number: True, '1'"),
            ([(500, "0.01"), (None, "NaN")], "contain NaN or infinity"),
            ([(500, "Infinity"), (None, "1")], "contain NaN or infinity"),
            ([("NaN", "0.01"), (None, "0.005")], "contain NaN or infinity"),
            ([("Infinity", "0.01"), (None, "0.005")], "contain NaN or infinity"),
        ],
    )
    def test_rates_that_cannot_price_everything_are_refused(
        self, steps: list[tuple[Any, Any]], problem: str
    ) -> None:
        with pytest.raises(InvalidRates) as caught:
            OverageRates.of(*steps)

        assert str(caught.value) == f"overage rates {problem}"
        assert caught.value.problem == problem

    @pytest.mark.parametrize(
        ("overage", "price"),
        [
            ("-1", "0"),
            ("0", "0"),
            ("0.5", "0.5"),
            ("10", "10"),
            ("11", "12"),
            ("20", "30"),
            ("20.5", "30"),
            ("100", "30"),
        ],
    )
    def test_each_step_has_its_own_price_and_the_last_may_be_free(
        self, overage: str, price: str
    ) -> None:
        rates = OverageRates.of((10, 1), (20, 2), (None, 0))

        assert rates.price(Decimal(overage)) == Decimal(price)

    @pytest.mark.parametrize(
        "stored",
        ["{}", "7", '"free"', "[7]", "[[]]", "[null]", '[{"rate": "1"}]', '[{"up_to": null}]'],
    )
    def test_rows_that_hold_no_rates_are_told_as_that(
        self, workspace: Workspace, db_session: Session, stored: str
    ) -> None:
        somebody = update(Base.metadata.tables["saas_tiers"])
        db_session.execute(somebody.values(overage_rates=literal(json.loads(stored), JSON)))
        db_session.expire_all()

        with pytest.raises(InvalidRates, match=r"^overage rates are (no list of steps: |empty)"):
            db_session.scalars(select(SaaSTier)).one()

    def test_rates_are_text_in_json_and_come_back(self) -> None:
        assert STEPS.as_json() == [
            {"up_to": "500", "rate": "0.01"},
            {"up_to": None, "rate": "0.005"},
        ]
        assert OverageRates.from_json(STEPS.as_json()) == STEPS

    def test_no_rates_are_stored_as_none(self, db_session: Session) -> None:
        kind, dialect = OverageRatesType(), db_session.get_bind().dialect

        assert kind.process_bind_param(None, dialect) is None
        assert kind.process_result_value(None, dialect) is None
        assert kind.process_bind_param(STEPS, dialect) == STEPS.as_json()
        assert kind.process_result_value(STEPS.as_json(), dialect) == STEPS

    def test_a_step_may_end_at_the_first_unit(self) -> None:
        rates = OverageRates.of((1, "0.01"), (None, "0.005"))

        assert [step.up_to for step in rates.steps] == [1, None]

    def test_a_list_that_ends_closed_is_refused_when_saved(self, db_session: Session) -> None:
        tier = SaaSTier(name="closed", base_price=Decimal(1))
        tier.overage_rates = [{"up_to": "500", "rate": "0.01"}]  # type: ignore[assignment]
        db_session.add(tier)

        with pytest.raises(StatementError, match="overage rates") as caught:
            db_session.flush()

        assert isinstance(caught.value.orig, InvalidRates)
        assert str(caught.value.orig) == "overage rates must be OverageRates, not list"

    def test_rates_read_back_exactly(self, db_session: Session) -> None:
        tier = SaaSTier(name="exact", base_price=Decimal("0.10"), overage_rates=STEPS)
        db_session.add(tier)
        db_session.commit()

        assert tier.overage_rates == STEPS
        assert tier.base_price == Decimal("0.10")


class TestATier:
    def test_has_what_it_was_not_given(self, db_session: Session) -> None:
        tier = SaaSTier(name="plain", base_price=1, overage_rates=FLAT)
        db_session.add(tier)
        db_session.commit()

        assert (tier.billed_event_type, tier.included_units) == ("api_call", 0)

    @pytest.mark.parametrize("name", ["base_price", "included_units"])
    def test_is_not_below_zero(self, db_session: Session, name: str) -> None:
        db_session.add(SaaSTier(**{"name": "odd", "base_price": 1, "overage_rates": FLAT, name: 0}))
        db_session.flush()
        other = {"name": "other", "base_price": 1, "overage_rates": FLAT, name: Decimal(-1)}
        db_session.add(SaaSTier(**other))

        with pytest.raises(IntegrityError, match=name):
            db_session.flush()

    def test_has_a_name_of_its_own(self, db_session: Session) -> None:
        for _ in range(2):
            db_session.add(SaaSTier(name="same", base_price=1, overage_rates=FLAT))

        with pytest.raises(IntegrityError, match="name"):
            db_session.flush()


def test_what_is_due_is_of_the_current_period_and_no_later_one(
    workspace: Workspace, db_session: Session
) -> None:
    plan = db_session.scalars(select(Subscription)).one()
    plan.tier.overage_rates = FLAT
    for moment in (plan.current_period_start, plan.current_period_end):
        UsageMeter(db_session, clock=lambda at=moment: at).record(  # type: ignore[misc]
            plan.id, plan.tier.billed_event_type, 10, str(moment)
        )

    assert amount_due(db_session, plan) == Decimal("105.00")
