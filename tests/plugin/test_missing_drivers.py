"""PostgreSQL without the extra's drivers: a run says what to install, and not the application."""

from __future__ import annotations

import pytest

DRIVERS = {
    "psycopg": ("shop", "SHOP_URL", "{url}"),
    "asyncpg": ("notes", "NOTES_URL", "{async_url}"),
}


@pytest.mark.parametrize("is_set", [True, False])
@pytest.mark.parametrize("driver", DRIVERS)
def test_the_extra_is_named_before_the_application_is_imported(
    new_sample, monkeypatch, real_starts, driver, is_set
):
    project, variable, text = DRIVERS[driver]
    sample = new_sample(project)
    sample.configure(f'environment = {{ {variable} = "{text}" }}')
    sample.write("hidden/sitecustomize.py", f"import sys; sys.modules[{driver!r}] = None")
    sample.write("conftest.py", f"import {project}.db")
    monkeypatch.setenv("ALEMBIC_SNAPSHOT_BACKEND", "postgresql")
    monkeypatch.setenv("PYTHONPATH", str(sample.root / "hidden"))
    if is_set:
        monkeypatch.setenv(variable, f"postgresql+{driver}://localhost/mine")

    result = sample.run()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str()
    assert f"PostgreSQL needs {driver}, which is not installed: {variable} is a URL for it" in text
    assert 'hint: pip install "alembic-snapshot[postgres]"' in text
    assert "ModuleNotFoundError" not in text + result.stdout.str()


def test_on_sqlite_nothing_is_missing(new_sample, monkeypatch, real_starts):
    shop = new_sample("shop")
    shop.write("hidden/sitecustomize.py", "import sys; sys.modules['psycopg'] = None")
    monkeypatch.setenv("PYTHONPATH", str(shop.root / "hidden"))

    shop.run(test_it="def test_it(db_session): pass").assert_outcomes(passed=1)
