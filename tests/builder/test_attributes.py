"""G3: a module that is taken as an attribute of one that was imported counts, by whatever name.

What is built after a change on the old store equals what is built on an empty one.
"""

from __future__ import annotations

import pytest

PUT = "op.execute('create table kv (v)')\nop.get_bind().exec_driver_sql(" \
      "'insert into kv values (?)', (str({value}),))"  # fmt: skip
# How a revision comes by a module that only env.py imports: its header, and the value there.
WAYS = {
    "a package": ("import shop", "shop.db.V"),
    "renamed": ("import shop as s", "s.db.V"),
    "two packages": ("import shop", "shop.sub.deep.V"),
    "one that a package has": ("from shop import sub", "sub.deep.V"),
    "one that is renamed": ("from shop import sub as s", "s.deep.V"),
    "beside the one that is asked for": ("import shop.other", "shop.db.V"),
    "two, by one name": ("import shop.sub as s", "s.deep.V"),
    "under another name": ("import shop", "shop.again.deep.V"),
    "of a module": ("from shop import other", "other.held.deep.V"),
    "all names": ("from shop.other import *", "held.deep.V"),
    "in the function": ("", "__import__('shop').db.V"),
    "by a call": ("import importlib", "importlib.import_module('sh' + 'op').db.V"),
    "computed": ("import shop", "getattr(shop, 'd' + 'b').V"),
    "in a variable": ("import shop\nhere = [shop]", "vars(here[0])['d' + 'b'].V"),
    "one that is handed on": ("import shop\nhere = shop.sub", "getattr(here, 'de' + 'ep').V"),
    "by a helper": ("from shop.helper import value", "value()"),
    "with a variable behind it": ("import shop", "shop.db.setting()"),
    "of a package without a file": ("import bare", "bare.db.V"),
}
DB = "import os\nV = 'old'\ndef setting():\n    return os.environ.get('TENANT', 'none')\n"


@pytest.fixture
def shop(project):
    """A package of which ``env.py`` imports the parts, and whose models nobody else uses."""
    project.write("shop/__init__.py", "import shop.sub as again\n")
    project.write("shop/sub/__init__.py", "")
    project.write("shop/sub/deep.py", DB)
    project.write("shop/db.py", DB)
    project.write("bare/db.py", DB)
    project.write("shop/models.py", "V = 'model'\n")
    project.write("shop/other.py", "from shop import sub as held\n")
    project.write("shop/helper.py", "import shop\ndef value():\n    return shop.db.V\n")
    env = project.root / "migrations/env.py"
    imported = "import shop.db, shop.models, shop.sub.deep, bare.db\n"
    env.write_text(f"{imported}{env.read_text()}")
    return project


def edit(project, monkeypatch):
    for name in ("shop/db.py", "shop/sub/deep.py", "bare/db.py"):
        path = project.root / name
        path.write_text(path.read_text().replace("'old'", "'new'"))
    monkeypatch.setenv("TENANT", "new")


@pytest.mark.parametrize("way", WAYS)
def test_a_module_that_is_an_attribute_counts(shop, rows, monkeypatch, way):
    header, value = WAYS[way]
    shop.revision("0001", upgrade=PUT.format(value=value), header=header)
    shop.ensure()

    edit(shop, monkeypatch)

    assert shop.look_up().reasons
    assert rows(shop.ensure().path, "select v from kv") == [("new",)]


@pytest.mark.parametrize("way", ["a package", "renamed", "under another name", "by a helper"])
def test_a_module_that_nobody_takes_does_not_count(shop, way):
    header, value = WAYS[way]
    shop.revision("0001", upgrade=PUT.format(value=value), header=header)
    shop.ensure()

    shop.write("shop/models.py", "V = 'another'\n")
    _, ran = shop.build()

    assert ran == []


def test_a_state_below_counts_it_where_a_later_script_imports_it(project, rows):
    project.write("shop/__init__.py", "")
    project.write("shop/db.py", DB)
    project.revision("0001", upgrade=PUT.format(value="shop.db.V"), header="import shop")
    project.revision("0002", "0001", header="from shop.db import V")
    project.ensure()

    project.write("shop/db.py", DB.replace("'old'", "'new'"))

    assert rows(project.ensure().path, "select v from kv") == [("new",)]


def test_a_seed_counts_it(shop, rows, monkeypatch):
    shop.write("seeds.py", """
        import shop
        def go(connection):
            connection.exec_driver_sql("create table kv (v)")
            connection.exec_driver_sql("insert into kv values (?)", (shop.db.V,))
        """)  # fmt: skip
    shop.configure('seeds = ["seeds:go"]')
    shop.revision("0001")
    shop.ensure()

    edit(shop, monkeypatch)

    assert rows(shop.ensure().path, "select v from kv") == [("new",)]


def test_a_column_s_type_counts(shop, rows, monkeypatch):
    types = "import sqlalchemy as sa\nclass Code(sa.String):\n    pass\nKIND = Code({size})\n"
    shop.write("shop/db.py", types.format(size=10))
    column = "op.create_table('a', sa.Column('x', shop.db.KIND))"
    shop.revision("0001", upgrade=column, header="import shop")
    shop.ensure()

    shop.write("shop/db.py", types.format(size=20))

    created = rows(shop.ensure().path, "select sql from sqlite_master where name = 'a'")
    assert "VARCHAR(20)" in created[0][0]


def test_a_downgrade_that_takes_it_is_tried_again(shop):
    path = shop.revision("0001", header="import shop")
    text = path.read_text()
    path.write_text(text[: text.index("def downgrade")] + "def downgrade():\n"
                    "    assert shop.db.V == 'old'\n    op.drop_table('t_0001')\n")  # fmt: skip
    assert "failed" not in shop.command("check").stdout

    shop.write("shop/db.py", "V = 'new'\n")

    assert "downgrade failed" in shop.command("check").stdout


def test_what_a_new_revision_needs_of_one_is_not_missed(shop, rows):
    shop.write("shop/db.py", "N = 0\ndef following():\n    global N\n    N += 1\n    return N\n")
    value = "shop.db.following()"
    shop.revision("0001", upgrade=PUT.format(value=value), header="import shop")
    shop.revision("0002", "0001")
    shop.ensure()

    put = f"op.get_bind().exec_driver_sql('insert into kv values (?)', ({value},))"
    shop.revision("0003", "0002", upgrade=put, header="import shop")

    assert rows(shop.ensure().path, "select v from kv") == [("1",), (2,)]
