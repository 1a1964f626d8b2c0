# foveal: `make demo` and `make test` set up all they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
PYTEST_ARGS ?=
NATIVE := $(shell find native -name '*.h' -o -name '*.cc')
# editable once `make dev` has been called, so that other targets do not undo it
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check $$(test -e $(VENV)/.editable && echo --no-build-isolation --editable) .
SOURCES := pyproject.toml CMakeLists.txt $(shell find src native -type f -not -name '*.pyc')

.PHONY: demo test test-peers bench lint format dev clean check-machine

demo: $(VENV)/.installed
	$(BIN)/foveal train digits

test: $(VENV)/.tools $(VENV)/.installed
	$(BIN)/python -m pytest tests $(if $(DATA),--data=$(abspath $(DATA))) $(PYTEST_ARGS)

test-peers: $(VENV)/.peers $(VENV)/.installed
	$(BIN)/python -m pytest -m peers tests/peers $(PYTEST_ARGS)

bench: $(VENV)/.peers $(VENV)/.installed
	$(BIN)/foveal bench --nets all --against torch

lint: $(VENV)/.tools | $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(NATIVE)

format: $(VENV)/.tools
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE)

# For work on foveal itself: changes of Python files act at once, native ones after another `make dev` (seconds).
dev: $(VENV)/.tools
	@touch $(VENV)/.editable
	$(INSTALL)
	@touch $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist

# What is missing is named with the command that installs it, before anything is downloaded.
check-machine:
	@command -v $(PYTHON) >/dev/null || { echo "foveal needs Python: sudo apt-get install python3 python3-venv python3-dev"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "foveal needs Python 3.11 or newer, and $(PYTHON) is older: sudo apt-get install python3.11 python3.11-venv python3.11-dev, then make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "foveal needs Python's venv: sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { echo "foveal needs Python's headers: sudo apt-get install python3-dev"; exit 1; }
	@command -v g++ >/dev/null || { echo "foveal needs a C++ compiler: sudo apt-get install g++"; exit 1; }

$(BIN)/python: | check-machine
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(INSTALL)
	@touch $@

$(VENV)/.tools: requirements-dev.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/.peers: Makefile $(VENV)/.tools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@touch $@
