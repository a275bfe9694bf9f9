# Everything a contributor runs. `make` alone lists the targets.
#
# Variables to set on the command line, as in `make test PYTEST_ARGS="-k adapt"`:
PYTHON ?= python3
VENV ?= .venv
VENV_OLDEST ?= .venv-oldest
DIST ?= dist
HTML ?= docs/_build/html
PYTEST_ARGS ?=

BIN = $(VENV)/bin
# Most modules that pip installs are never imported, so none is compiled before it is.
# Then the result must be kept: an empty value is as if the variable was not set.
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-compile
export PYTHONDONTWRITEBYTECODE =

# One BLAS thread for each test process: pytest-xdist keeps every core busy already.
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest
# Each core begins with a half of the tests that follow each other, so that a fixture of
# a module is mostly made once. A core that has finished takes tests from another.
ALL_CORES = -n auto --dist worksteal

.DEFAULT_GOAL := help
# `make -j lint test` must not run pip twice at once in one environment.
.NOTPARALLEL:

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' \
	    '/^## /       { printf "\n%s\n", substr($$0, 4) } \
	     /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## To begin with

.PHONY: demo
demo: $(VENV)/.has-examples  ## show the shopping guide at work
	@# On so few rows, the threads of boosting wait for each other longer than they work.
	OMP_NUM_THREADS=1 $(BIN)/python examples/shopping_guide.py

PORT ?= 8000
.PHONY: guide
guide: $(VENV)/.has-guide  ## start a guide to train tickets, as a page on this computer
	OMP_NUM_THREADS=1 $(BIN)/python examples/guide/guide.py --port $(PORT)

## Checks that CI runs (.ci/run: these, the demo and the site)

.PHONY: lint
lint: $(VENV)/.has-dev  ## style, layout, spelling and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python benchmarks/report.py --check

# Times are compared with plain NumPy in the same run. Only a real slowdown exceeds the
# limits.
.PHONY: speed-guard
speed-guard: $(VENV)/.has-test  ## fail if meta-training or adapting has become slow
	$(BIN)/python benchmarks/speed.py --guard --rounds 3

.PHONY: test
test: $(VENV)/.has-test  ## all tests, and the examples in docstrings
	@$(call show_versions,$(BIN)/python)
	$(PYTEST) $(ALL_CORES) $(PYTEST_ARGS)

# The test of the guide clicks through it in Chromium, and is skipped where there is none.
.PHONY: browser
browser:  ## install Debian's Chromium for a test, where root and apt-get are there
	@if command -v chromium > /dev/null && command -v chromedriver > /dev/null; then \
	    echo "Chromium and its driver are there."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	    && apt-get update -qq \
	    && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
	        --no-install-recommends chromium chromium-driver > /dev/null; then \
	    echo "Chromium and its driver have been installed."; \
	else \
	    echo "Chromium cannot be installed here. The test in a browser will be skipped."; \
	fi

# scikit-learn skips its array API checks unless this is set before SciPy is imported.
# They are quick, so one process does them. `make test` does the other checks.
.PHONY: test-array-api
test-array-api: $(VENV)/.has-test  ## scikit-learn's estimator checks of array API
	SCIPY_ARRAY_API=1 $(PYTEST) -k array_api -q $(PYTEST_ARGS) tests/test_common.py

# What is left out here cannot fail on old dependencies alone: tests of texts, and those
# that compare our code with itself, with a formula or on many random draws. The other
# tests fit, adapt and save models with each of these options too. So every function of
# NumPy, SciPy and scikit-learn is reached.
OLDEST_LEAVES_OUT = $(patsubst %,--ignore=tests/test_%.py,architecture benchmarks \
    calibration ci courses curved docstrings duration fuzz interrupt learned_features \
    learned_prior moderation noise paper prior quadrature readme recency \
    reptile_no_harm robustness simulated)
.PHONY: test-oldest
test-oldest: BIN = $(VENV_OLDEST)/bin
test-oldest: $(VENV_OLDEST)/.has-test  ## tests on the oldest supported dependencies
	@$(call show_versions,$(BIN)/python)
	$(PYTEST) $(ALL_CORES) $(OLDEST_LEAVES_OUT) $(PYTEST_ARGS) tests

# An editable install would hide that a module is missing from the wheel. So the package
# comes from the wheel and the tests from the sdist, and both are in a place from which
# the sources cannot be imported. `make test` has already tested this code. Here every
# module is imported where no extra is installed. With the extra `test`, models of every
# kind are fitted and saved, and a case of the fuzz shows that the sdist holds the
# benchmarks.
WHEEL_TESTS ?= tests/test_import.py tests/test_persistence.py \
    'tests/test_fuzz.py::test_what_must_never_happen_does_not_happen[0]'
