"""What the configuration's engine and factory are found to be, and the whole of each message."""

from __future__ import annotations

import sys
import threading
import types

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from alembic_snapshot.database.identity import file_place, url_place
from alembic_snapshot.engines import configured, named
from alembic_snapshot.engines.application import Engines
from alembic_snapshot.errors import EngineError
from alembic_snapshot.project import unsupported
from alembic_snapshot.project.config import Project

URL_OR_MADE = (
    "name the object that create_engine() or create_async_engine() made, or give a URL if a "
    "function makes the engine"
)
MODULE = """
import asyncio, os
from contextlib import contextmanager
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.orm import sessionmaker
from alembic_snapshot.errors import EngineError

class ValidationError(Exception):
    pass

class Silent(Exception):
    pass

def reads():
    return os.environ["SHOP_URL_THAT_IS_NOT_SET"]
def misreads():
    return os.environ[3]
def deep():
    return {}["x"]
def invalid():
    raise ValidationError("url\\n  missing")
def silent():
    raise Silent
def mysql():
    import aiomysql
def imports():
    import nothing_of_that_name
def refused():
    raise EngineError("no", hint="ask")
def leaves():
    raise SystemExit("bye")
def needs(argument):
    pass
def adds():
    return 1 + "1"
def wrong():
    return object().nothing
async def later():
    pass
def generates():
    yield
async def generates_async():
    yield
context = contextmanager(generates)
number = 1
numbers = 2
maker = sessionmaker()
class Registry:
    session_factory = None
registry = Registry()
"""
NAMED = {
    "reads": (
        "engine 'mod:reads()' can't be had at mod.py line {line}: the variable "
        "SHOP_URL_THAT_IS_NOT_SET is not set",
        "set it before the application is imported, for example at the top of conftest.py: "
        'os.environ.setdefault("SHOP_URL_THAT_IS_NOT_SET", "…")',
    ),
    "deep": ("engine 'mod:deep()' can't be had at mod.py line {line}: KeyError: 'x'", named._NEEDS),
    "invalid": (
        "engine 'mod:invalid()' can't be had at mod.py line {line}: ValidationError: url missing",
        "set what it names before the application is imported, for example at the top of "
        "conftest.py with os.environ.setdefault()",
    ),
    "silent": ("engine 'mod:silent()' can't be had at mod.py line {line}: Silent", named._NEEDS),
    "mysql": (
        "engine 'mod:mysql()' needs MySQL at mod.py line {line}, which is not "
        "supported: ModuleNotFoundError: No module named 'aiomysql'",
        unsupported.HINT,
    ),
    "imports": (
        "can't import 'mod:imports()' at mod.py line {line}: No module named "
        "'nothing_of_that_name'",
        "install what it needs, or correct the import",
    ),
    "refused": ("engine 'mod:refused()' can't be had: no", "ask"),
    "leaves": (
        "engine 'mod:leaves()' can't be had at mod.py line {line}: SystemExit: bye",
        named._NEEDS,
    ),
    "needs": (
        "engine 'mod:needs()' can't be called: needs() missing 1 required positional argument: "
        "'argument'",
        "calls have no arguments: name a function that needs none, or give a URL",
    ),
    "adds": (
        "engine 'mod:adds()' can't be had at mod.py line {line}: TypeError: unsupported operand "
        "type(s) for +: 'int' and 'str'",
        named._NEEDS,
    ),
    "wrong": (
        "engine 'mod:wrong()' can't be had at mod.py line {line}: AttributeError: 'object' "
        "object has no attribute 'nothing'",
        named._NEEDS,
    ),
}
NOT_THERE = {
    "mod:nombre": (
        "can't import 'mod:nombre': module 'mod' has no attribute 'nombre'",
        "did you mean 'number'?",
    ),
    "mod:_doc__": (
        "can't import 'mod:_doc__': module 'mod' has no attribute '_doc__'",
        named._IMPORTABLE,
    ),
    "mod.below:x": (
        "can't import 'mod.below:x': No module named 'mod.below'; 'mod' is not a package",
        named._IMPORTABLE,
    ),
    "not.a.module:x": ("can't import 'not.a.module:x': No module named 'not'", named._IMPORTABLE),
}
NO_ENGINE = {
    "mod:number": ("int", URL_OR_MADE),
    "mod:later": (
        "function",
        "an async function can't be called here: give the engine's URL",
    ),
    "mod:later()": (
        "a coroutine, of an async function",
        "an async function can't be called here: give the engine's URL",
    ),
    "mod:generates": (
        "function",
        'write engine = "mod:generates()" if it makes the engine without arguments, or a URL',
    ),
    "mod:generates()": ("a generator", URL_OR_MADE),
    "mod:generates_async()": ("a generator", URL_OR_MADE),
    "mod:context()": ("a context manager", URL_OR_MADE),
    "mod:maker": (
        "sessionmaker",
        f"that makes sessions: it belongs in sessionmaker; {URL_OR_MADE}",
    ),
    "mod:registry": (
        "Registry",
        f"that makes sessions: it belongs in sessionmaker; {URL_OR_MADE}",
    ),
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Makes a project with a module ``mod``, whose further names are given."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.syspath_prepend(root)

    def make(text=MODULE, **keys):
        (root / "mod.py").write_text(text)
        return Project(root=root, **keys)

    yield make
    sys.modules.pop("mod", None)


def error_of(project):
    """What verifying the configuration raises, as message and hint."""
    with pytest.raises(EngineError) as caught:
        Engines(project, {}).configured.verify()
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize("function", NAMED)
def test_what_an_applications_code_raises_is_told_with_its_line(project, function, monkeypatch):
    monkeypatch.delenv("SHOP_URL_THAT_IS_NOT_SET", raising=False)
    message, hint = NAMED[function]
    line = MODULE.splitlines().index(f"def {function}():") + 2 if "{line}" in message else 0

    assert error_of(project(engine=f"mod:{function}()")) == (message.format(line=line), hint)


@pytest.mark.parametrize("text", NOT_THERE)
def test_what_is_not_there_is_told_with_what_is_near(project, text):
    assert error_of(project(engine=text)) == NOT_THERE[text]


@pytest.mark.parametrize("text", NO_ENGINE)
def test_what_is_no_engine_is_told_as_what_it_is(project, text):
    what, hint = NO_ENGINE[text]

    assert error_of(project(engine=text)) == (f"engine {text!r} is {what}, not an engine", hint)


@pytest.fixture
def installed(project, monkeypatch):
    """Makes a project with an installed package ``packed``, whose code is given."""

    def make(code, **keys):
        one = project(**keys)
        packed = one.root / "site-packages" / "packed.py"
        packed.parent.mkdir()
        packed.write_text(code)
        monkeypatch.syspath_prepend(packed.parent)
        return one

    yield make
    sys.modules.pop("packed", None)


INSTALLED = {
    "a line of its own": (
        "mod:fails()",
        "def fails():\n    raise ValueError('no')",
        "engine 'mod:fails()' can't be had: ValueError: no",
    ),
    "a call within it": (
        "packed:engine",
        "len(1)",
        "engine 'packed:engine' can't be had: TypeError: object of type 'int' has no len()",
    ),
    "an attribute without a name": (
        "packed:engine",
        "raise AttributeError('no')",
        "can't import 'packed:engine': no",
    ),
}


@pytest.mark.parametrize(("engine", "code", "message"), INSTALLED.values(), ids=INSTALLED)
def test_what_an_installed_package_raises_has_no_line(installed, engine, code, message):
    one = installed(code, text="from packed import fails\n", engine=engine)

    found, hint = error_of(one)

    assert found == message
    assert hint == (named._IMPORTABLE if "import" in message else named._NEEDS)


def test_a_module_that_is_being_imported_is_named(project):
    one = project(engine="mod:engine")
    asking = types.ModuleType("asking_of_mod")

    def ask():
        asking.found = error_of(one)

    asking.ask = ask
    sys.modules["asking_of_mod"] = asking
    (one.root / "mod.py").write_text("import asking_of_mod\nasking_of_mod.ask()\n")
    try:
        __import__("mod")
    finally:
        del sys.modules["asking_of_mod"]

    assert asking.found == (
        "engine 'mod:engine' is not there yet: mod is being imported",
        "connect in a function, not when a module is imported",
    )


def test_an_error_is_kept_once_it_is_final(project):
    one = Engines(project(text="engine = None\n", engine="mod:engine"), {}).configured
    with pytest.raises(EngineError, match="is None: nothing has made it"):
        one.verify(final=False)
    sys.modules["mod"].engine = 1
    with pytest.raises(EngineError, match="is int"):
        one.verify()
    sys.modules["mod"].engine = create_engine("sqlite:///a.db")
    with pytest.raises(EngineError, match="is int"):
        one.verify()


def test_what_was_verified_is_not_verified_again(project):
    one = Engines(project(text=ENGINES, engine="mod:engine"), {}).configured
    one.verify()
    sys.modules["mod"].engine = 1

    one.verify()


def test_whoever_connects_while_the_engine_is_looked_up_is_told(project):
    one = project(text="import asking\ndef engine():\n    asking.again()\n", engine="mod:engine()")
    engines = Engines(one, {})
    sys.modules["asking"] = types.SimpleNamespace(again=engines.configured.verify)
    try:
        with pytest.raises(EngineError) as caught:
            engines.configured.verify()
    finally:
        del sys.modules["asking"]

    assert (caught.value.message, caught.value.hint) == (
        "engine 'mod:engine()' can't be had: mod:engine() is not known yet: it is being looked up",
        "connect in a function that a test or a fixture calls, not when a module is imported or "
        "the engine is made",
    )


def test_another_thread_that_looks_the_engine_up_is_waited_for_no_longer_than_said(
    project, monkeypatch
):
    monkeypatch.setattr(configured, "_PATIENCE", 0.01)
    one = Engines(project(text=ENGINES, engine="mod:engine"), {}).configured
    goes_on, is_held = threading.Event(), threading.Event()

    def hold():
        with one._lock:
            is_held.set()
            goes_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    try:
        with pytest.raises(EngineError) as caught:
            one.verify()
    finally:
        goes_on.set()
        thread.join()

    assert (caught.value.message, caught.value.hint) == (
        "mod:engine is not known yet: another thread is looking it up",
        "connect when the application has been imported",
    )
    one.verify()


ENGINES = """
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker, scoped_session
engine = create_engine("sqlite:///a.db")
other = create_engine("sqlite:///b.db")
memory = create_engine("sqlite://")
server = create_engine("postgresql+psycopg://localhost/shop")
asynchronous = create_async_engine("sqlite+aiosqlite:///a.db")
url = make_url("sqlite:///a.db")
text = "sqlite:///a.db"
made = sessionmaker(engine)
others = sessionmaker(other)
servers = sessionmaker(server)
asynchronous_made = async_sessionmaker(asynchronous)
nowhere = sessionmaker()
def in_context():
    raise RuntimeError("outside of a context")
"""
BIND = (
    "bind the factory to the engine that is configured, or name the one that it is bound to in "
    "engine in [tool.alembic-snapshot]"
)
MISMATCHES = {
    ("mod:engine", "mod:others"): (
        "the sessions of 'mod:others' go to 'b.db', and those of mod:engine elsewhere",
        BIND,
    ),
    ("sqlite:///a.db", "mod:others"): (
        "the sessions of 'mod:others' go to 'b.db', and those of sqlite:///a.db elsewhere",
        BIND,
    ),
    (None, "mod:in_context"): (
        "the engine of 'mod:in_context' can't be known: RuntimeError: outside of a context",
        "set engine in [tool.alembic-snapshot]: module:name, with calls if need be, or the URL "
        "that the application uses",
    ),
    (None, "mod:servers"): (
        "the engine of mod:servers speaks postgresql, but the snapshot is a SQLite database",
        "give the application a sqlite:// URL when it is tested, by a variable that environment "
        "names; or set backend in [tool.alembic-snapshot]",
    ),
    ("mod:server", None): (
        "mod:server speaks postgresql, but the snapshot is a SQLite database",
        "give the application a sqlite:// URL when it is tested, by a variable that environment "
        "names; or set backend in [tool.alembic-snapshot]",
    ),
    ("postgresql://ada:secret@localhost/x", None): (
        "postgresql://ada:***@localhost/x speaks postgresql, but the snapshot is a SQLite database",
        "let engine be a sqlite:// URL, the one that the application has when it is tested; or "
        "set backend in [tool.alembic-snapshot]",
    ),
    ("mysql+pymysql://ada:secret@localhost/x", None): (
        "mysql+pymysql://ada:***@localhost/x speaks MySQL, which is not supported",
        f"{unsupported.HINT}, if the application has a sqlite:// URL when it is tested",
    ),
    ("sqlite+nothing:///x", None): (
        "engine 'sqlite+nothing:///x' in [tool.alembic-snapshot] is no URL that works: Can't load "
        "plugin: sqlalchemy.dialects:sqlite.nothing",
        "write for example sqlite:///shop.db, relative to the project's root",
    ),
}


@pytest.mark.parametrize(("engine", "factory"), MISMATCHES)
def test_what_does_not_belong_together_is_told_whole(project, engine, factory, monkeypatch):
    one = project(text=ENGINES, engine=engine, sessionmaker=factory)
    monkeypatch.chdir(one.root)

    assert error_of(one) == MISMATCHES[engine, factory]


@pytest.mark.parametrize("engine", ["mod:server", "postgresql://ada:secret@localhost/x"])
def test_a_variable_that_wins_over_the_table_is_what_the_hint_names(project, engine, monkeypatch):
    one = project(text=ENGINES, engine=engine)
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "sqlite")

    hint = error_of(one)[1]
    assert hint.endswith("; or unset the variable ALEMBIC_SNAPSHOT_BACKEND")
    assert "set backend" not in hint


