# Everything that a newcomer runs. The install sits behind a stamp on pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: test-db test test-postgres lint bench bench-quick bench-postgres soak realworld clean

test-db: $(STAMP)
	@$(BIN)/python scripts/make_test_db.py

test: $(STAMP)
	@$(BIN)/python scripts/make_test_db.py --quiet >/dev/null
	$(BIN)/pytest $(ARGS)

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

soak: $(STAMP)
	$(BIN)/python -m tests.reset.soak $(ARGS)
	$(BIN)/python -m tests.oracles.test_checks

realworld: $(STAMP)
	$(BIN)/python tests/realworld/run.py $(ARGS)

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]" >&2
	@touch $@

clean:
	rm -rf $(VENV) .alembic-snapshot dist build
