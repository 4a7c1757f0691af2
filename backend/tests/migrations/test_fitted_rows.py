"""Rows that break a constraint, when a revision adds it: it makes them fit by its own rule."""

from typing import Any, ClassVar

from .conftest import AT, Migrated

LATER = AT.replace("2026-01-01", "2026-01-02")


def copies(database: Migrated, table: str, rows: dict[str, dict[str, Any]]) -> None:
    """Rows like the one that `fill` made, but for their ids and what is given."""
    (model,) = (row for row in database.rows()[table] if row["id"] == "model")
    for key, values in rows.items():
        database.add(table, **{**model, "id": key, **values})


class TestApprovals:
    """0014: a known status, and a deadline."""

    ROWS = (
        ("0", "pending", "pending"),
        ("1", "PENDING", "pending"),
        ("2", " Approved ", "approved"),
        ("3", "rejected", "rejected"),
        ("4", "canceled", "expired"),
        ("5", "", "expired"),
        ("6", "  ", "expired"),
    )

    def test_a_status_is_one_of_the_four_or_expired_with_what_it_was_in_the_reason(
        self, database: Migrated
    ) -> None:
        database.upgrade("0013")
        database.fill("model")
        rows = {key: {"status": status, "reason": "why"} for key, status, _ in self.ROWS}
        copies(database, "hitl_actions", rows)

        database.upgrade()

        expected = [status for *_, status in self.ROWS] + ["pending"]
        assert database.column("hitl_actions", "status") == expected
        assert database.column("hitl_actions", "reason")[:7] == [
            *["why"] * 4,
            "why (its status was canceled)",
            *["why (its status was )"] * 2,
        ]

    def test_going_back_and_up_again_changes_nothing_more(self, database: Migrated) -> None:
        database.upgrade("0013")
        database.fill("model")
        rows = {key: {"status": status} for key, status, _ in self.ROWS}
        copies(database, "hitl_actions", rows)
        database.upgrade("0014")
        once = database.rows()["hitl_actions"]

        database.downgrade("0013")
        database.upgrade("0014")

        # The column that 0014 brings is empty again.
        assert database.rows()["hitl_actions"] == once


class TestUsageEvents:
    """0018: once for each key."""

    def filled(self, database: Migrated, **events: tuple[str | None, str, int, str]) -> None:
        database.upgrade("0016")
        database.fill("model")
        names = ("idempotency_key", "event_type", "quantity", "occurred_at")
        rows = {key: dict(zip(names, values, strict=True)) for key, values in events.items()}
        copies(database, "saas_usage_events", rows)

    def keys(self, database: Migrated) -> dict[str, str]:
        return {
            row["id"]: row["idempotency_key"]
            for row in database.rows()["saas_usage_events"]
            if row["id"] != "model"
        }

    def test_an_event_that_was_told_again_counts_once_as_the_first(
        self, database: Migrated
    ) -> None:
        self.filled(
            database,
            a=("key", "api_call", 1, LATER),
            b=("key", "api_call", 1, AT),
            c=("key", "api_call", 1, AT),
            d=("other", "api_call", 1, AT),
        )

        database.upgrade()

        assert self.keys(database) == {"b": "key", "d": "other"}

    def test_another_event_with_a_key_that_was_taken_stays(self, database: Migrated) -> None:
        self.filled(
            database,
            a=("key", "api_call", 1, AT),
            b=("key", "api_call", 2, LATER),
            c=("key", "upload", 1, LATER),
        )

        database.upgrade()

        assert self.keys(database) == {"a": "key", "b": "key:b", "c": "key:c"}

    def test_a_key_of_full_length_has_room_for_an_id(self, database: Migrated) -> None:
        long = "k" * 200
        self.filled(database, a=(long, "api_call", 1, AT), b=(long, "api_call", 2, AT))

        database.upgrade()

        assert self.keys(database) == {"a": long, "b": "k" * 163 + ":b"}

    def test_an_event_without_a_key_gives_way_to_one_whose_key_is_its_id(
        self, database: Migrated
    ) -> None:
        self.filled(database, a=(None, "api_call", 1, AT), b=("a", "api_call", 1, LATER))

        database.upgrade()

        assert self.keys(database) == {"a": "a:a", "b": "a"}

    def test_an_event_that_was_written_without_a_key_after_0017_takes_its_id(
        self, database: Migrated
    ) -> None:
        self.filled(database)
        database.upgrade("0017")
        copies(database, "saas_usage_events", {"a": {"idempotency_key": None}})

        database.upgrade()

        assert self.keys(database) == {"a": "a"}

    def test_the_same_key_of_two_subscriptions_is_none_that_was_taken(
        self, database: Migrated
    ) -> None:
        self.filled(database, a=("key", "api_call", 1, AT))
        copies(database, "ecommerce_subscriptions", {"s": {}})
        again = {"subscription_id": "s", "idempotency_key": "key", "event_type": "api_call"}
        copies(database, "saas_usage_events", {"b": again})

        database.upgrade()

        assert self.keys(database) == {"a": "key", "b": "key"}

    def test_going_back_and_up_again_changes_nothing_more(self, database: Migrated) -> None:
        self.filled(
            database,
            a=("key", "api_call", 1, AT),
            b=("key", "api_call", 1, AT),
            c=("key", "upload", 1, LATER),
            d=(None, "upload", 1, LATER),
        )
        database.upgrade("0018")
        once = self.keys(database)

        database.downgrade("0016")
        database.upgrade("0018")

        assert self.keys(database) == once == {"a": "key", "c": "key:c", "d": "d"}


