# make demo: set up and parse the sample document. make test: the same, then lint and the whole test suite.
# Both are fast the second time. Variables: PYTHON=python3.12, VENV=path, PIP_FLAGS="…", PYTEST_FLAGS="-k table".

PYTHON       ?= python3
VENV         ?= .venv
PIP_FLAGS    ?= -q
PYTEST_FLAGS ?= -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

BIN    := $(VENV)/bin
SAMPLE := samvlm/assets/sample_table.png
CORE   := $(VENV)/.samvlm-core
DEV    := $(VENV)/.samvlm-dev
OLDEST := $(VENV)/oldest
PIP    := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt

.PHONY: demo test test-oldest lint format fonts clean help

demo: $(CORE)
	$(BIN)/samvlm parse $(SAMPLE)
	@$(BIN)/samvlm parse $(SAMPLE) -f html -o runs/demo --force
	@echo "The same table as a web page: $(CURDIR)/runs/demo/$(notdir $(SAMPLE:.png=.html))"

test: $(DEV)
	@$(MAKE) --no-print-directory lint demo
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

# The lower bounds of pyproject.toml, laid over the same environment (which test_remote_code.py looks beneath).
test-oldest: $(DEV) $(OLDEST)/.done
	PYTHONPATH=$(abspath $(OLDEST)) $(BIN)/python -m pytest -p no:cacheprovider -m "not slow" $(PYTEST_FLAGS) \
	    tests/data tests/metrics tests/model tests/generation --ignore-glob="*synth*" \
	    --ignore=tests/model/test_remote_code.py --ignore=tests/metrics/test_hostile_pairs.py

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Font families for synthetic training data (Debian or Ubuntu; asks for root).
fonts:
	$(if $(filter 0,$(shell id -u)),,sudo) sh scripts/install_fonts.sh

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache runs/demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:
	@sed -n 's/^# //p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "samvlm needs Python 3.11 or newer, and $(PYTHON) is not. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[dev]"
	@touch $@ $(CORE)

$(OLDEST)/.done: constraints-oldest.txt $(DEV)
	rm -rf $(OLDEST)
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_FLAGS) --no-deps --target $(OLDEST) -r $<
	@touch $@
