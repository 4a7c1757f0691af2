import sqlalchemy as sa
from cinder.db import models
from sqlalchemy.orm import Session


def test_a_volume_is_stored(db_clone):
    with Session(sa.create_engine(db_clone.url)) as session:
        session.add(models.VolumeType(id="fast", name="fast"))
        session.add(models.Volume(id="ada", size=1, volume_type_id="fast"))
        session.commit()
        volumes = session.scalars(sa.select(models.Volume)).all()

    assert [volume.size for volume in volumes] == [1]


def test_no_volume_is_there_in_another_test(db_clone):
    with Session(sa.create_engine(db_clone.url)) as session:
        assert session.scalars(sa.select(models.Volume)).all() == []
