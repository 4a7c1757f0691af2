import keystone.conf
import pytest
from keystone.common import sql
from keystone.resource.backends import sql as resource
from oslo_db import options


@pytest.fixture
def keystone_on_the_clone(db_clone):
    keystone.conf.configure()
    options.set_defaults(keystone.conf.CONF, connection=db_clone.url)
    sql.cleanup()
    yield
    sql.cleanup()


@pytest.mark.usefixtures("keystone_on_the_clone")
def test_a_domain_is_stored():
    domain = {"id": "d" * 32, "name": "ada", "enabled": True, "is_domain": True}

    resource.Resource().create_project(domain["id"], {**domain, "domain_id": None})

    assert resource.Resource().get_project(domain["id"])["name"] == "ada"
