# Everything runs in .venv, which is made from the lock files with nothing but Python 3.11 and pip.
PYTHON ?= $(or $(shell command -v python3.11),python3)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help env demo test cover lint types check torture bench docs lock wheel-check clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

env: $(READY) ## Make the environment from the pinned versions
# The lock is the whole closure (`pip check` proves it); resolving it anew would ask the index what is newest, and an older
# pip then fails on the day a newer release of something with extras appears. Hence --no-deps.
$(READY): requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable . # setuptools warns of every editable install
	$(BIN)/python -m pip check --quiet --disable-pip-version-check
	touch $(READY)

demo: $(READY) ## Run the whole job against both simulated services
	$(BIN)/outreach-sync demo

test: $(READY) ## Run the tests (minutes)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not torture"

cover: $(READY) ## Run the tests and show branch coverage
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not torture" --cov --cov-report=term

lint: $(READY) ## Check style, layers and dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/deptry .

types: $(READY) ## Check types
	$(BIN)/mypy

check: lint types test ## Lint, types and tests: what must pass before a change lands

torture: $(READY) ## Prove "nothing lost, nothing twice": faults, kills, properties (long)
	$(BIN)/python -m tests.torture

bench: $(READY) ## Measure: requests, time against the wire, memory (long)
	$(BIN)/python -m tests.benchmarks

docs: $(READY) ## Write the generated files again: schema, references, example, manual pages
	$(BIN)/python -m outreach_sync.config schema > config/outreach-sync.schema.json
	$(BIN)/python -m outreach_sync.config reference > docs/config.md
	$(BIN)/python -m outreach_sync.config example > config/outreach-sync.example.yaml
	$(BIN)/python -m tests.docs.generated

lock: $(READY) ## Pin the newest versions that pyproject.toml allows
	$(BIN)/pip-compile $(LOCK) --extra s2s --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile $(LOCK) --extra s2s --extra dev --output-file requirements-dev.lock pyproject.toml
LOCK := --quiet --upgrade --allow-unsafe --generate-hashes --strip-extras --no-emit-options --no-header

wheel-check: $(READY) ## Build the wheel and run the demo from it, in an environment of its own
	rm -rf build dist .wheel-check
	$(PYTHON) -m venv .wheel-check
	.wheel-check/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	.wheel-check/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	.wheel-check/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
	cd /tmp && $(CURDIR)/.wheel-check/bin/outreach-sync --version && $(CURDIR)/.wheel-check/bin/outreach-sync demo > /dev/null
	rm -rf .wheel-check

clean: ## Remove what was built
	rm -rf .venv .wheel-check build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
