# `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_FLAGS := --quiet --disable-pip-version-check
OBSERVATORY := $(BIN)/python -m observatory

.DEFAULT_GOAL := help
.PHONY: help install run demo migrate ingest test check format bench vendor clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "The Observatory needs Python 3.11 or newer; set PYTHON=python3.x")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python -m pip install $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@

install: $(VENV)/.installed ## make the virtual environment and install into it

run: install ## migrate, serve on 127.0.0.1:3001, read transcripts and follow them
	@$(OBSERVATORY) migrate
	@exec $(OBSERVATORY) serve

demo: install ## serve an archive of a team that never was, in build/demo; LIVE=1 goes on writing it
	@exec $(BIN)/python -m tests.demo $(if $(LIVE),--live)

migrate: install ## bring the database's schema up to date
	@$(OBSERVATORY) migrate

ingest: install ## read what is new in the transcripts
	@$(OBSERVATORY) ingest

test: $(VENV)/.installed-dev ## run the tests
	@$(BIN)/python -m pytest -n auto

check: $(VENV)/.installed-dev ## format, lint, types and tests, as CI does
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n auto

format: $(VENV)/.installed-dev ## format the code and mend what lint can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## measure, against floors taken in the same run
	@$(BIN)/python -m tests.bench

vendor: $(VENV)/.installed-dev ## fetch the libraries of the page from npm (LATEST=--latest: the newest)
	@$(BIN)/python -m tests.page.vendoring $(LATEST)

clean: ## remove what was built; the database in data/ stays
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
