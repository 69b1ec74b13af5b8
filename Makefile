# What a person does with this project; `make` alone lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
DETECT := .venv-detect
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

.PHONY: help demo test lint types wheel bench handbook detect detect-full torture kafka requirements \
	clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## A minute of payments through the embedded broker, live in the terminal
	@$(BIN)/streamproc demo

test: $(VENV)/.dev ## Every test; starts Apache Kafka where Java 17 and Maven are
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev ## Style and format, by ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Types, by mypy in strict mode
	@$(BIN)/mypy

wheel: $(VENV)/.dev ## Build the wheel into dist/
	@rm -rf dist
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist .

torture: $(VENV)/.dev ## Break workers and brokers; SCENARIO=kill ROUNDS=5 for a part
	@$(BIN)/python -m tests.torture

bench: $(VENV)/.dev ## Measure what is claimed; figures to benchmarks/latest.json
	@$(BIN)/python -m benchmarks $(ARGS)

handbook: $(VENV)/.dev ## The handbook's fraud table, online; ARGS="--test-week 2018-08-08"
	@$(BIN)/python -m benchmarks.handbook $(ARGS)

detect: $(VENV)/.dev $(DETECT)/.peers ## Detectors beside others at equal false alarms; docs/detection.md
	@$(BIN)/python -m benchmarks.detection $(ARGS)

detect-full: $(VENV)/.dev $(DETECT)/.peers ## The same, with the others' thresholds fitted again
	@$(BIN)/python -m benchmarks.detection --fit $(ARGS)

kafka: $(VENV)/.dev ## An Apache Kafka in the foreground, until ctrl-C
	@$(BIN)/python -m tests.kafka_server

requirements: $(VENV)/.dev ## Pin the dependencies of pyproject.toml anew
	@$(COMPILE) --extra build pyproject.toml -o requirements.txt
	@$(COMPILE) --extra build --extra dev -c requirements.txt pyproject.toml \
		-o requirements-dev.txt
	@$(COMPILE) benchmarks/detection/requirements.in -o requirements-detect.txt

clean: ## Remove what was built, the environment and the caches
	@rm -rf $(VENV) $(DETECT) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or later is needed; say which by: make PYTHON=python3.12" >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "installing the pinned dependencies (once)"
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@echo "compiling the windows (once, half a minute)"
	@$(BIN)/python -c 'import streamproc.features.entries'
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "installing what the tests need (once)"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

$(DETECT)/.peers: requirements-detect.txt
	@echo "installing detectors of others into $(DETECT) (once, 1.1 GB)"
	@$(PYTHON) -m venv $(DETECT)
	@$(DETECT)/bin/python -m pip --disable-pip-version-check --quiet install \
		--require-hashes -r requirements-detect.txt
	@touch $@
