# `make demo` and `make test` are all a newcomer needs: each makes .venv from the committed lock first.
# Variables: PYTHON (an interpreter ≥ 3.11), VENV (where the environment goes), ARGS (passed on to the command of the target).

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(shell command -v uv 2>/dev/null)
ACCEPTS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))

MONEY := execution venue brokers ledger domain

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types contracts docs docs-check lock migration bench campaign coverage clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)  ## an agent trading a synthetic market on paper; full screen on a terminal, 50 ticks as text elsewhere
	@if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/tradeagent demo $(ARGS); else exec $(BIN)/tradeagent demo --headless --ticks 50 $(ARGS); fi

test: $(STAMP)  ## the test suite, on every core
	@$(BIN)/pytest -n auto --dist worksteal $(ARGS)

lint: $(STAMP)  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## rewrite the code as `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy --strict

contracts: $(STAMP)  ## import-linter: the arrows between rooms
	$(BIN)/lint-imports --no-logo

docs: $(STAMP)  ## regenerate the reference pages
	$(BIN)/python -m tradeagent.cli.reference

docs-check: $(STAMP)  ## fail when a generated page differs from the code
	$(BIN)/python -m tradeagent.cli.reference --check

lock:  ## resolve again: uv.lock, and requirements.lock exported from it (needs uv)
	@[ -n "$(UV)" ] || { echo "make lock needs uv: https://docs.astral.sh/uv/"; exit 1; }
	$(UV) lock $(ARGS)
	$(UV) export --frozen --quiet --format requirements-txt --no-emit-project --no-header --output-file requirements.lock

migration: $(STAMP)  ## the next step of the ledger's schema: make migration NAME=add_watchers (NAME=baseline rewrites the first)
	$(BIN)/python -m tradeagent.ledger.migrations "$(NAME)"
	$(BIN)/ruff format --quiet tradeagent/ledger/migrations/versions

bench: $(STAMP)  ## the measurements of benchmarks/
	$(BIN)/python -m benchmarks $(ARGS)

campaign: $(STAMP)  ## crashes, faults, races and broken disks at full size: make campaign ARGS="exactly_once --seed 7"
	$(BIN)/python -m tests.campaigns $(ARGS)

coverage: $(STAMP)  ## branch coverage of the rooms that money passes through, at least 95 % each; a few minutes
	@rm -f .coverage
	@$(BIN)/python -m coverage run --branch -m pytest -q $(MONEY:%=tests/%) tests/conformance tests/hyperliquid tests/faults tests/research/test_store_results.py tests/algos/test_algo_store.py
	@for room in $(MONEY); do echo "$$room"; $(BIN)/python -m coverage report --include="tradeagent/$$room/*" --fail-under=95 --skip-covered || exit 1; done

clean:  ## remove the environment, caches and build output
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov
	find tradeagent tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted installation is repeated.
$(STAMP): uv.lock requirements.lock
ifneq ($(UV),)
	@echo "setting up $(VENV) with uv"
	UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) sync --frozen --quiet $(if $(PYTHON),--python $(PYTHON))
else
	@set -e; \
	for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); do \
		if "$$python" -c '$(ACCEPTS)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
		echo "TradeAgent needs Python 3.11 to 3.14, and '$(or $(PYTHON),python3)' is $$("$(or $(PYTHON),python3)" --version 2>/dev/null || echo missing)."; \
		echo "Install one, or name the one you have: make PYTHON=/path/to/python3.12 $(or $(MAKECMDGOALS),test)"; exit 1; \
	fi; \
	echo "setting up $(VENV) with $$("$$found" --version) and pip (about a minute)"; \
	"$$found" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@
