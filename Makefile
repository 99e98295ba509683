# The whole project in six verbs. Every target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
REPORTS ?= reports
REPORTED = quickstart ms-hab-mini libero-object
EXPORT := .export
ABSOLUTE = $(abspath $(BIN))
SWEEPS = $(basename $(notdir $(shell git ls-files results/sweeps)))

.PHONY: setup demo reports test lint clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml .ci/system-packages
	@PYTHON=$(PYTHON) sh .ci/system-packages
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[ms-hab,libero,bridges,learning,ray,full-size,dev,parity]'
	@# hf-libero's robomimic, which nothing here imports, brings a torchvision; one for another build of torch breaks transformers.
	@$(BIN)/python -c 'import torchvision' 2>/dev/null || $(BIN)/python -m pip uninstall -qq -y torchvision
	@touch $@

demo: setup  ## the main job on the embedded mini world: a success table and a film
	@if $(BIN)/python -c 'from vla_bench.suites.vulkan import probe; probe()' >/dev/null 2>&1; \
	then suite=ms-hab-mini; episode=open-fridge/0/1; \
	else suite=micro; episode=detour/0/1; \
	echo 'No renderer here (vla-bench doctor says why): playing micro, a toy that draws its own images.'; fi; \
	$(BIN)/vla-bench run --policy expert --suite $$suite --episodes 3 --trials 1 --out results/runs/demo-$$suite && \
	$(BIN)/vla-bench replay results/runs/demo-$$suite $$episode

reports: setup  ## everything under reports/, from the results that git knows: others' runs stay out
	@rm -rf $(EXPORT) && mkdir $(EXPORT)
	@git ls-files -z results policies suites | xargs -0 cp --parents -t $(EXPORT)
	@cd $(EXPORT) && for name in $(REPORTED); do \
		$(ABSOLUTE)/vla-bench report results/runs/*$$name* --out reports/$$name >/dev/null || exit 1; done
	@cd $(EXPORT) && $(ABSOLUTE)/vla-bench sweep $(SWEEPS) --report-only >/dev/null
	@cd $(EXPORT) && $(ABSOLUTE)/vla-bench leaderboard build >/dev/null
	@rm -rf $(addprefix $(REPORTS)/,$(REPORTED) leaderboard) && mkdir -p $(REPORTS)
	@cp -r $(EXPORT)/reports/. $(REPORTS) && rm -rf $(EXPORT)

lint: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary

test: lint
	@$(BIN)/python -m pytest -n 3 --dist loadgroup

clean:
	rm -rf $(VENV) results/runs/demo-*
