# `make help` lists what there is. Everything is done in .venv, made here from the lock files.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
COMPILE := $(BIN)/pip-compile --quiet --strip-extras --no-header --no-annotate --no-emit-index-url \
  --no-emit-find-links --no-emit-trusted-host --no-emit-options --allow-unsafe

# Several processes, each of which runs whole files; and what was skipped, with the reason.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder -rs

# The first Python that is new enough; `make PYTHON=/path/to/python3` names one.
FIND_PYTHON = for found in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
    "$$found" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; found=; \
  done; [ -n "$$found" ] || { echo "Assay needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3" >&2; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help demo up test test-slow soak fuzz browser lint lock secrets clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.runtime ## start Assay here and compare four optimizers; ONCE=1 stops after the table, PORT=8001 elsewhere
	@$(BIN)/python manage.py demo

up: $(VENV)/.runtime ## start Assay here until Ctrl-C
	@$(BIN)/python manage.py up

test: $(VENV)/.dev browser ## the tests of less than ten seconds; those of the database on PostgreSQL too, where it answers
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow"
	@$(BIN)/python -m tests.on_postgres $(SIDE_BY_SIDE)

test-slow: $(VENV)/.dev browser ## the others: browsers, whole installations, faults
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m slow

soak: $(VENV)/.dev browser ## MINUTES=60 of faults on the whole platform (SEED=1), figures into docs/reliability.md
	@$(BIN)/python -m tests.faults.campaign --minutes $(or $(MINUTES),60) --seed $(or $(SEED),1) --write

browser: # programs that tests use, where they can be had without asking
	@want=$$(for one in chromium pgbouncer ip:iproute2; do \
	  command -v "$${one%:*}" >/dev/null || echo "$${one#*:}"; done); \
	if [ -n "$$want" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing for the tests:" $$want; \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$want; } \
	    >/dev/null 2>&1 || echo "They could not be installed: the tests will say so"; \
	fi

fuzz: $(VENV)/.dev ## CASES=20000 requests to the API that its schema allows, and that it does not; SEED=0
	@$(BIN)/python -m tests.security.fuzz --cases $(or $(CASES),20000) --seed $(or $(SEED),0)

lint: $(VENV)/.dev ## ruff, mypy, import-linter; licences and known holes of what is shipped
	@$(BIN)/ruff check .
	@$(BIN)/mypy engines/core tasks platform
	@PYTHONPATH=platform:. $(BIN)/lint-imports --no-cache
	@$(BIN)/python -m tests.security.licences
	@$(BIN)/python -m tests.security.advisories

lock: $(VENV)/.dev ## pin the newest versions that pyproject.toml allows (a local build's suffix is not part of a version)
	@$(COMPILE) --upgrade --extra worker --output-file requirements.lock pyproject.toml
	@sed -i.old 's/^\(torch==[0-9.]*\)+.*/\1/; /^#/d; /^$$/d' requirements.lock && rm requirements.lock.old
	@$(COMPILE) --extra worker --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	@sed -i.old 's/^\(torch==[0-9.]*\)+.*/\1/; /^-c /d; /^#/d; /^$$/d' requirements-dev.lock && rm requirements-dev.lock.old

secrets: ## what docker-compose.yml keeps secret, made once: files that containers can read in a folder that others cannot enter
	@mkdir -p secrets && chmod 700 secrets
	@umask 022; for name in secret_key postgres_password; do \
	  [ -s secrets/$$name ] || { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > secrets/$$name && \
	    echo "made secrets/$$name"; }; \
	done

clean: ## remove .venv and caches; what Assay keeps (./var) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.runtime: requirements.lock
	@$(BIN)/python -c '' 2>/dev/null || { $(FIND_PYTHON); rm -rf $(VENV); "$$found" -m venv $(VENV) >/dev/null 2>&1 || \
	  { echo "$$found cannot make a virtual environment: install its venv module (Debian: python3-venv)" >&2; exit 1; }; }
	@echo "Installing into $(VENV): some minutes the first time"
	@$(PIP) install -qq --requirement requirements.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "Installing what tests need"
	@$(PIP) install -qq --requirement requirements-dev.lock
	@touch $@
