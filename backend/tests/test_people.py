"""Whose word counts, and where."""

import pytest
from core.models import AgentRegistry, User, UserRole
from core.people import is_admin, is_trusted


def person(role: str, home: str = "default", specialty: str | None = None) -> User:
    return User(role=UserRole(role), workspace_id=home, specialty=specialty)


def agent(category: str = "sales") -> AgentRegistry:
    return AgentRegistry(workspace_id="default", category=category)


@pytest.mark.parametrize(
    ("role", "home", "admin"),
    [
        ("super_admin", "default", True),
        ("super_admin", "elsewhere", True),
        ("workspace_admin", "default", True),
        ("workspace_admin", "elsewhere", False),
        ("member", "default", False),
    ],
)
def test_an_admin_is_one_of_this_workspace_or_of_all(role: str, home: str, admin: bool) -> None:
    assert is_admin(person(role, home), "default") is admin
    assert is_trusted(person(role, home), agent()) is admin


@pytest.mark.parametrize(
    ("specialty", "category", "trusted"),
    [
        ("sales", "sales", True),
        (" Sales ", "sales", True),
        ("sales", " SALES ", True),
        ("Cafe\u0301", "CAF\u00c9", True),
        ("STRASSEN", "Straßen", True),
        ("Straßen", "STRASSEN", True),
        ("support", "sales", False),
        (None, "sales", False),
        (None, "", False),
        ("", "", False),
        (" ", " ", False),
    ],
)
def test_a_specialist_is_one_of_the_agents_category(
    specialty: str | None, category: str, trusted: bool
) -> None:
    assert is_trusted(person("member", specialty=specialty), agent(category)) is trusted


def test_a_specialist_of_another_workspace_is_none_here() -> None:
    assert not is_trusted(person("member", "elsewhere", "sales"), agent())
