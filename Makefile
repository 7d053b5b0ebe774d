# Two commands matter to a newcomer: `make demo` and `make test`. Both make .venv where it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OVERRIDES ?= model=small,base target.seed=1,2 sampler=sgld,hmc,mclmc data=diabetes

.PHONY: demo test lint types bench cluster-up cluster-down clean

demo: $(STAMP)  ## install, then 4 targets and 12 estimates on real data
	$(BIN)/sweepflow llc $(OVERRIDES)

test: $(STAMP)  ## the whole test suite
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)  ## ratios, both sides of each in one run
	$(BIN)/python -m benchmarks

cluster-up: $(STAMP)  ## a SLURM on this machine: eval "$$(make -s cluster-up)"
	@$(BIN)/python -m tests.slurm up

cluster-down: $(STAMP)  ## end it, its jobs, and every process of them
	@$(BIN)/python -m tests.slurm down

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sweepflow needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist *.egg-info
