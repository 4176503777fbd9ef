# Every target first installs its requirements into .venv, from requirements.lock: exact versions with hashes.
SHELL := /bin/bash
PYTHON ?= python3
SERVE ?= 1
SEND ?= 0
VENV := .venv
BIN := $(VENV)/bin
# dagster-dbt still requires sqlglot's deprecated `rs` extra, which warns on every import.
export PYTHONWARNINGS := ignore::UserWarning:sqlglot.tokens
export NO_MKDOCS_2_WARNING := 1
STAMP := $(VENV)/.installed
UV_VERSION := 0.13.9
# The tests of a file share what is expensive to build; the suite sets the order of the files (conftest.py).
TWO_PROCESSES := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo dev test clocks check bench format lock emulator pictures docs clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

install: $(STAMP) ## install into .venv

$(STAMP): requirements.lock pyproject.toml Makefile $(wildcard audit_assets/dashboards/npm/*.json)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Python 3.11 to 3.13 is required; choose one with: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV) (once)."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@mkdir -p $(VENV)/npm && cp audit_assets/dashboards/npm/*.json $(VENV)/npm
	@npm ci --prefix $(VENV)/npm --ignore-scripts --no-audit --no-fund --silent >/dev/null 2>&1 \
	  || echo "npm ci failed: the dashboards work, but send one more megabyte of Plotly on the first visit."
	@touch $@

demo: $(STAMP) ## run synthetic traffic through the pipeline, then serve the UI (SERVE=0 ends after the run, NOW=2026-11-25T08:06:00Z sets the time, SEND=1 sends to Slack and PagerDuty)
	@$(BIN)/audit $(if $(NOW),--now $(NOW)) demo $(if $(filter 0,$(SERVE)),--no-serve,--serve) $(if $(filter 1,$(SEND)),--send)

dev: $(STAMP) ## serve Dagster on the existing data
	@$(BIN)/audit dev

test: $(STAMP) ## run all tests
	@$(BIN)/python -m pytest $(TWO_PROCESSES)

clocks: $(STAMP) ## run all tests under faked clocks: Sunday, Monday, midnight, summer time, 29 February (CLOCK=monday for one, ARGS=... for pytest)
	@$(BIN)/python tools/suite_under_clock.py $(addprefix --clock ,$(CLOCK)) $(or $(ARGS),$(TWO_PROCESSES))

check: $(STAMP) ## check formatting, linters, types, layers, rules, definitions, BigQuery SQL
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/pyright --warnings >/dev/null || $(BIN)/pyright --warnings
	@$(BIN)/sqruff lint --config dbt/.sqruff dbt/models >/dev/null 2>&1 || $(BIN)/sqruff lint --config dbt/.sqruff dbt/models
	@$(BIN)/lint-imports --cache-dir .audit/cache/imports >/dev/null || $(BIN)/lint-imports --no-cache
	@$(BIN)/audit rules check
	@$(BIN)/audit dashboards check
	@$(BIN)/python -m tools.bi_check
	@$(BIN)/audit access check
	@$(BIN)/python -m tools.access_gate
	@mkdir -p .audit/cache/dagster && echo 'telemetry: {enabled: false}' > .audit/cache/dagster/dagster.yaml
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) DAGSTER_HOME=$(CURDIR)/.audit/cache/dagster $(BIN)/dg check defs
	@$(BIN)/python -m tools.bigquery_gate
	@$(BIN)/mkdocs build --strict --quiet >/dev/null || $(BIN)/mkdocs build --strict --quiet
	@echo "all checks passed"

bench: $(STAMP) ## measure the figures in the README
	@$(BIN)/python -m benchmarks

format: $(STAMP) ## format the code as check requires, and write the rules' schema
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .
	@$(BIN)/sqruff fix --config dbt/.sqruff dbt/models
	@$(BIN)/audit rules schema > observability/alerts/ai-audit/rule.schema.json

lock: ## update requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header -o requirements.lock
	@$(BIN)/uv pip compile benchmarks/peers.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header -o benchmarks/peers.lock
	@$(BIN)/uv pip compile tools/emulator/requirements.in --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header -o tools/emulator/requirements.lock

emulator: $(STAMP) ## serve an emulator of BigQuery on port 9050, and print the variables to export
	@$(BIN)/python -m tools.emulator --port 9050

pictures: $(STAMP) ## take the screenshots of the UI in docs/assets, with Debian's chromium
	@$(BIN)/python -m tools.pictures

docs: $(STAMP) ## build the docs site into .audit/site; a broken link fails
	@$(BIN)/mkdocs build --strict --quiet

clean: ## remove local state, keep the installation
	@test ! -x $(BIN)/audit || $(BIN)/audit source remove
	@rm -rf .audit .cache
