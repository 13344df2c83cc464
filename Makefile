# The commands of the README: `make quickstart`, `make smollm2` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
POOL ?= ../shared/pools/smollm2

.PHONY: quickstart smollm2 test test-all check format clean

quickstart: $(VENV)/.installed
	$(BIN)/searcher optimize configs/quickstart.yaml

smollm2: $(VENV)/.installed-gguf   # POOL: folder of the adapters and tasks
	$(BIN)/python examples/smollm2/prepare.py --pool $(POOL)
	$(BIN)/searcher optimize configs/smollm2.yaml

# One thread in each worker: two that use all cores take turns instead of working.
test test-all: export OMP_NUM_THREADS ?= 1
test: check
	$(BIN)/pytest -q -n $(WORKERS)

test-all: check
	$(BIN)/pytest -q -n $(WORKERS) -m "not gpu"

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "searcher needs Python 3.11 or newer; say which with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-gguf: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[gguf]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
