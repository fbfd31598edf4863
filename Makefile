# make demo   follow an object in the shipped clip: out/demo.mp4 and out/demo.png
# make test   everything that is checked: format, lint, types, import contracts, tests
# Packages are compiled when they are imported, which spares a small machine minutes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e

.PHONY: demo test lint types clean

demo: $(VENV)/installed
	$(BIN)/python -m masklet.cli demo --out out

test: lint types
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/installed-test
	$(BIN)/basedpyright --pythonpath $(BIN)/python

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "masklet needs Python 3.10 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) .
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) ".[test]"
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) out build dist .pytest_cache .ruff_cache .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
