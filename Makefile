# Every command below stands written out in README.md, for those without make.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: install study test lint format

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

study: install
	$(BIN)/python -m studies run gradient_scaling

test: install
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist worksteal

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
