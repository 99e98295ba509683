# The whole project in five verbs. Every target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lint clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml .ci/system-packages
	@PYTHON=$(PYTHON) sh .ci/system-packages
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[ms-hab,dev,parity]'
	@touch $@

demo: setup  ## the main job on the embedded mini world: a success table and a film
	@$(BIN)/vla-bench run --policy expert --suite ms-hab-mini --episodes 3 --trials 1 --out results/runs/demo
	@$(BIN)/vla-bench replay results/runs/demo open-fridge/0/1

lint: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary

test: lint
	@$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) results/runs/demo
