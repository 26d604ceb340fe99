# `make help` lists the targets. Each one first sets up what is missing.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# without bytecode every process of a sweep takes ten seconds longer to import torch
unexport PYTHONDONTWRITEBYTECODE
export NO_MKDOCS_2_WARNING := 1

.PHONY: help setup demo check test test-all lint docs bench gpu-check requirements
.DEFAULT_GOAL := help

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with the pinned packages (PYTHON=python3.12 names an interpreter)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo 'error: Python >= 3.10 is needed; name one with make PYTHON=python3.12'; exit 2; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet 'uv>=0.4'
	$(VENV)/bin/uv pip install --quiet --python $(RUN) -r requirements.txt
	$(VENV)/bin/uv pip install --quiet --python $(RUN) --no-deps -e .
	@touch $@

demo: $(READY) ## run a small sweep on a CPU and open its report (five minutes)
	$(RUN) -m sweep.run --preset demo --name demo --replace
	$(RUN) -m analysis.report ray_results/demo --open

# the tests run in as many processes as there are CPUs
check test test-all: export OMP_NUM_THREADS := 1

check: $(READY) ## style, types, import contracts, unit tests (no Ray)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright
	$(VENV)/bin/lint-imports
	$(RUN) -m pytest tests/unit -m 'not slow and not full_size'

test: check ## check, then the tests that start Ray, of the documentation, and at full size
	$(RUN) -m pytest tests/integration tests/docs --dist loadfile --no-loadscope-reorder # what a file prepares is prepared once
	$(RUN) -m pytest tests/unit -m full_size

test-all: test ## test, then all that takes long (an hour)
	$(RUN) -m pytest -m slow
	PYTHONPATH=tests:. $(RUN) -m helpers.killing --kills 20

lint: $(READY) ## mend style and format
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(READY) ## build the documentation into site/ (open site/index.html)
	$(VENV)/bin/mkdocs build --strict

bench: $(READY) ## measure the speed on this machine (nothing else should run meanwhile)
	$(RUN) -m benchmarks.bench

# by the caller's own Python: a machine that is lent for minutes may reach no index of packages
gpu-check: ## check training on this machine's GPU (PYTHON with numpy, torch and torchvision alone)
	@$(PYTHON) -c 'import numpy, torch, torchvision' || \
		{ echo 'error: numpy, torch and torchvision are needed; name a Python with make PYTHON=...'; exit 2; }
	$(PYTHON) -m benchmarks.gpu_check

requirements: ## pin what pyproject.toml asks for; UPGRADE=--upgrade takes the newest versions
	$(VENV)/bin/uv pip compile --universal --python-version 3.10 --extra dev --extra docs --quiet \
		--no-emit-index-url --no-header --no-annotate $(UPGRADE) pyproject.toml -o requirements.txt
