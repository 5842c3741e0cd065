# What a person types; CONTRIBUTING.md lists it. Each target makes .venv and installs what it needs, once.
# The stamps in .venv say which extras are installed; a newer pyproject.toml makes pip look again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)
STEPS := 2000
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: help demo test check docs clean

help:
	@echo "make demo    install, check every gradient, train a character model for about a minute, sample from it"
	@echo "make test    the tests, on every backend that is installed"
	@echo "make check   ruff, its formatter and mypy"
	@echo "make docs    the pages of docs/ and the API reference as a site, in site/"
	@echo "make clean   remove what builds and tools left behind; .venv and runs stay"

# one thread: on a busy machine two that wait for each other at every step are several times slower
demo: $(VENV)/.installed-plot
	$(BIN)/rnnbp backends
	$(BIN)/rnnbp gradcheck
	$(BIN)/rnnbp train --cell lstm --hidden 128 --time-steps 50 --batch 32 --steps $(STEPS) --lr 0.01 --clip-norm 1 \
		--threads 1 --out $(RUN)
	$(BIN)/rnnbp sample $(RUN) --prompt "def " --length 400 --temperature 0.8
	@echo
	@echo "The learning curve is $(RUN)/curve.png; train on from there with: $(BIN)/rnnbp train --resume $(RUN) --steps 4000"

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy docs/hooks.py docs/refresh.py

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build

clean:
	rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rnnbp needs Python 3.11 or newer and $(PYTHON) is " + sys.version.split()[0] + ": name another, as in make demo PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# a stamp for an extra: plot, test, docs or dev
$(VENV)/.installed-%: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable ".[$*]"
	@touch $@
