# Two commands matter to a newcomer: `make demo` and `make test`. Both make .venv where it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
USED := $(VENV)/.installed
TESTED := $(VENV)/.installed-dev
OVERRIDES ?= model=small,base target.seed=1,2 sampler=sgld,hmc,mclmc data=diabetes

.PHONY: demo test chaos lint types bench cluster-up cluster-down clean

demo: $(USED)  ## install, then 4 targets and 12 estimates on real data
	$(BIN)/sweepflow llc $(OVERRIDES)

test: $(TESTED)  ## the whole test suite
	$(BIN)/python -m pytest -n 3 --dist worksteal

chaos: $(TESTED)  ## twenty workers lost at random over one sweep
	SWEEPFLOW_CHAOS=20 $(BIN)/python -m pytest tests/flows/faults/test_chaos.py

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TESTED)
	$(BIN)/mypy

bench: $(TESTED)  ## ratios, both sides of each in one run
	$(BIN)/python -m benchmarks

cluster-up: $(TESTED)  ## a SLURM on this machine: eval "$$(make -s cluster-up)"
	@$(BIN)/python -m tests.slurm up

cluster-down: $(TESTED)  ## end it, its jobs, and every process of them
	@$(BIN)/python -m tests.slurm down

$(USED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sweepflow needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $@

$(TESTED): $(USED)
	$(INSTALL) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
