# make install, make demo, make test: each makes what it needs first, and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CLIENTS := tests/clients
# Tests in so many processes; the slow ones wait for each other's answers more than for the processor.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format bench chaos clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## a virtual environment in .venv with the package and all that tests and demo need

$(INSTALLED): pyproject.toml $(wildcard $(CLIENTS)/package.json)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[dev]'
	@if [ -f $(CLIENTS)/package.json ] && command -v npm >/dev/null; then \
	  echo 'npm ci in $(CLIENTS)'; npm ci --silent --no-fund --no-audit --prefix $(CLIENTS); \
	fi
	@touch $@

demo: install ## real purchases, end to end, against the stand-in for Iterable; STAY=1 keeps it running
	@$(BIN)/python examples/demo/demo.py $(if $(STAY),--stay)

test: install ## all tests
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

lint: install ## ruff, mypy and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=examples/demo $(BIN)/mypy --strict --explicit-package-bases examples/demo
	$(BIN)/lint-imports

format: install ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## every measurement in benchmarks/
	@for file in $(sort $(shell grep -l __main__ benchmarks/*.py)); do \
	  echo "== $$file"; $(BIN)/python $$file || exit 1; \
	done

chaos: install ## kills, cuts, crashes and faults while people act; SEED=1 MINUTES=10 KILLS=60 (a minute) WORLD=one
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),10) --kills $(or $(KILLS),60) \
		$(if $(WORLD),--world $(WORLD))

clean: ## remove the virtual environment and what tools left
	rm -rf $(VENV) $(CLIENTS)/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
