# The commands of the README. `make setup` is called by the others and does nothing when up to date.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
# without bytecode every process of a sweep takes ten seconds longer to import torch
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo bench test test-all lint requirements

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo 'error: Python >= 3.10 is needed; name one with make PYTHON=python3.12'; exit 2; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet 'uv>=0.4'
	$(VENV)/bin/uv pip install --quiet --python $(RUN) -r requirements.txt
	$(VENV)/bin/uv pip install --quiet --python $(RUN) --no-deps -e .
	@touch $@

demo: $(READY)
	$(RUN) -m sweep.run --preset demo --name demo --replace
	$(RUN) -m analysis.report ray_results/demo --open

bench: $(READY)  # nothing else should run meanwhile
	$(RUN) -m benchmarks.bench

test: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(RUN) -m pytest

test-all: test
	$(RUN) -m pytest -m slow
	$(RUN) tests/killing.py --kills 20

lint: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

requirements:  # pin anew what pyproject.toml allows
	$(VENV)/bin/uv pip compile --universal --python-version 3.10 --extra dev --quiet \
		--no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.txt
