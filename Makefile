# make demo   follow an object in the shipped clip: out/demo.mp4 and out/demo.png
# make serve  the web demo: click an object in a video, watch it being followed
# make web    build the page again after a change in web/ (needs Node.js)
# make test   everything that is checked: format, lint, types, import contracts, tests
# Packages are compiled when they are first imported, which spares a small machine minutes; they must be kept then.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e

.PHONY: demo serve web browser test lint types clean

demo: $(VENV)/installed
	$(BIN)/python -m masklet.cli demo --out out

serve: $(VENV)/installed-serve
	$(BIN)/python -m masklet.cli serve

web: web/node_modules/.package-lock.json
	npm --prefix web run check
	npm --prefix web run build

# The page is tested in a real browser where there is one, or one can be had.
browser:
	@command -v chromium >/dev/null || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ] \
		|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-color-emoji; } \
			>/dev/null || echo "chromium could not be installed; tests in a browser are skipped" >&2

test: browser lint types
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
	@$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "no environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) .
	@touch $@

$(VENV)/installed-serve: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) ".[serve]"
	@touch $@ $(VENV)/installed

$(VENV)/installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) ".[test]"
	@touch $@ $(VENV)/installed $(VENV)/installed-serve

web/node_modules/.package-lock.json: web/package-lock.json
	npm --prefix web ci --no-audit --no-fund

clean:
	rm -rf $(VENV) out build dist .pytest_cache .ruff_cache .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