MATCHES = [
    ("mod:engine", "mod:made", "mod:engine"),
    ("mod:engine", "mod:in_context", "mod:engine"),
    ("mod:asynchronous", "mod:made", "mod:asynchronous"),
    ("mod:engine", "mod:asynchronous_made", "mod:engine"),
    ("mod:url", "mod:made", "mod:url"),
    ("mod:text", "mod:made", "mod:text"),
    ("sqlite:///a.db", "mod:made", "sqlite:///a.db"),
    (None, "mod:made", "the engine of mod:made"),
    (None, "mod:asynchronous_made", "the engine of mod:asynchronous_made"),
    (None, None, "the engine"),
]


@pytest.mark.parametrize(("engine", "factory", "name"), MATCHES)
def test_what_belongs_together_is_the_engine_of_its_database(
    project, engine, factory, name, monkeypatch
):
    one = Engines(project(text=ENGINES, engine=engine, sessionmaker=factory), {})
    monkeypatch.chdir(one.project.root)
    one.configured.verify()
    module = __import__("mod")
    is_one, is_url = bool(engine or factory), engine in ("mod:url", "mod:text", "sqlite:///a.db")

    assert (one.name, one.configured.is_there) == (name, is_one)
    assert one.configured.modules == {"mod"} - ({"mod"} if not factory and not engine else set())
    assert one.serves(module.other) is False
    assert one.serves(create_engine("sqlite:///a.db")) is is_one
    assert one.serves(create_engine("sqlite:////elsewhere/a.db")) is False
    assert one.names(url_place(module.server.url)) is False
    assert one.names(url_place(module.memory.url)) is False
    assert one.names(None) is False
    assert str(one.configured.url()) == ("sqlite:///a.db" if is_url else "None")
    wanted = [] if is_url or not is_one else ["sqlite:///a.db"]
    assert [str(e.url).replace("+aiosqlite", "") for e in one.known()] == wanted


