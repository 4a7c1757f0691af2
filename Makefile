# Everything that a newcomer runs. The install sits behind a stamp on pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
REPORT := .pytest_cache/report.xml
SHARED := -n 2 --dist worksteal --junitxml=$(REPORT)

# Tests start processes by the thousand: each would compile the library anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: test-db test test-all rooms mutants test-postgres lint bench bench-quick bench-postgres \
	soak realworld docs oldest newest clean

test-db: $(STAMP)
	@$(BIN)/python scripts/make_test_db.py

# Every test, but of many cases a few, other ones each time, and none that are generated. A worker
# that is done takes tests from the others.
test: $(STAMP)
	@$(BIN)/python scripts/make_test_db.py --quiet >/dev/null
	$(BIN)/pytest $(SHARED) -m "not campaign" --cases 2 $(ARGS)

# A published package that nobody here wrote, then every test with all of its cases.
test-all: $(STAMP)
	@$(BIN)/python scripts/make_test_db.py --quiet >/dev/null
	$(BIN)/python tests/realworld/run.py optuna
	$(BIN)/pytest $(SHARED) $(ARGS)

# How long the tests of each folder take, of a run that has been.
rooms: $(STAMP)
	@$(BIN)/python scripts/rooms.py $(REPORT)

# Mistakes, one at a time, in changed lines of what guards the guarantees; ALL=1: a sample of all lines.
mutants: $(STAMP)
	@$(BIN)/python -m tests.mutants $(if $(ALL),--all) $(if $(SAMPLE),--sample $(SAMPLE)) \
		$(if $(SEED),--seed $(SEED)) $(if $(LIMIT),--limit $(LIMIT)) $(ARGS)

# The application's tests on a PostgreSQL server: SNAPSHOT_POSTGRES_URL's, or a private one.
test-postgres: export ALEMBIC_SNAPSHOT_BACKEND := postgresql
test-postgres: $(STAMP)
	$(BIN)/pytest backend/tests $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench bench-quick: $(STAMP)
	$(BIN)/python benchmarks/run.py $(if $(filter bench-quick,$@),--quick) $(ARGS)

bench-postgres: $(STAMP)
	$(BIN)/python benchmarks/run.py --postgres $(ARGS)

# What CI does a few times, many times: databases that are put back, then each oracle's cases.
soak: export ORACLE_CASES ?= 1000
soak: $(STAMP)
	$(BIN)/python -m tests.reset.soak $(ARGS)
	$(BIN)/pytest -q -n 2 tests/oracles tests/cli/test_init.py

realworld: $(STAMP)
	$(BIN)/python tests/realworld/run.py $(ARGS)

$(STAMP): pyproject.toml
	@if test -x $(BIN)/python; then python=$(BIN)/python; else python=$(PYTHON); fi; \
		"$$python" scripts/check_python.py
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)" >&2; $(PYTHON) -m venv $(VENV) >&2; }
	@echo "installing what the library, the application and their tests need into $(VENV): once, some minutes" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1" >&2  # knows --group
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[all]" --group dev >&2
	@echo "installed" >&2
	@touch $@

# The pages of docs/ as a site; a warning is an error.
docs: $(STAMP)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b dirhtml docs build/docs $(ARGS)

# With the oldest versions that pyproject.toml allows; and with the newest ones of the same packages.
oldest: $(STAMP)
	.ci/versions oldest $(ARGS)

newest: $(STAMP)
	.ci/versions newest $(ARGS)

clean:
	rm -rf $(VENV) .alembic-snapshot dist build
