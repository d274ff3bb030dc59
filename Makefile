# Each target installs what it needs in .venv, with pinned versions.

PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := bin/python -m pip install -qq --disable-pip-version-check

# Optional packages that are installed; a new environment gets them, too.
OPTIONAL := qdrant providers
INSTALLED := $(filter $(OPTIONAL),$(patsubst .venv/ready-%,%,$(wildcard .venv/ready-*)))
NEEDED := requirements.txt $(INSTALLED:%=requirements-%.txt)

LOCKED := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

# The packages from which `make mutants` without FILE takes its changes.
MUTATED := $(addprefix hls_handler/,engine handlers review routing queue store github untrusted)

# `make test-all` sets REPORTS to a folder: each tier writes its results there and prints no count.
REPORTS :=
report = $(if $(REPORTS),--quiet --junit-xml=$(REPORTS)/$(1).xml)
# The many processes that the tests start read compiled modules, which the first one writes.
PYTEST := PYTHONDONTWRITEBYTECODE= PYTEST_XDIST_AUTO_NUM_WORKERS=$$($(BIN)/python -c 'import os; print((os.cpu_count() or 1) + 1)') \
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal --cov --cov-report=term

.DEFAULT_GOAL := help
.PHONY: help init run demo test test-all test-lowest lock programs lint style types pytest rest check bench load crash simulate rounds machines hostile histories mutants eval pictures clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

init: .venv/ready ## connect HLS with GitHub and Claude, and write config/settings.yaml and .env
	@exec $(BIN)/python -m hls_handler init

run: .venv/ready ## serve config/settings.yaml, or run the demo if nothing is set up
	@exec $(BIN)/python -m hls_handler up

demo: .venv/ready ## run the service against a built-in sandbox GitHub and Claude
	@exec $(BIN)/python -m hls_handler demo

test: programs ## run lint, type checks and the first tier of the tests (some minutes)
	@$(MAKE) --no-print-directory style
	@# mypy uses one core for half a minute, so it runs in parallel with the tests.
	@$(MAKE) --no-print-directory --jobs=2 TYPED="hls_handler hls_sandbox" types pytest

test-all: programs ## run `make test`, then the rest, and count all tests in one line
	@rm -rf .reports
	@$(MAKE) --no-print-directory REPORTS=.reports test; first=$$?; \
		$(MAKE) --no-print-directory REPORTS=.reports --jobs=2 types rest; second=$$?; \
		$(BIN)/python -m tests.count_results .reports; exit $$((first | second))

# run the first tier with the lowest versions that pyproject.toml allows; then .venv has to be built anew
test-lowest: programs .venv/ready-dev
	@$(BIN)/python -m uv pip install --quiet --resolution lowest-direct --upgrade --editable .
	@$(MAKE) --no-print-directory --assume-old=.venv/ready-dev pytest; failed=$$?; rm -f .venv/ready*; exit $$failed

# write the locks with hashes, of the packages in requirements*.txt
lock: .venv/ready-dev
	@$(BIN)/python -m uv pip compile $(LOCKED) requirements.txt --output-file requirements.lock >/dev/null
	@$(BIN)/python -m uv pip compile $(LOCKED) requirements.txt $(OPTIONAL:%=requirements-%.txt) \
		--output-file requirements-all.lock >/dev/null
	@grep -E '^(setuptools|uv)==' requirements-dev.txt \
		| $(BIN)/python -m uv pip compile $(LOCKED) - --output-file requirements-build.lock >/dev/null

# find PostgreSQL and Chromium, which the tests need, or install them with apt-get
programs:
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) tests/system_programs.py

lint: style types ## check formatting, lint and types

# check formatting and lint
style: .venv/ready-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# check types
types: .venv/ready-dev
	@$(BIN)/mypy $(TYPED)

# run the first tier of the tests and measure coverage
pytest: .venv/ready-dev
	@# In a new clone one process compiles the tests, while mypy uses the other core; else each worker compiles all.
	@test -d tests/__pycache__ || PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq >/dev/null || true
	@$(PYTEST) -m "not full" --cov-fail-under=85 $(call report,first)

# run the second tier of the tests and measure the coverage of both
rest: .venv/ready-dev
	@$(PYTEST) -m full --cov-append --cov-fail-under=90 $(call report,second)

# run 20 rounds with four processes on one PostgreSQL, two killed in each
machines: .venv/ready-dev
	@HLS_ROUNDS=20 $(BIN)/python -m pytest -n0 -s tests/machines/test_rounds.py

check: .venv/ready ## list all problems of settings and prompts
	@exec $(BIN)/python -m hls_handler check

