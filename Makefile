# The same few words on a desk and in CI. All they need is make and a python3 from 3.11 to 3.14.
# A different interpreter: make setup PYTHON=/path/to/python3

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo scorecard test check fix lock bench peers drill clean

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)

# What is installed is known by content, not by time: another lock or a moved checkout means a new
# environment; another pyproject.toml or other compiled code only a new entry for ourselves.
LOCKED := .venv/locked-$(shell { pwd -P; grep -e == -e --hash requirements.lock; } | cksum | cut -d ' ' -f 1)
READY := .venv/ready-$(shell cat pyproject.toml hatch_build.py index/*.pxi index/_kernel.pyx | cksum | cut -d ' ' -f 1)

help: ## list these words
	@awk -F ' *## *' '/^[a-z]+:.*## / {sub(/:.*/, "", $$1); printf "make %-9s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with exactly what requirements.lock names; does nothing when it is there

demo: $(READY) ## build a snapshot from real orders and serve it (ARGS=--no-serve stops after the build)
	@$(BIN)/almanac demo $(ARGS)

scorecard: $(READY) ## what a buyer asks for, measured on real orders: scorecard/scorecard.html
	@$(BIN)/python -m bench.scorecard.demo $(ARGS)

# Parts in order, and who is done first takes over: what tests share is then mostly made once. There
# is one part more than cores, since many tests wait for processes of their own.
# Compiled files are kept even where others aren't, since hundreds of processes would each compile
# us anew, and pytest its asserts.
test: $(READY) ## run the tests (ARGS='-m slow' for the slow ones)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(ARGS)

check: $(READY) ## lint, format, types and floors; changes nothing
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

fix: $(READY) ## let ruff mend what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: $(LOCKED) ## write requirements.lock anew from pyproject.toml (ARGS=--upgrade takes newer releases)
	@$(PIP) install uv
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --all-extras \
		--group dev --generate-hashes --custom-compile-command 'make lock' \
		--output-file requirements.lock $(ARGS)

bench: $(READY) ## measure everything and write the documents' numbers (ARGS='http --help' for one)
ifdef ARGS
	@$(BIN)/almanac bench $(ARGS)
else
	@$(MAKE) --no-print-directory peers || echo 'note: going on without Feast and the models' >&2
	@$(BIN)/almanac bench decision --calls 10000
	@$(BIN)/almanac bench http --rounds 7 --with feast --with model --with scikit --with nginx
	@$(BIN)/almanac bench scale --rounds 7
	@$(BIN)/almanac bench capacity
	@$(BIN)/python -m bench.pages
endif

peers: .venv-peers/ready ## install Feast and two model servers beside us, for `bench http` alone

drill: $(READY) ## six nodes, one bad snapshot, and nobody who notices: the story with times
	@$(BIN)/python -m bench.drill

clean: ## remove the environment, the caches and what was packed; never data or snapshots
	rm -rf .venv .venv-peers .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Contenders are never part of our own lock: what they bring would be measured in us as well.
.venv-peers/ready: bench/peers/requirements.txt | $(LOCKED)
	@echo 'setting up .venv-peers: a minute or two, once' >&2
	@$(BIN)/python -m venv --clear .venv-peers
	@.venv-peers/bin/python -m pip --disable-pip-version-check --no-input -qq install --requirement $<
	@touch $@

$(READY): $(LOCKED)
	@rm -f index/_kernel.*.so
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@ls index/_kernel.*.so >/dev/null 2>&1 || { \
		echo 'note: no C compiler or no Python headers here: decisions are summed by NumPy instead,' >&2; \
		echo 'at about eight times their time; on Debian and Ubuntu: apt-get install gcc python3-dev' >&2; }
	@rm -f .venv/ready-*
	@touch $@

$(LOCKED):
	@python=; for try in $(PYTHONS); do \
		if "$$try" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; \
		then python=$$try; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'error: no Python from 3.11 to 3.14 among: $(PYTHONS)' >&2; \
		echo 'hint: install one, or name it: make setup PYTHON=/path/to/python3' >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "error: $$python can't make an environment: its module venv or ensurepip is missing" >&2; \
		echo 'hint: on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; \
	fi; \
	echo "setting up .venv with $$("$$python" --version): a minute or two, once" >&2; \
	"$$python" -m venv --clear .venv
	@$(PIP) install --require-hashes --only-binary :all: --requirement requirements.lock
	@touch $@
