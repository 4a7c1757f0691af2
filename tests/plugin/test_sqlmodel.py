"""Where the application uses SQLModel, sessions of ours are SQLModel's."""

from __future__ import annotations

import pytest

TESTS = """
import pytest
import sqlmodel
from shop.models import Customer
from sqlmodel import Session, select
from sqlmodel.ext.asyncio.session import AsyncSession


def test_sync(db_session):
    assert isinstance(db_session, Session)
    assert len(db_session.exec(select(Customer.name)).all()) == 1


@pytest.mark.asyncio
async def test_async(async_db_session):
    assert isinstance(async_db_session, AsyncSession)
    assert len((await async_db_session.exec(select(Customer.name))).all()) == 1
"""


def test_sessions_without_a_factory_of_the_applications_can_do_what_sqlmodels_can(shop):
    pytest.importorskip("sqlmodel")
    shop.replace("pyproject.toml", 'sessionmaker = "shop.db:SessionLocal"\n', "")

    shop.run(test_sqlmodel=TESTS).assert_outcomes(passed=2)
