# Every target sets up what it needs first; a second run finds everything in place and starts at once.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# uv, of a locked version, with the configuration of pip. -qq silences pip's warnings about a machine's indices; its
# errors still show.
UV := $(BIN)/python tools/uv.py
INSTALL_UV := $(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r locks/uv.txt
# Python compiles a library when it is first loaded, and keeps the result: but not where this variable forbids it.
COMPILE := $(if $(PYTHONDONTWRITEBYTECODE),--compile-bytecode)

# Label Studio lives in an environment of its own (its pins clash with ours), below the user's cache so that all
# checkouts share it. labeling/server.py looks for it at this place.
LABEL_STUDIO_VERSION := $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' labeling/server.py)
LABEL_STUDIO_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/glacier-al
LABEL_STUDIO_VENV := $(LABEL_STUDIO_CACHE)/label-studio-$(LABEL_STUDIO_VERSION)

# A stamp carries the checksum of what it was installed from: a change of it makes its environment stale. The editable
# installation notes where each package lies, so that a new package makes it stale, too.
checksum = $(shell (cat $(1); ls */__init__.py) | cksum | tr ' ' '-')
OUR_LOCKS := $(addprefix locks/,uv.txt server.txt dev.txt demo-scene.txt torch.txt)
OUR_STAMP := $(VENV)/.installed-$(call checksum,pyproject.toml $(OUR_LOCKS))
LABEL_STUDIO_STAMP := $(LABEL_STUDIO_VENV)/.installed-$(shell cksum <locks/label-studio.txt | tr ' ' '-')
ifdef GLACIER_AL_LABEL_STUDIO  # names the program of an existing installation
LABEL_STUDIO_STAMP :=
endif

# The scripts and styles of the pages, bundled from web/ with Node.js, which is installed with the tools of development.
PAGES := $(sort $(shell find web -path web/node_modules -prune -o -type f ! -name '.built-*' -print))
PAGES_STAMP := web/.built-$(shell cat $(PAGES) | cksum | tr ' ' '-')

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-fast chaos soak bench bench-long lint fuzz sbom lock pictures docs clean distclean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(OUR_STAMP) $(LABEL_STUDIO_STAMP) $(PAGES_STAMP)  ## install everything, in virtual environments
	@echo "Set-up is complete."

define require-python
@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
  echo "'$(PYTHON)' is not a working CPython 3.11. Install that, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
endef

# The locks name every package, hence --no-deps; only a build of PyTorch with CUDA brings libraries of its own.
$(OUR_STAMP):
	$(require-python)
	@echo "[1/5] Virtual environment $(VENV), with uv"
	@"$(PYTHON)" -m venv --clear $(VENV)
	@$(INSTALL_UV)
	@echo "[2/5] The server, the demo scene and the tools of development"
	@$(UV) pip install --python $(BIN)/python --no-deps $(COMPILE) \
	  -r locks/server.txt -r locks/dev.txt -r locks/demo-scene.txt
	@$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	@echo "[3/5] PyTorch (with CUDA some GB, unless the configuration of pip names a build for CPU)"
	@$(UV) pip install --python $(BIN)/python $(COMPILE) -r locks/torch.txt
	@touch $@

# Another checkout may be running from this environment: only a half-finished one, without a stamp, is made anew.
$(LABEL_STUDIO_STAMP): | $(OUR_STAMP)
	$(require-python)
	@echo "[4/5] Label Studio $(LABEL_STUDIO_VERSION) in $(LABEL_STUDIO_VENV)"
	@mkdir -p "$(LABEL_STUDIO_CACHE)"
	@ls "$(LABEL_STUDIO_VENV)"/.installed-* >/dev/null 2>&1 || \
	  "$(PYTHON)" -m venv --clear --without-pip "$(LABEL_STUDIO_VENV)"
	@rm -f "$(LABEL_STUDIO_VENV)"/.installed-*
	@$(UV) pip sync --python "$(LABEL_STUDIO_VENV)/bin/python" $(COMPILE) locks/label-studio.txt \
	  --build-constraints locks/label-studio.txt --require-build-hashes --preview-features build-dependency-hashes
	@touch "$@"

# Without the scripts of packages: none of ours needs them.
$(PAGES_STAMP): | $(OUR_STAMP)
	@echo "[5/5] The pages"
	@cd web && ../$(BIN)/npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@cd web && ../$(BIN)/node build.mjs
	@rm -f web/.built-* && touch $@

demo: setup  ## run the whole loop on the Everest scene; leaves var/demo/report.html
	@$(BIN)/glacier-al demo

up: setup  ## start everything and stay up until Ctrl-C
	@$(BIN)/glacier-al up

# After hundreds of other tests in one process, Chromium hung when it was to run the network, and once did not run the
# script of a page: these get a fresh process.
ALONE := tests/system/test_predict_in_browser.py tests/system/test_first_visit.py

test: setup  ## run all tests
	@tests/install-chromium.sh "$(BIN)"
	@$(BIN)/python -m pytest -n 2 $(addprefix --ignore=,$(ALONE))
	@$(BIN)/python -m pytest $(ALONE)

test-fast: setup  ## run the tests that need no service, no browser and no long training
	@$(BIN)/python -m pytest -n 2 -m "not slow"

chaos: setup  ## break a running system in every way; with CHAOS="--seed 7 --faults 40 --events 400 --minutes 30"
	@$(BIN)/python -m chaos.main $(CHAOS)

soak: setup  ## let a system work for an hour, and look whether memory, threads and files stay flat; SOAK="--minutes 10"
	@$(BIN)/python -m chaos.soak $(SOAK)

bench: setup  ## measure speed, rankings, scale and learning in a quarter of an hour; leaves var/bench/report.json
	@$(BIN)/python -m benchmarks.main

bench-long: setup  ## ... as published in docs/benchmarks.md; takes hours, and goes on where it was stopped
	@$(BIN)/python -m benchmarks.main --long

lint: setup  ## formatter, linter, strict types, direction of imports and bandit
	cd web && ../$(BIN)/node node_modules/typescript/bin/tsc --noEmit
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy -p benchmarks -p chaos
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml .

fuzz: setup  ## feed 100,000 damaged inputs to the readers of data from outside; takes about 20 minutes
	@$(BIN)/python -m tests.fuzz

sbom: setup  ## write the software bill of materials of what is installed (CycloneDX) to sbom.json
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file sbom.json $(BIN)/python

$(BIN)/uv:
	$(require-python)
	@"$(PYTHON)" -m venv $(VENV)
	@$(INSTALL_UV)

lock: | $(BIN)/uv  ## resolve the dependencies anew into locks/; with UPGRADE=1 in their newest versions
	@$(BIN)/python -m tools.lock $(if $(UPGRADE),--upgrade)

pictures: demo  ## take the pictures of the documentation, of the system that the demo leaves
	@GLACIER_AL_VAR_DIR=var/demo/system $(BIN)/python -m tools.screenshots --up
	@BENCHMARK_FOLDER=var/demo $(BIN)/python -m benchmarks.annotator_page --rounds 1 --picture docs/img/labelling-page.png

docs: setup  ## build the documentation into site/
	@$(BIN)/mkdocs build --strict

clean:  ## remove everything made in this folder, var/ with all its data included
	rm -rf $(VENV) var site build web/node_modules web/.built-* al_server/static/app *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## ... and Label Studio's environment in the cache
	rm -rf "$(LABEL_STUDIO_VENV)"
