# The commands of this project. Only Python 3.11 (or later) and make are needed; everything is installed into .venv.

PYTHON ?= python3
AIRFLOW_VERSIONS := 3.1.8 3.2.2
BIN := .venv/bin
BENCHES := import_time gate landing_memory faults_vs_stock detection batch_scale batch_vs_mapped
# What a short run of the browser tests looks at.
UI_SHORT := slider or filter or outside
CODE := airflow_imagepipeline demo dags tests bench docs/conf.py

# Compiled files make every start of Airflow twice as fast.
export PYTHONDONTWRITEBYTECODE :=
# Nothing of the machine's own Airflow may be found or touched.
unexport AIRFLOW_HOME AIRFLOW_CONFIG

.PHONY: help demo test check format matrix $(AIRFLOW_VERSIONS:%=matrix-%) kill-test kill-test-short docs tables audit \
    ui-test ui-test-short screenshots bench clean

help:  ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | column -t -s '	'

# $(1) the environment, $(2) the extra, $(3) the file of pinned versions
define install
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --compile-bytecode --constraints $(3) --editable '.[$(2)]'
endef

.venv/.installed-demo: pyproject.toml constraints.txt
	$(call install,.venv,demo,constraints.txt)
	@touch $@

.venv/.installed-dev: pyproject.toml constraints.txt
	$(call install,.venv,dev,constraints.txt)
	@touch $@ .venv/.installed-demo

demo: .venv/.installed-demo  ## Edit a real photo in a real Airflow against the emulator (PHOTO=path, UI=1)
	$(BIN)/python -m demo.run $(if $(PHOTO),--photo '$(PHOTO)') $(if $(UI),--ui)

test: .venv/.installed-dev  ## Run all tests but the long suites
	$(BIN)/python -m pytest -m 'not kill and not ui' --cov --cov-report=term

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

matrix: test $(AIRFLOW_VERSIONS:%=matrix-%)  ## Run the tests on every supported minor version of Airflow

.venv-%/.installed: pyproject.toml constraints-%.txt
	$(call install,.venv-$*,dev,constraints-$*.txt)
	@touch $@

$(AIRFLOW_VERSIONS:%=matrix-%): matrix-%: .venv-%/.installed
	.venv-$*/bin/python -m pytest -m 'not kill and not ui'

kill-test: .venv/.installed-dev  ## Kill a real Airflow at the worst moments, on PostgreSQL (15 minutes)
	tests/kill/install_postgres.sh
	$(BIN)/python -m pytest tests/kill -m kill

kill-test-short: .venv/.installed-dev  ## Three of these scenarios on SQLite
	KILL_SHORT=1 $(BIN)/python -m pytest tests/kill -m kill

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
