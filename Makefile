# `make images && runner go` runs the default experiment; `make help` lists the rest.
# Settings: PYTHON=python3.12 chooses a Python, ENGINE=external forbids installing or starting a container engine.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# The helper that would clean up after testcontainers comes from a registry; the tests clean up themselves.
export TESTCONTAINERS_RYUK_DISABLED := true

BIN := .venv/bin
STAMPS := .venv/stamps
INSTALL := scripts/install.sh pyproject.toml
CODE := runner tests scripts $(wildcard bench/*.py) bench/gateway docs/conf.py
DOCS := build/docs
TESTS_AT_ONCE ?= 2
CHAOS_SECONDS ?= 90
CHAOS_SEED ?= 1

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

.PHONY: install
install: $(STAMPS)/runtime ## install into .venv from the locked requirements, and put `runner` on the PATH
	@scripts/link.sh

.PHONY: link
link: $(STAMPS)/runtime
	@scripts/link.sh --link

$(STAMPS)/runtime: requirements.lock $(INSTALL)
	@scripts/install.sh requirements.lock
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/development: requirements-dev.lock $(INSTALL)
	@scripts/install.sh requirements-dev.lock
	@mkdir -p $(STAMPS) && touch $@ $(STAMPS)/runtime

.PHONY: engine
engine: ## make sure that a container engine answers; install and start one if allowed
	@"$$(scripts/find-python.sh)" scripts/engine.py

.PHONY: images
images: link engine ## build what is missing of the default experiment's images
	@$(BIN)/runner images build; code=$$?; scripts/link.sh --hint; exit $$code

.PHONY: develop
develop: $(STAMPS)/development ## install what developing needs as well
	@scripts/link.sh

.PHONY: test
test: develop engine ## everything needed, then all tests
	@$(BIN)/runner images build
	@$(BIN)/runner images build aider opencode
	$(BIN)/pytest tests/unit -n auto
	$(BIN)/pytest tests/engine tests/e2e -n $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder --durations=20
	@$(MAKE) chaos CHAOS_SECONDS=$(CHAOS_SECONDS)

.PHONY: chaos
chaos: develop engine ## kill everything at random for CHAOS_SECONDS, seeded by CHAOS_SEED; needs root
	CHAOS_SECONDS=$(CHAOS_SECONDS) CHAOS_SEED=$(CHAOS_SEED) $(BIN)/pytest tests/chaos -p no:randomly -s

.PHONY: check
check: static ## format, lint, types, import contracts, generated files, unit tests, documentation
	$(BIN)/pytest tests/unit -n auto
	@$(MAKE) docs

.PHONY: static
static: develop ## what `check` does without running anything: format, lint, types, import contracts, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	MYPYPATH=scripts:bench $(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate.py --check

.PHONY: docs
docs: develop ## build the documentation into build/docs, warnings as errors
	$(BIN)/sphinx-build -W --keep-going -q -b html docs $(DOCS)

.PHONY: generate
generate: develop ## write what is derived from the code: schemas, reference pages, golden help texts
	$(BIN)/python scripts/generate.py

.PHONY: bench
bench: develop engine ## measure against the thresholds, into build/bench.json
	$(BIN)/python bench/measure.py

.PHONY: lock
lock: develop ## resolve the project's own dependencies anew (ARGUMENTS=--upgrade for newer ones)
	$(BIN)/python scripts/lock.py $(ARGUMENTS)

.PHONY: clean
clean: ## remove what was built and cached here; runs, images and .venv stay
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
