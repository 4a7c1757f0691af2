"""What raises from outside while a report is made, or a test is ended: a time limit, a signal."""

from __future__ import annotations

import pytest

from alembic_snapshot.plugin.outside import attempt, reason

# Imported here, and not only in fixtures: pytester forgets what is imported while it is in use.
from alembic_snapshot.postgres.private import acquire  # noqa: F401

# As a signal's handler does, at the beginning of a function of the library.
CONFTEST = """
    import sys

    def interrupt(module, function, error):
        def profile(frame, event, _):
            name = frame.f_globals.get("__name__", "").removeprefix("alembic_snapshot.")
            if event == "call" and (name, frame.f_code.co_name) == (module, function):
                sys.setprofile(None)
                raise error

        sys.setprofile(profile)
"""
REPORTING = [
    ("plugin.current", "refused_behind"),
    ("plugin.traces", "shorten"),
    ("plugin.current", "describe"),
    ("plugin.database", "stray"),
    ("plugin.kept", "describe"),
    ("plugin.kept", "reserve"),
    ("plugin.written", "with_writers"),
    ("plugin.written", "_best"),
    ("database.writers", "_run"),
    ("database.writers", "_execute"),
    ("KIND.replay", "rows"),
    ("KIND.replay", "close"),
    ("plugin.written", "ending"),
    ("plugin.tokens", "note_of"),
    ("plugin.tokens", "token_of"),
]
ENDING = [
    ("plugin.current", "before_teardown"),
    ("plugin.current", "settle"),
    ("plugin.current", "_dispose"),
    ("plugin.database", "dispose"),
    ("KIND.clone", "delete"),
]
TESTS = """
    import sys
    import pytest
    from conftest import interrupt
    from shop import orders

    def place(param):
        return [pytest.param(*one, id=".".join(one)) for one in param]

    @pytest.fixture(autouse=True)
    def alone(db_clone):
        assert orders.names() == ["the house"]

    @pytest.mark.parametrize(("module", "function"), place({reporting}))
    def test_reporting(module, function):
        orders.add_customer("Ada")
        interrupt(module, function, pytest.fail.Exception("Timeout (>1s)"))
        assert 0

    @pytest.mark.parametrize(("module", "function"), place({ending}))
    def test_ending(module, function):
        orders.add_customer("Ada")
        interrupt(module, function, pytest.fail.Exception("Timeout (>1s)"))

    @pytest.mark.parametrize(
        "error",
        [pytest.skip.Exception("no"), SystemExit(3), TimeoutError("late"), GeneratorExit()],
        ids=["skipped", "exit", "timeout", "generator"],
    )
    def test_error(error):
        orders.add_customer("Ada")
        interrupt("plugin.written", "_best", error)
        assert 0

    def test_last(db_clone):
        assert sys.getprofile() is None
        if "sqlite" in db_clone.url:
            assert not list(db_clone.path.parent.glob("*-replay-*"))
"""
ENDED = """
    import pytest
    from conftest import interrupt
    from shop import orders

    def test_it(db_clone):
        orders.add_customer("Ada")
        interrupt("{module}", "{function}", {error})
        assert 0

    def test_next(db_clone):
        print("WENT ON")
        assert 0
"""
ERRORS = {
    "KeyboardInterrupt()": "*KeyboardInterrupt*",
    'pytest.exit.Exception("enough", returncode=2)': "*Exit: enough*",
}


@pytest.fixture
def shop(on_either):
    on_either.write("conftest.py", CONFTEST)
    return on_either


def room(kind, place):
    return (place[0].replace("KIND", kind.removesuffix("ql")), place[1])


def leftovers(sample, kind, request):
    """Copies in which SQL was run again, and clones, of runs that are over."""
    if kind == "postgresql":
        return request.getfixturevalue("names")("alembic_clone_")
    return [path for path in sample.pytester.path.rglob("*.db") if "-replay-" in path.name]


@pytest.mark.parametrize("clones", ["fresh", "reset"])
def test_what_ends_a_report_or_an_end_is_said_and_the_run_goes_on(shop, kind, clones, request):
    reporting, ending = ([room(kind, one) for one in places] for places in (REPORTING, ENDING))
    if clones == "reset":
        # The database of the process, which is put back.
        ending[-1] = ("plugin.reset", "_put_back")
        ending.append(("plugin.reset", "_take_back"))
    tests = TESTS.format(reporting=reporting, ending=ending)

    result = shop.run("-p", "no:randomly", "-rA", f"--snapshot-clones={clones}", test_it=tests)

    told = result.stdout.str()
    assert "INTERNALERROR" not in told
    assert "previous item was not torn down properly" not in told
    result.assert_outcomes(failed=len(reporting) + 4, passed=len(ending) + 1, errors=len(ending))
    for function in (one[1] for one in (*reporting, *ending)):
        _, _, section = told.partition(f"{function}] _")
        assert "interrupted by Failed: Timeout (>1s)" in section.partition("\n____")[0], function
    for word in ("Skipped: no", "SystemExit: 3", "GeneratorExit"):
        assert f"not known: interrupted by {word}\n" in told
    assert "not known: late\n" in told
    assert leftovers(shop, kind, request) == []


@pytest.mark.parametrize("error", ERRORS, ids=["interrupt", "exit"])
@pytest.mark.parametrize(
    "place",
    [
        ("database.writers", "_execute"),
        ("KIND.replay", "close"),
        ("plugin.current", "_dispose"),
    ],
    ids=".".join,
)
def test_what_ends_the_run_still_does(shop, kind, place, error, request):
    module, function = room(kind, place)
    tests = ENDED.format(module=module, function=function, error=error)

    # Hypothesis has pluggy warn of whatever comes out of a report, and warnings are errors here.
    options = ("-p", "no:randomly", "-p", "no:hypothesispytest", "-s")
    result = shop.run(*options, test_it=tests)

    assert result.ret == 2
    result.stdout.fnmatch_lines([ERRORS[error]])
    told = result.stdout.str()
    assert "INTERNALERROR" not in told
    assert "WENT ON" not in told
    assert leftovers(shop, kind, request) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), pytest.exit.Exception("enough")])
def test_what_ends_the_run_is_raised(error):
    def step():
        raise error

    with pytest.raises(type(error)):
        attempt(step)


def test_an_error_of_our_own_has_its_traceback():
    def step():
        raise ValueError("ours\nand more")

    told = attempt(step)

    assert told is not None
    assert told.startswith("interrupted by ValueError: ours\nTraceback")
    assert "raise ValueError" in told
    assert attempt(lambda: None) is None
    assert reason(SystemExit()) == "interrupted by SystemExit"
