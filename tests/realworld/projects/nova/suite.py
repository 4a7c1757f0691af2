import sqlalchemy as sa
from nova.db.api import models as api_models
from nova.db.main import models as main_models
from sqlalchemy.orm import Session


def test_each_database_has_its_own_tables_and_rows(db_clone, db_clones):
    with Session(sa.create_engine(db_clone.url)) as main:
        main.add(main_models.Service(host="ada", binary="nova-compute", topic="compute"))
        main.commit()
        services = main.scalars(sa.select(main_models.Service)).all()
    with Session(sa.create_engine(db_clones["api"].url)) as api:
        api.add(api_models.Aggregate(name="fast"))
        api.commit()
        aggregates = api.scalars(sa.select(api_models.Aggregate)).all()

    assert [service.host for service in services] == ["ada"]
    assert [aggregate.name for aggregate in aggregates] == ["fast"]
