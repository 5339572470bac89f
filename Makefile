PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("hwq needs Python 3.10 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 10) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	@touch $@

install: $(STAMP)  ## create .venv with pinned dependencies

demo: $(STAMP)  ## digits: train, verify, generate, simulate the C++, estimate, report
	$(BIN)/hwq demo --out demo --force

test: $(STAMP)  ## the default tests (no network, no vendor tool)
	$(BIN)/python -m pytest

test-slow: $(STAMP)  ## the long tests: thousands of random networks, larger projects
	$(BIN)/python -m pytest -m slow --dist worksteal

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)  ## measure the simulator against its peers; results in reports/
	$(BIN)/hwq bench

clean:  ## remove the environment and build products
	rm -rf $(VENV) build dist demo runs

.PHONY: help install demo test test-slow lint bench clean