bench: .venv/ready-dev ## run the benchmarks (ratios within one run); NAMES="accept claim" for some
	@exec $(BIN)/python -m bench $(NAMES)

load: .venv/ready-dev ## measure 10, 50 and 100 pull requests at once, from webhook to comment
	@exec $(BIN)/python -m bench.pull_requests

# kill the service at every commit and request of every handler, and of a batch (half an hour)
crash: .venv/ready-dev
	@$(BIN)/python -m tests.crash
	@ALL_KILLS=1 $(BIN)/python -m pytest tests/batches/test_kills.py

# run 2,000 schedules of kills and faults in virtual time: SEEDS=17 for one
simulate: .venv/ready-dev
	@$(BIN)/python -m tests.simulation $(or $(SEEDS),0-1999)

# 500 lives of pull requests for each kind of Claude (half an hour): ROUNDS="--lives 2000 --claude sloppy"
rounds: .venv/ready-dev
	@$(BIN)/python -m tests.rounds $(ROUNDS)

# send 10,000 hostile requests to the service (`make test-all` sends 200)
hostile: .venv/ready-dev
	@HOSTILE_REQUESTS=10000 $(BIN)/python -m pytest -n0 tests/e2e/test_hostile.py

# try 200 histories of undone batches and 500 of first texts (`make test-all`: 80 and 100)
histories: .venv/ready-dev
	@ALL_HISTORIES=1 $(BIN)/python -m pytest tests/batches/test_undo.py tests/batches/test_first_text.py

# list the changes of a file that no test notices: FILE=hls_handler/review/ledger.py, or SEED=84 COUNT=100
mutants: .mutants
	@$(BIN)/python -m tests.mutants "$(SEED)" "$(COUNT)" $$(find $(or $(FILE),$(MUTATED)) -name '*.py')

# measure which test runs which line (minutes); remove the file to measure again
.mutants: | .venv/ready-dev
	@COVERAGE_FILE=$@ $(PYTEST) --cov-context=test -m "not full and not smoke" -k "not postgresql" || { rm -f $@; exit 1; }

# ask Claude about the golden cases: EVAL="--judge MODEL --max-usd 4" (costs money)
eval: .venv/ready-dev
	@$(BIN)/python -m tests.golden.evaluate $(EVAL)

# write docs/images from the present pages
pictures: programs .venv/ready-dev
	@$(BIN)/python -m tests.browser.pictures

clean: ## remove .venv and test caches, but not data/
	rm -rf .venv .venv.* .coverage .coverage.* .mypy_cache .pytest_cache .reports .ruff_cache .hypothesis .mutants

# The environment is built in .venv.new, because a running service uses .venv. A build that fails changes nothing.
.venv/ready: pyproject.toml $(NEEDED)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "HLS needs Python 3.11 or newer, and $(PYTHON) is older. Install it, or select it: make PYTHON=python3.12 ..." >&2; \
		exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot create virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 2; }
	@echo "Setting up .venv ..."
	@# -qq: errors only. pip's warnings are about the machine's configuration, and have no remedy here.
	@$(PYTHON) -m venv --clear .venv.new
	@# On a terminal pip shows its progress.
	@if test -t 1; then .venv.new/bin/python -m pip install --disable-pip-version-check $(NEEDED:%=-r %); \
		else .venv.new/$(PIP_INSTALL) $(NEEDED:%=-r %); fi
	@.venv.new/$(PIP_INSTALL) --no-deps --editable .
	@touch .venv.new/ready $(INSTALLED:%=.venv.new/ready-%)
	@# Programs in bin/ name the folder in which they were installed.
	@grep -lIr '\.venv\.new' .venv.new/bin | xargs sed -i.bak 's/\.venv\.new/.venv/g'
	@rm -rf .venv.new/bin/*.bak .venv.old
	@! test -e .venv || mv .venv .venv.old
	@mv .venv.new .venv
	@rm -rf .venv.old

.venv/ready-%: .venv/ready requirements-%.txt
	@.venv/$(PIP_INSTALL) -r requirements-$*.txt
	@touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt requirements-qdrant.txt requirements-providers.txt
	@# All packages are pinned, so pip resolves nothing. The lists of the two processes have no package in common.
	@.venv/$(PIP_INSTALL) --no-compile --no-deps -r requirements-dev.txt & dev=$$!; \
		.venv/$(PIP_INSTALL) --no-compile --no-deps -r requirements-qdrant.txt \
			-r requirements-providers.txt && wait $$dev
	@$(BIN)/python -m pip check --disable-pip-version-check >/dev/null
	@touch $@