class TestPlans:
    """0020: one active plan."""

    PLANS = (
        ("a", None, "active", AT, "paused"),
        ("b", None, "active", LATER, "paused"),
        ("c", None, "active", LATER, "active"),
        ("d", None, "canceled", LATER, "canceled"),
        ("e", "model", "active", AT, "active"),
        ("f", "model", "active", LATER, "active"),
    )

    def filled(self, database: Migrated) -> None:
        database.upgrade("0019")
        database.fill("model")
        rows = {
            key: {"customer_id": customer, "status": status, "created_at": at}
            for key, customer, status, at, _ in self.PLANS
        }
        copies(database, "ecommerce_subscriptions", rows)

    def statuses(self, database: Migrated) -> list[str]:
        return database.column("ecommerce_subscriptions", "status")[: len(self.PLANS)]

    def test_the_plan_that_was_made_last_stays_active(self, database: Migrated) -> None:
        self.filled(database)

        database.upgrade()

        assert self.statuses(database) == [after for *_, after in self.PLANS]

    def test_each_workspace_keeps_its_own(self, database: Migrated) -> None:
        self.filled(database)
        copies(database, "workspaces", {"other": {}})
        own = {"workspace_id": "other", "customer_id": None, "status": "active"}
        copies(database, "ecommerce_subscriptions", {"0": own})

        database.upgrade()

        assert database.column("ecommerce_subscriptions", "status")[0] == "active"

    def test_going_back_and_up_again_changes_nothing_more(self, database: Migrated) -> None:
        self.filled(database)
        database.upgrade("0020")

        database.downgrade("0019")
        database.upgrade("0020")

        assert self.statuses(database) == [after for *_, after in self.PLANS]


class TestInvoices:
    """0022: a currency for tiers, and a word for starts that there was none for."""

    SOLD: ClassVar[Any] = (
        ("dear", ["USD"], "USD"),
        ("mixed", ["USD", "EUR"], "EUR"),
        ("odd", ["$"], "EUR"),
        ("own", [], "EUR"),
        ("small", ["chf", "CHF"], "CHF"),
    )

    def test_a_tier_has_the_currency_of_the_stores_that_sell_it(self, database: Migrated) -> None:
        database.upgrade("0021")
        database.fill("model")
        for tier, currencies, _ in self.SOLD:
            copies(database, "saas_tiers", {tier: {"name": tier}})
            for currency in currencies:
                key = f"{tier}-{currency}"
                copies(database, "ecommerce_stores", {key: {"name": key, "currency": currency}})
                copies(database, "ecommerce_customers", {key: {"store_id": key}})
                sold = {"customer_id": key, "tier_id": tier}
                copies(database, "ecommerce_subscriptions", {key: sold})

        database.upgrade()

        found = {row["id"]: row["currency"] for row in database.rows()["saas_tiers"]}
        assert found == {**{tier: currency for tier, _, currency in self.SOLD}, "model": "EUR"}

    def test_going_back_forgets_starts_and_keeps_all_else(self, database: Migrated) -> None:
        database.upgrade()
        database.fill("model")
        events = {key: {"event": key} for key in ("started", "renewed", "canceled")}
        copies(database, "ecommerce_subscription_audit", events)

        database.downgrade("0021")
        left = database.column("ecommerce_subscription_audit", "id")
        database.upgrade()

        assert left == ["canceled", "model", "renewed"]
        assert database.column("ecommerce_subscription_audit", "id") == left
        assert database.column("invoices", "id") == []