def test_an_engine_that_is_not_there_yet_names_nothing(project):
    one = Engines(project(text=ENGINES, engine="mod:engine"), {})

    assert one.names(file_place(str(one.project.root / "a.db"))) is False
    assert list(one.known()) == []


def test_an_engine_of_another_kind_names_no_file(project, monkeypatch):
    one = Engines(project(text=ENGINES, engine="mod:server"), {})
    monkeypatch.chdir(one.project.root)
    __import__("mod")

    assert one.names(file_place(str(one.project.root / "shop"))) is False


def test_a_relative_name_is_the_file_that_it_was_first_and_that_at_the_root(
    project, tmp_path, monkeypatch
):
    one = Engines(project(text=ENGINES, engine="sqlite:///a.db"), {})
    folders = [one.project.root, tmp_path / "first", tmp_path / "second", tmp_path / "third"]
    for folder in folders[1:]:
        folder.mkdir()

    def named():
        return [one.names(file_place(str(folder / "a.db"))) for folder in folders]

    monkeypatch.chdir(folders[1])
    assert named() == [True, True, False, False]
    monkeypatch.chdir(folders[2])
    assert named() == [True, True, True, False]
    monkeypatch.chdir(folders[3])
    assert named() == [True, True, False, True]


@pytest.mark.parametrize(
    ("engine", "is_meant"), [("sqlite://", True), ("mod:memory", False), ("sqlite:///a.db", False)]
)
def test_only_a_url_means_every_database_in_memory(project, engine, is_meant):
    one = Engines(project(text=ENGINES, engine=engine), {})
    one.configured.verify()

    assert one.serves(create_engine("sqlite://")) is is_meant
    assert one.serves(create_engine("sqlite:////elsewhere/x.db")) is False


