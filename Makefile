# Every target sets up what it needs first; a second run finds everything in place and starts at once.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# -qq silences pip's warnings about the index configuration of a machine; its errors still show.
PIP_FLAGS := -qq --disable-pip-version-check

# Label Studio lives in an environment of its own (its pins clash with ours), below the user's cache so that all
# checkouts share it. labeling/server.py looks for it at this place.
LABEL_STUDIO_VERSION := $(shell sed -n 's/^label-studio==//p' constraints-label-studio.txt)
LABEL_STUDIO_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/glacier-al
LABEL_STUDIO_VENV := $(LABEL_STUDIO_CACHE)/label-studio-$(LABEL_STUDIO_VERSION)

# A stamp carries the checksum of what it was installed from: a change of the pins makes its environment stale.
checksum = $(shell cat $(1) | cksum | tr ' ' '-')
OUR_STAMP := $(VENV)/.installed-$(call checksum,pyproject.toml constraints.txt)
LABEL_STUDIO_STAMP := $(LABEL_STUDIO_VENV)/.installed-$(call checksum,constraints-label-studio.txt)
ifdef GLACIER_AL_LABEL_STUDIO  # names the program of an existing installation
LABEL_STUDIO_STAMP :=
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-fast bench bench-long lint docs clean distclean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(OUR_STAMP) $(LABEL_STUDIO_STAMP)  ## install everything, in virtual environments, with pip alone
	@echo "Set-up is complete."

define require-python
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
  echo "'$(PYTHON)' is not a working CPython 3.11. Install that, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
endef

# The geoutils wheel carries a Landsat scene and its outlines. Only these files are used, hence no dependencies.
$(OUR_STAMP):
	$(require-python)
	@echo "[1/5] Virtual environment $(VENV)"
	@"$(PYTHON)" -m venv $(VENV)
	@rm -f $(VENV)/.installed-*
	@echo "[2/5] PyTorch (the largest part; takes some minutes on a slow line)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt torch
	@echo "[3/5] Everything else the server needs"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@echo "[4/5] The demo scene"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt --no-deps geoutils
	@touch $@

$(LABEL_STUDIO_STAMP):
	$(require-python)
	@echo "[5/5] Label Studio $(LABEL_STUDIO_VERSION) in $(LABEL_STUDIO_VENV)"
	@mkdir -p "$(LABEL_STUDIO_CACHE)"
	@"$(PYTHON)" -m venv "$(LABEL_STUDIO_VENV)"
	@rm -f "$(LABEL_STUDIO_VENV)"/.installed-*
	@"$(LABEL_STUDIO_VENV)/bin/python" -m pip install $(PIP_FLAGS) -c constraints-label-studio.txt label-studio
	@touch "$@"

demo: setup  ## run the whole loop on the Everest scene; leaves var/demo/report.html
	@$(BIN)/glacier-al demo

up: setup  ## start everything and stay up until Ctrl-C
	@$(BIN)/glacier-al up

test: setup  ## run all tests
	@tests/install-chromium.sh "$(BIN)"
	@$(BIN)/python -m pytest

test-fast: setup  ## run the tests that need no service, no browser and no long training
	@$(BIN)/python -m pytest -m "not slow"

bench: setup  ## measure speed, rankings, scale and learning in a quarter of an hour; leaves var/bench/report.json
	@$(BIN)/python -m benchmarks.main

bench-long: setup  ## ... as published in docs/benchmarks.md; takes hours, and goes on where it was stopped
	@$(BIN)/python -m benchmarks.main --long

lint: setup  ## formatter, linter, strict types and direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  ## build the documentation into site/
	@$(BIN)/mkdocs build --strict

clean:  ## remove everything made in this folder, var/ with all its data included
	rm -rf $(VENV) var site build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## ... and Label Studio's environment in the cache
	rm -rf "$(LABEL_STUDIO_VENV)"
