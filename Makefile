# kpu-ir. `make help` says what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
FUZZ_SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help venv demo test lit pytest nightly fuzz check bench docs docs-pages clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo 'Each makes .venv first, where it is missing. Variables: PYTHON=python3 JOBS=$(JOBS) FUZZ_SECONDS=$(FUZZ_SECONDS) KPU_DRAWS=3000'
	@echo 'One test: .venv/bin/python -m pytest -n 0 test/test_search.py; .venv/bin/lit -v test/passes/kernel-fold.mlir'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "kpu-ir needs Python 3.11 or later, this is $$($(PYTHON) --version); set PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@# setuptools warns at every editable install that it is one
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[onnx,oracle,plot,examples,explore,dask]' --group dev
	@touch $@

venv: $(STAMP) ## make .venv with kpu-ir and all that its tests need

demo: $(STAMP) ## run a trained network on the simulated KPU
	@$(BIN)/python examples/demo.py

test: lit pytest ## every test

lit: $(STAMP) ## the IR tests (lit and filecheck)
	@$(BIN)/lit --order=smart -j$(JOBS) test

pytest: $(STAMP) ## the Python tests
	@$(BIN)/python -m pytest -n $(JOBS)

nightly: $(STAMP) ## drawn programs by the thousand, other ones each time; all of ONNX's tests; models of 10,000 nodes
	KPU_DRAWS=$${KPU_DRAWS:-3000} $(BIN)/python -m pytest -n $(JOBS) $$(grep -rl 'from draws import' test)

fuzz: $(STAMP) ## loader, saved programs, IR, linalg, inputs, machines and caches against atheris, FUZZ_SECONDS over all
	@$(BIN)/python -m pip install --quiet --group fuzz
	@$(BIN)/python test/fuzz/run.py --seconds $(FUZZ_SECONDS)

check: $(STAMP) ## ruff's rules and format, the arrows between rooms, pyright strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo 'not formatted: $(BIN)/ruff format .'; exit 1; }
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/pyright

bench: $(STAMP) ## measure cycles and tools, write docs/benchmarks.md
	@$(BIN)/kpu-bench all

docs: $(STAMP) ## the site of all docs, build/docs/index.html; a warning is an error
	@$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs
	@echo build/docs/index.html

docs-pages: $(STAMP) ## write docs/reference, and what commands print in tutorial and README
	@$(BIN)/python docs/make_pages.py
	@$(BIN)/python docs/make_tutorial.py
	@$(BIN)/python docs/make_readme.py

clean: ## remove what was made
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