@pytest.mark.parametrize("engine", ["mod:server", "postgresql://localhost/shop"])
def test_a_servers_database_is_named_by_its_url(project, engine):
    one = Engines(project(text=ENGINES, engine=engine, backend="postgresql"), {})
    one.configured.verify()

    assert one.serves(create_engine("postgresql+psycopg://10.0.0.1/shop")) is False
    assert one.serves(create_engine("postgresql+psycopg://localhost/shop")) is True
    assert one.serves(create_engine("postgresql+psycopg://localhost/other")) is False
    assert one.serves(create_engine("sqlite:///shop")) is False


OWN_SESSION = """
from sqlalchemy.orm import Session
closed = []
class Mine(Session):
    def close(self):
        closed.append(self)
def mine():
    return Mine(other)
"""


def test_a_session_that_goes_elsewhere_is_closed(project, monkeypatch):
    one = project(text=ENGINES + OWN_SESSION, engine="mod:engine", sessionmaker="mod:mine")
    monkeypatch.chdir(one.root)

    message, _ = error_of(one)

    assert message == "the sessions of 'mod:mine' go to 'b.db', and those of mod:engine elsewhere"
    assert len(sys.modules["mod"].closed) == 1


OWN_ENGINES = {
    "sqlite": (
        "sqlite:///alembic-snapshot-has-no-engine.db",
        "sqlite+aiosqlite:///alembic-snapshot-has-no-engine.db",
    ),
    "postgresql": (
        "postgresql+psycopg:///alembic-snapshot-has-no-engine",
        "postgresql+asyncpg:///alembic-snapshot-has-no-engine",
    ),
}


