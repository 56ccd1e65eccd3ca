# The commands of this project. Only Python 3.11 (or later) and make are needed; everything is installed into .venv.

PYTHON ?= python3
AIRFLOW_VERSIONS := 3.1.8 3.2.2
PYTHON_VERSIONS := 3.12 3.13
# Where pyenv keeps them, its commands need to be told which; nothing else reads this.
PYTHON_3.12 ?= PYENV_VERSION=3.12 python3.12
PYTHON_3.13 ?= PYENV_VERSION=3.13 python3.13
# Tests that run side by side. A worker has servers, a database and temporary folders of its own.
WORKERS ?= 2
BIN := .venv/bin
BENCHES := import_time gate landing_memory faults_vs_stock detection batch_scale batch_vs_mapped
# What a short run of the browser tests looks at.
UI_SHORT := slider or filter or outside
CODE := airflow_imagepipeline demo dags tests bench docs/conf.py

# Compiled files make every start of Airflow twice as fast.
export PYTHONDONTWRITEBYTECODE :=
# Nothing of the machine's own Airflow may be found or touched.
unexport AIRFLOW_HOME AIRFLOW_CONFIG

ALL := not kill and not ui
QUICK := smoke or not (slow or live or kill or ui)
PYTEST := python -m pytest -n $(WORKERS) --dist loadgroup --durations=20

.PHONY: help demo test test-all check format matrix $(AIRFLOW_VERSIONS:%=matrix-%) $(PYTHON_VERSIONS:%=matrix-py%) \
    package kill-test kill-test-short sweep docs tables audit ui-test ui-test-short \
    screenshots bench clean

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | column -t -s '	'

# $(1) the environment, $(2) the extra, $(3) the file of pinned versions, $(4) the interpreter
define install
	$(or $(4),$(PYTHON)) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --compile-bytecode --constraints $(3) --editable '.[$(2)]'
endef

.venv/.installed-demo: pyproject.toml constraints.txt
	$(call install,.venv,demo,constraints.txt)
	@touch $@

.venv/.installed-dev: pyproject.toml constraints.txt
	$(call install,.venv,dev,constraints.txt)
	@touch $@ .venv/.installed-demo

demo: .venv/.installed-demo  ## Edit a photo and a catalogue in a real Airflow against the emulator (PHOTO=path, UI=1)
	$(BIN)/python -m demo.run $(if $(PHOTO),--photo '$(PHOTO)') $(if $(UI),--ui)

test: .venv/.installed-dev  ## Run the quick tests, and one DAG in a real Airflow in each mode
	$(BIN)/$(PYTEST) -m '$(QUICK)'

test-all: .venv/.installed-dev  ## Run all tests but the kill and browser suites, with coverage and its bound
	$(BIN)/$(PYTEST) -m '$(ALL)' --cov --cov-report=term

check: .venv/.installed-dev docs audit  ## Check format, lint, types, docs, and what is unsafe
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml airflow_imagepipeline demo dags bench

format: .venv/.installed-dev  ## Format the code
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

docs: .venv/.installed-dev  ## Build the documentation, warnings are errors
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --builder html docs docs/_build/html

tables: .venv/.installed-dev  ## Write the tables of the documentation that are made from the tests
	$(BIN)/python -m tests.reliability.table > docs/reliability.md
	$(BIN)/python -m tests.security.table > docs/security.md
	$(BIN)/python -m tests.real_inputs.table > docs/real-inputs.md

# Where no advisory service can be reached, it says how much was not looked at; a known vulnerability fails.
audit: .venv/.installed-dev  ## Ask for known vulnerabilities of the pinned versions
	@$(BIN)/uv tool run --quiet pip-audit --disable-pip --no-deps --progress-spinner off -r constraints.txt \
	    > .audit.log 2>/dev/null; status=$$?; grep -v 'could not be audited' .audit.log; \
	echo "pip-audit: $$(grep -c 'could not be audited' .audit.log) of $$(wc -l < constraints.txt) pinned packages" \
	    "could not be audited"; rm -f .audit.log; exit $$status

matrix: $(AIRFLOW_VERSIONS:%=matrix-%) $(PYTHON_VERSIONS:%=matrix-py%) test-all  ## Run these on every supported Airflow and Python

# Airflow's older versions run on PYTHON, newer Pythons with the newest Airflow. Named last, as it is the more general.
$(AIRFLOW_VERSIONS:%=.venv-%/.installed): .venv-%/.installed: pyproject.toml constraints-%.txt
	$(call install,.venv-$*,dev,constraints-$*.txt)
	@touch $@

$(PYTHON_VERSIONS:%=.venv-py%/.installed): .venv-py%/.installed: pyproject.toml constraints.txt
	@$(PYTHON_$*) -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$*")' || \
    { echo "Python $* is needed, and $(PYTHON_$*) is not that: name one with PYTHON_$*=path"; exit 1; }
	$(call install,.venv-py$*,dev,constraints.txt,$(PYTHON_$*))
	@touch $@

$(AIRFLOW_VERSIONS:%=matrix-%) $(PYTHON_VERSIONS:%=matrix-py%): matrix-%: .venv-%/.installed
	.venv-$*/bin/$(PYTEST) -m '$(ALL)'

package: .venv/.installed-dev  ## Build wheel and sources, and use the wheel in an environment of its own
	$(BIN)/python -m tests.package

kill-test: .venv/.installed-dev  ## Kill a real Airflow at the worst moments, on PostgreSQL (15 minutes)
	tests/kill/install_postgres.sh
	$(BIN)/python -m pytest tests/kill -m kill

kill-test-short: .venv/.installed-dev  ## Three of these scenarios on SQLite
	KILL_SHORT=1 $(BIN)/python -m pytest tests/kill -m kill

sweep: .venv/.installed-dev  ## Let everything go wrong once, in one job and in a batch, and count what was charged (an hour)
	$(BIN)/python -m tests.sweep

ui-test: .venv/.installed-dev  ## Use the Images tab in a real Airflow with Debian's Chromium (2 minutes)
	tests/ui/install_chromium.sh
	$(BIN)/python -m pytest tests/ui -m ui

ui-test-short: .venv/.installed-dev  ## A few of these tests; says so where there is no browser, and none can be had
	@if timeout 300 tests/ui/install_chromium.sh; then \
	    $(BIN)/python -m pytest tests/ui/test_images_tab.py -m ui -k '$(UI_SHORT)'; \
	else echo 'NOT RUN: the tests of the Images tab in a browser. No Chromium is here, and none could be installed.'; fi

screenshots: .venv/.installed-dev  ## Take the documentation's pictures of the Images tab again
	tests/ui/install_chromium.sh
	$(BIN)/python -m demo.screenshots

bench: $(BENCHES:%=bench-%)  ## Measure what the documentation claims, one after the other (an hour)

bench-%: .venv/.installed-dev
	$(BIN)/python -m bench.$*

clean:  ## Remove what the targets made
	rm -rf .venv .venv-* .demo demo-output docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
