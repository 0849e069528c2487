# Everything works from a clean clone with Python >= 3.11 (venv, pip) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
# Installing again happens only when what is declared has changed.
INSTALLED := $(VENV)/.installed
DEVELOPING := $(VENV)/.developing
DOCUMENTING := $(VENV)/.documenting

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-faults test-statistics test-oldest lint format bench docs dist clean

help:
	@echo "make run    set up, then run the demonstration job on generated images (two to three minutes)"
	@echo "make test   set up, then run the tests"
	@echo "make lint   ruff, mypy, import-linter; cluster/ against the schemas of what reads it"
	@echo "make bench  measure against the peers; prints ratios"
	@echo "make docs   build docs/ and the reference as a site, into build/docs"
	@echo "make dist   build and check what a package index would get"
	@echo "also: test-slow, test-faults, test-statistics, test-oldest, format, clean"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pneumo-batch needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEVELOPING): pyproject.toml setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@ $(INSTALLED)

$(DOCUMENTING): pyproject.toml setup.py | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@ $(INSTALLED)

run: $(INSTALLED)
	$(BIN)/pneumo-batch run jobs/demo.toml

# Two at a time: one alone waits half its time for processes to start. Files stay whole, because their tests share runs, and
# in order, which is long ones first. Threads that wait leave the processor to others. Containers often forbid Python to
# keep what it has compiled: every one of some hundred processes would compile the package, and both pytests all tests.
test: $(DEVELOPING)
	OMP_WAIT_POLICY=passive PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-slow: $(DEVELOPING)
	$(BIN)/python -m pytest -m slow

test-faults: $(DEVELOPING)
	$(BIN)/python -m pytest -m faults

test-statistics: $(DEVELOPING)
	$(BIN)/python -m pytest -m statistics -s

# With Python 3.11: make test-oldest PYTHON=python3.11. uv finds in seconds what fits old versions; those warn of newer ones,
# and cluster/ is for the Ray of its image.
test-oldest:
	rm -rf $(OLDEST)
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check packaging uv
	$(OLDEST)/bin/python tools/oldest.py >$(OLDEST)/constraints.txt
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python \
		--constraint $(OLDEST)/constraints.txt --editable '.[test]'
	$(OLDEST)/bin/python -m pytest tests/unit --ignore=tests/unit/cluster -W default

lint: $(DEVELOPING)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/shellcheck cluster/local/*.sh pneumo_batch/integrations/entry.sh .ci/run
	$(BIN)/hadolint cluster/Dockerfile
	$(BIN)/python tests/cluster/validate.py

format: $(DEVELOPING)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEVELOPING)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python tests/bench/run.py

# -E reads every page again: those made of the code do not know when it changes
docs: $(DOCUMENTING)
	$(BIN)/python -m sphinx -b html -E -W --keep-going -q -d build/doctrees docs build/docs
	@echo build/docs/index.html

# From the last commit, in a folder of its own: no file that only this checkout has, none left by an earlier build.
dist: $(DEVELOPING)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dist]'
	$(BIN)/python tools/release.py
	rm -rf dist build/source
	mkdir -p build/source
	git archive HEAD | tar -x -C build/source
	$(BIN)/python -m build --no-isolation --outdir dist build/source
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
