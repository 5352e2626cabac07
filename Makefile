# make demo    everything on a fresh machine, ends in JupyterLab (OPEN=0: ends after the report)
# make app     the explorer as a page, for people who do not write code (PORT=9000: there)
# make test    format, lint, types, import contracts, all tests (browser and damaged files beside the rest)
# make samples data_samples/ made anew from seeds (about ten minutes on two cores)
# make screenshots  the pictures of the README, from a real browser

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OPEN ?= 1
PORT ?= 8888
export JUPYTER_PLATFORM_DIRS := 1

# two lanes for two cores: these come after the tests without a browser, so that both end together
LATER := $(addprefix tests/browser/test_,keys.py parts.py solids.py)

.PHONY: demo app test lint samples screenshots clean

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || \
	  { echo "boneviz needs Python 3.11 to 3.14: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.app: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[app]"
	touch $@

$(VENV)/.tests: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

demo: $(VENV)/.runtime
	$(BIN)/boneviz demo --out demo --port $(PORT) $(if $(filter 0,$(OPEN)),--no-open)

app: $(VENV)/.app
	$(BIN)/boneviz app data_samples/cohort --folder demo/app $(if $(filter file,$(origin PORT)),,--port $(PORT))

lint: $(VENV)/.tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.tests lint
	$(BIN)/python tests/browser/find_browser.py --install
	$(BIN)/python tests/find_orthanc.py --install
	mkdir -p test-output
	$(BIN)/python -m pytest tests/browser $(addprefix --ignore=,$(LATER)) > test-output/browser.txt 2>&1 & beside=$$!; \
	  $(BIN)/python -m pytest --ignore=tests/browser --ignore=tests/fuzz; rest=$$?; \
	  $(BIN)/python -m pytest tests/fuzz $(LATER); later=$$?; \
	  wait $$beside; beside=$$?; cat test-output/browser.txt; \
	  test $$rest -eq 0 -a $$later -eq 0 -a $$beside -eq 0

samples: $(VENV)/.runtime
	$(BIN)/python data_samples/make.py

screenshots: $(VENV)/.tests
	$(BIN)/python tests/browser/find_browser.py --install
	$(BIN)/python docs/screenshots.py

clean:
	rm -rf demo test-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