.PHONY: test-wheel
test-wheel: dist  ## the built wheel, in an environment of its own
	@set -eu; \
	tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	mkdir "$$tmp/sdist"; \
	tar -xzf $(DIST)/skmeta-*.tar.gz -C "$$tmp/sdist" --strip-components=1; \
	rm -r "$$tmp/sdist/skmeta"; \
	$(PYTHON) -m venv "$$tmp/venv"; \
	wheel=$$(echo $(DIST)/skmeta-*.whl); \
	"$$tmp/venv/bin/python" $(PIP_INSTALL) "$$wheel"; \
	(cd "$$tmp" && "$$tmp/venv/bin/python" -c "$$IMPORT_ALL"); \
	"$$tmp/venv/bin/python" $(PIP_INSTALL) "$$wheel[test]"; \
	cd "$$tmp/sdist"; \
	package=$$("$$tmp/venv/bin/python" -c \
	    'import skmeta, os; print(os.path.dirname(skmeta.__file__))'); \
	echo "Testing $$package"; \
	case "$$package" in \
	    "$$tmp/venv/"*) ;; \
	    *) echo "This is not the installed wheel." >&2; exit 1 ;; \
	esac; \
	"$$tmp/venv/bin/python" -m pytest -c pyproject.toml --collect-only -qq \
	    -p no:cacheprovider "$$package"; \
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$$tmp/venv/bin/python" -m pytest \
	    $(ALL_CORES) -p no:cacheprovider $(PYTEST_ARGS) $(WHEEL_TESTS)

## Documentation

# The doctests of the pages are run by `make test` as well.
.PHONY: docs
docs: site $(VENV)/.has-test  ## build the site in docs/_build/html, and run all code in it
	$(PYTEST) $(ALL_CORES) -q docs

.PHONY: site
site: $(VENV)/.has-docs  ## build the site alone: run the examples, follow the links
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -q docs $(HTML)
	$(BIN)/python docs/check_links.py $(HTML)

## Other

.PHONY: format
format: $(VENV)/.has-dev  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A leftover egg-info would add files to the sdist that MANIFEST.in does not name. An
# sdist has no folder .ci, so that nothing is compared if it is built once more.
.PHONY: dist
dist: $(VENV)/.has-dev  ## build sdist and wheel, and check what they hold
	rm -rf $(DIST) skmeta.egg-info
	$(BIN)/python -m build --outdir $(DIST) . > /dev/null
	$(BIN)/twine check --strict $(DIST)/*
	@if [ -e .ci/check_dist.py ]; then $(BIN)/python .ci/check_dist.py $(DIST); fi

.PHONY: clean
clean:  ## remove environments, builds and caches
	rm -rf $(VENV) $(VENV_OLDEST) $(DIST) build skmeta.egg-info
	rm -rf docs/_build docs/auto_examples docs/generated
	rm -rf .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------
# Environments. A file .has-<extra> in an environment says that skmeta[<extra>] is
# installed there as pyproject.toml asks. A second call then has nothing to do.
#
# The installs are editable. So tests and demo run the files you are editing, and can
# share one environment without a stale copy.

$(VENV)/.has-%: pyproject.toml | $(VENV)/.created
	$(BIN)/python $(PIP_INSTALL) --editable ".[$*]"
	@touch $@

# Engines, exporters and the guide are tested with the newest dependencies only: those
# that suit the oldest are old themselves. Tests without them are skipped.
$(VENV)/.has-test: pyproject.toml | $(VENV)/.created
	$(BIN)/python $(PIP_INSTALL) --editable ".[test,scale,onnx,guide,browser]"
	@touch $@

$(VENV)/.created:
	@$(call require_python,(3, 11) <= v,3.11 or newer)
	$(PYTHON) -m venv $(VENV)
	@touch $@

# CI installs all at once, since each call of pip builds the package anew.
ALL_EXTRAS = dev docs examples guide test
.PHONY: environment environment-oldest
environment: | $(VENV)/.created
	$(BIN)/python $(PIP_INSTALL) --editable ".[dev,docs,examples,test,scale,onnx,guide,browser]"
	@touch $(ALL_EXTRAS:%=$(VENV)/.has-%)
environment-oldest: $(VENV_OLDEST)/.has-test

# The oldest versions are exactly the lower bounds of pyproject.toml: "numpy>=1.26" is
# tested as "numpy==1.26", which is release 1.26.0.
$(VENV_OLDEST)/.has-test: pyproject.toml
	@$(call require_python,(3, 11) <= v < (3, 13),3.11 or 3.12 \
	    (the oldest NumPy and SciPy have no builds for later ones))
	$(PYTHON) -m venv $(VENV_OLDEST)
	$(VENV_OLDEST)/bin/python -c "$$LOWER_BOUNDS" > $(VENV_OLDEST)/oldest.txt
	$(VENV_OLDEST)/bin/python $(PIP_INSTALL) --editable ".[test]" \
	    --constraint $(VENV_OLDEST)/oldest.txt
	@touch $@

define LOWER_BOUNDS
import tomllib

with open("pyproject.toml", "rb") as file:
    for requirement in tomllib.load(file)["project"]["dependencies"]:
        print(requirement.replace(">=", "=="))
endef
export LOWER_BOUNDS

define IMPORT_ALL
import importlib
import pkgutil

import skmeta

modules = [m.name for m in pkgutil.walk_packages(skmeta.__path__, "skmeta.")]
for name in modules:
    importlib.import_module(name)
print("Without extras,", len(modules), "modules can be imported.")
endef
export IMPORT_ALL

define VERSIONS
import importlib.metadata as m
import platform

names = ["skmeta", "scikit-learn", "numpy", "scipy", "joblib", "pandas", "polars"]
print("Python", platform.python_version(), *(f"{n} {m.version(n)}" for n in names))
endef
export VERSIONS

show_versions = $(1) -c "$$VERSIONS"

# $(1) is the condition on the version v, and $(2) is the same in words.
require_python = $(PYTHON) -c "import sys; v = sys.version_info; sys.exit(not $(1))" || { \
	echo "This needs Python $(2)." >&2; \
	echo "'$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 ..." >&2; \
	exit 1; }