@pytest.mark.parametrize("backend", OWN_ENGINES)
def test_where_none_is_configured_the_engines_are_ours(project, backend):
    one = Engines(project(backend=backend), {})
    assert list(one.known()) == []
    sync, asynchronous = one.sync(), one.async_()

    assert (str(sync.url), str(asynchronous.url)) == OWN_ENGINES[backend]
    assert one.sync() is sync
    assert one.async_() is asynchronous
    assert list(one.known()) == [sync, asynchronous.sync_engine]
    assert one.own(sync.dialect)
    assert one.serves(asynchronous.sync_engine)
    assert not one.own(create_engine("sqlite://").dialect)
    session, factory, doubt = one.session()
    assert (session.bind, factory.kw["bind"], doubt) == (sync, sync, False)
    assert isinstance(session, Session)
    session, doubt = one.async_session()
    assert (session.bind, session.sync_session.expire_on_commit, doubt) == (
        asynchronous, False, False
    )  # fmt: skip


@pytest.mark.parametrize("engine", ["mod:url", "sqlite:///a.db", "sqlite+aiosqlite:///a.db"])
def test_engines_of_a_url_have_its_driver_where_it_can_be(project, engine):
    one = Engines(project(text=ENGINES, engine=engine), {})
    one.configured.verify()

    assert str(one.sync().url) == "sqlite:///a.db"
    assert str(one.async_().url) == "sqlite+aiosqlite:///a.db"


