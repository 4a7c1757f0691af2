import asyncio

import pytest
from phoenix.db import models
from phoenix.db.engines import aio_sqlite_engine
from sqlalchemy import make_url, select
from sqlalchemy.ext.asyncio import AsyncSession


async def stored(url):
    engine = aio_sqlite_engine(make_url(url), migrate=False)
    async with AsyncSession(engine) as session:
        session.add(models.Project(name="squares"))
        await session.commit()
        names = (await session.scalars(select(models.Project.name))).all()
    await engine.dispose()
    return names


@pytest.mark.parametrize("turn", [1, 2])
def test_a_project_of_the_same_name_is_new_in_every_test(db_clone, turn):
    names = asyncio.run(stored(db_clone.target.url("async")))

    assert names.count("squares") == 1
