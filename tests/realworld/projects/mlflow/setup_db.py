import sqlalchemy as sa
from mlflow.store.db.utils import _initialize_tables


def create(url):
    _initialize_tables(sa.create_engine(url))