def test_the_applications_own_engines_are_used_for_what_they_are(project):
    text = ENGINES + "\nfrom sqlalchemy.orm import Session\nclass Mine(Session):\n    pass\n"
    text += "mine = sessionmaker(engine, class_=Mine)\n"
    one = Engines(project(text=text, engine="mod:engine", sessionmaker="mod:mine"), {})
    module = __import__("mod")
    assert one.sync() is module.engine
    assert str(one.async_().url) == OWN_ENGINES["sqlite"][1]
    session, factory, doubt = one.session()
    assert (factory, doubt) == (module.mine, False)
    assert isinstance(session, module.Mine)
    session, doubt = one.async_session()
    assert (session.bind, doubt) == (one.async_(), False)

    one = Engines(
        project(text=text, engine="mod:asynchronous", sessionmaker="mod:asynchronous_made"), {}
    )
    assert one.async_() is module.asynchronous
    assert str(one.sync().url) == OWN_ENGINES["sqlite"][0]
    session, doubt = one.async_session()
    assert (session.bind, doubt) == (module.asynchronous, False)
    session, factory, doubt = one.session()
    assert (session.bind, factory.kw["bind"], doubt) == (one.sync(), one.sync(), False)


def test_a_factory_that_works_only_in_a_context_is_told_or_doubted(project):
    text = (
        ENGINES
        + """
from sqlalchemy.orm import Session
class Inside(Session):
    def get_bind(self, *arguments, **options):
        raise RuntimeError("outside of a context")
inside = sessionmaker(class_=Inside)
"""
    )
    one = Engines(project(text=text, engine="mod:engine", sessionmaker="mod:inside"), {})
    session, factory, doubt = one.session()
    assert (type(session).__name__, factory, doubt) == ("Inside", sys.modules["mod"].inside, True)

    one = Engines(project(text=text, engine="mod:engine", sessionmaker="mod:in_context"), {})
    for call in (one.session, one.async_session):
        with pytest.raises(EngineError) as caught:
            call()
        assert (caught.value.message, caught.value.hint) == (
            "sessionmaker 'mod:in_context' can't make a session here: RuntimeError: outside of a "
            "context",
            "have an autouse fixture enter the application's context, for example "
            "app.app_context(), before db_session is made",
        )


FACTORIES = {
    "mod:number": ("is int, not a session factory", "name what {made} made"),
    "mod:engine": (
        "is Engine, not a session factory",
        'write engine = "mod:engine", and in sessionmaker name what {made} made, or leave it out',
    ),
    "mod:asynchronous": (
        "is AsyncEngine, not a session factory",
        'write engine = "mod:asynchronous", and in sessionmaker name what {made} made, or leave it '
        "out",
    ),
    "mod:session": (
        "is Session, not a session factory",
        "a session is one test's: name what {made} made",
    ),
    "mod:asynchronous_session": (
        "is AsyncSession, not a session factory",
        "a session is one test's: name what {made} made",
    ),
    "mod:gives": (
        "makes int, not a session",
        "name the factory that it uses, which {made} made",
    ),
    "mod:later": (
        "makes a coroutine, of an async function, not a session",
        "name the factory that it uses, which {made} made",
    ),
    "mod:leaves": (
        "can't make a session: SystemExit: bye",
        "name what {made} made, or a function without arguments that returns a session",
    ),
    "mod:looks": (
        "can't make a session: KeyError: 'x'",
        "name what {made} made, or a function without arguments that returns a session",
    ),
}
MAKERS = (
    ENGINES
    + """
from sqlalchemy.orm import Session
from sqlalchemy.ext.asyncio import AsyncSession
number = 1
session = Session(engine)
asynchronous_session = AsyncSession(asynchronous)
def gives():
    return 1
async def later():
    pass
def leaves():
    raise SystemExit("bye")
def looks():
    raise KeyError("x")
"""
)


@pytest.mark.parametrize("factory", FACTORIES)
def test_what_is_no_factory_is_told_whole(project, factory):
    words, hint = FACTORIES[factory]

    assert error_of(project(text=MAKERS, engine="mod:engine", sessionmaker=factory)) == (
        f"sessionmaker {factory!r} {words}",
        hint.format(made="sessionmaker() or async_sessionmaker()"),
    )


@pytest.mark.parametrize("engine", ["mod:engine", None])
def test_a_factory_without_an_engine_is_told_whole(project, engine):
    assert error_of(project(text=ENGINES, engine=engine, sessionmaker="mod:nowhere")) == (
        "the sessions of 'mod:nowhere' are bound to no engine",
        "bind the factory, sessionmaker(bind=engine), or leave sessionmaker out of "
        "[tool.alembic-snapshot]: db_session is then one on the engine",
    )
