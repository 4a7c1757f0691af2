"""How an action's name tells what it does, and which status that takes."""

import operator
from collections.abc import Callable
from itertools import product
from typing import Any, ClassVar

import pytest
from core.errors import NotOnLadder
from core.maturity import LADDER, VERBS, AgentStatus, complexity_of, required_status, tokens
from core.models import AgentExecution, AgentRegistry, HITLAction
from core.types import NotOrderedInSQL
from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

# An unusual spelling of the same letters.
FULL_WIDTH_DELETE = "".join(chr(ord(each) + 0xFEE0) for each in "delete")


class TestComplexity:
    @pytest.mark.parametrize(
        ("action", "complexity"),
        [
            ("read_file", 1),
            ("delete_file", 4),
            ("budget_transfer", 4),
            ("widget_delete", 4),
            ("drop_table", 4),
            ("list_payments", 1),
            ("make_payment", 4),
            ("draft_renewal", 2),
            ("update_customer_phone", 3),
        ],
    )
    def test_the_verb_may_stand_anywhere_but_must_be_a_word_of_its_own(
        self, action: str, complexity: int
    ) -> None:
        assert complexity_of(action) == complexity

    @pytest.mark.parametrize("action", ["frobnicate", "", "cancel_subscription", "payments"])
    def test_an_action_without_a_known_verb_changes_something(self, action: str) -> None:
        assert complexity_of(action) == 3

    def test_the_highest_verb_counts(self) -> None:
        assert complexity_of("list_and_delete_files") == 4
        assert complexity_of("search_then_draft") == 2

    def test_an_override_of_the_whole_name_wins(self) -> None:
        assert complexity_of("find_customer") == 1
        assert complexity_of("find_customers") == 3

    @pytest.mark.parametrize(
        "action",
        ["delete_file", "delete-file", "file.delete", "delete file", "deleteFile", "FileDelete"],
    )
    def test_a_name_is_split_at_separators_and_case_changes(self, action: str) -> None:
        assert complexity_of(action) == 4

    @pytest.mark.parametrize("action", ["HTTPDelete", "FILEdelete", "DELETE", "fileDELETE"])
    def test_no_verb_hides_in_capitals(self, action: str) -> None:
        assert complexity_of(action) == 4

    @pytest.mark.parametrize("between", [*":/;,(\\|+@#'\"=&~\0\n\t12", ":2_", "\u200b", "\uff3f"])
    @pytest.mark.parametrize("verb", ["delete", "Delete", "DELETE", FULL_WIDTH_DELETE])
    def test_no_verb_hides_behind_anything_but_letters(self, between: str, verb: str) -> None:
        for harmless in ("list", "read_file", "fetchFile"):
            assert complexity_of(f"{harmless}{between}{verb}") == 4
            assert complexity_of(f"{harmless}_x{between}{verb}{between}_file") == 4
            assert complexity_of(f"{verb}{between}{harmless}") == 4

    @pytest.mark.parametrize("action", ["list_éDelete", "read_ÉDelete", "listЖDelete", "éDELETE"])
    def test_case_changes_in_all_languages(self, action: str) -> None:
        assert complexity_of(action) == 4

    @pytest.mark.parametrize("action", ["list_db:frobnicate", "server/list", "get;x", "list(x)"])
    def test_a_name_that_may_be_two_is_no_less_than_an_unknown_one(self, action: str) -> None:
        assert complexity_of(action) == 3

    @pytest.mark.parametrize(
        ("action", "complexity"),
        [
            ("read_v2", 1),
            ("list_s3_files", 1),
            ("read_données", 1),
            ("list\tfiles", 1),
            ("v2List", 1),
            ("read_facture_payée", 1),
            ("view_Größe", 1),
            ("draft_größe", 2),
            ("s3_upload", 3),
            ("lire_données", 3),
            ("mp3list", 3),
            ("naïve_view2", 3),
        ],
    )
    def test_digits_and_letters_of_all_languages_change_nothing_else(
        self, action: str, complexity: int
    ) -> None:
        assert complexity_of(action) == complexity

    def test_a_word_that_contains_a_verb_is_not_that_verb(self) -> None:
        assert tokens("list_payments") == {"list", "payments"}
        assert complexity_of("undeleted_readme") == 3

    def test_no_verb_has_two_complexities(self) -> None:
        verbs = [verb for level in VERBS.values() for verb in level]

        assert len(verbs) == len(set(verbs)) == 10 + 11 + 11 + 11

    def test_each_complexity_needs_the_status_of_the_same_rank(self) -> None:
        assert [required_status(complexity) for complexity in (1, 2, 3, 4)] == [
            AgentStatus.STUDENT,
            AgentStatus.INTERN,
            AgentStatus.SUPERVISED,
            AgentStatus.AUTONOMOUS,
        ]


class TestLadder:
    COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge)

    def test_it_is_the_order_of_statuses(self) -> None:
        for one, other in product(LADDER, repeat=2):
            for compare in self.COMPARISONS:
                right = compare(LADDER.index(one), LADDER.index(other))
                assert compare(one, other) is right
                # As a row has it before it is read again.
                assert compare(one, other.value) is compare(one.value, other) is right

        assert sorted(set(LADDER)) == list(LADDER)
        assert max(LADDER) is AgentStatus.AUTONOMOUS

    @pytest.mark.parametrize("other", [*set(AgentStatus) - set(LADDER), "chief", ""])
    def test_what_is_off_it_is_neither_above_nor_below(self, other: str) -> None:
        for compare in self.COMPARISONS:
            for pair in ((other, AgentStatus.INTERN), (AgentStatus.INTERN, other)):
                with pytest.raises(NotOnLadder, match=f"^{other} is not a rung of the ladder$"):
                    compare(*pair)

        assert other != AgentStatus.INTERN


class TestStatusesInSQL:
    ORDERED: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "<": lambda status: status < AgentStatus.INTERN,
        "<=": lambda status: status <= "intern",
        ">": lambda status: status > AgentStatus.INTERN,
        ">=": lambda status: status >= func.lower("intern"),
        "between": lambda status: status.between("intern", "student"),
        "not between": lambda status: ~status.between("intern", "student"),
        "of a literal": lambda status: literal("student", status.type) < status,
    }

    @pytest.mark.parametrize("name", ORDERED)
    def test_they_have_no_order_in_sql(self, name: str) -> None:
        for status in (AgentRegistry.status, AgentExecution.status, HITLAction.status):
            with pytest.raises(NotOrderedInSQL, match="has no order in SQL"):
                self.ORDERED[name](status)

    @pytest.mark.parametrize("name", ["max", "min", "greatest", "least"])
    def test_none_of_them_is_the_first_or_last_in_sql(self, db_session: Session, name: str) -> None:
        for status in (AgentRegistry.status, AgentExecution.status, HITLAction.status):
            with pytest.raises(NotOrderedInSQL, match="has no order in SQL"):
                db_session.scalars(select(getattr(func, name)(status, "intern"))).all()

    def test_they_are_equal_or_not(self, atom: AgentRegistry, db_session: Session) -> None:
        status = AgentRegistry.status
        for criterion in (
            status == AgentStatus.STUDENT,
            status != "intern",
            status.in_(LADDER),
            status.not_in(["intern"]),
            status.is_not(None),
        ):
            found = select(AgentRegistry.id).where(criterion).order_by(status)
            assert db_session.scalars(found).all() == [atom.id]
