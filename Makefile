# Every habit of the house. `make` alone lists them.
SHELL := /bin/sh
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo up test check format bench eval lock clean

help: ## List these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: ## Build .venv with the desk command (locked, hashed versions)
	@scripts/setup

setup-dev: ## The same, with what tests and checks need
	@scripts/setup dev

demo: setup ## Real input on four channels, shown as it happens; ends by itself
	@$(BIN)/desk demo

up: setup ## Run the desk on this machine until Ctrl-C
	@$(BIN)/desk up

test: setup-dev ## All tests, against real servers where they are installed
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup --ignore tests/chaos --ignore tests/end_to_end --ignore tests/bench $(ARGS)
	@echo "Now the whole desk, end to end and with everything dying; alone, since it watches the clock ..."
	@$(BIN)/python -m pytest -q tests/end_to_end tests/chaos tests/bench $(ARGS)

check: setup-dev ## Lint, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pyright --warnings

format: setup-dev ## Format the code and mend what can be mended by itself
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

bench: setup-dev ## Measure this machine, each figure with its ratio
	@$(BIN)/python -m bench.run $(ARGS)

eval: setup-dev ## Measure the classifier by cross-validation
	@$(BIN)/python -m services.router.classify.evaluate

lock: ## Renew the lock files from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --group build --group demo -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --group build --group demo --group dev -o requirements-dev.lock

clean: ## Remove .venv and everything the desk wrote under var/
	rm -rf .venv var .pytest_cache .ruff_cache
