# Everything a contributor needs. Only make, git and Python >= 3.11 are taken for granted; try `make help`.

PYTHON ?= python3
VENV   ?= .venv
export HARNESS_CACHE ?= $(CURDIR)/.cache

BIN  := $(VENV)/bin
DEV  := $(VENV)/installed-dev
CORE := $(VENV)/installed-core

.DEFAULT_GOAL := help
.PHONY: help demo test test-vllm test-ray lint bench docs-check engines browser lab lab-tools clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(CORE) ## Install into .venv and run the quickstart against the simulated engine
	@code=0; $(BIN)/harness run configs/quickstart.yaml || code=$$?; \
	test $$code -ne 4 || \
	  echo "make: exit code 4: the run itself says that it cannot be trusted; try again when the machine is quiet"; \
	exit $$code

# What runs in virtual time may share the cores. What runs in real time has them for itself.
WIRE   = tests/unit/load
PYTEST = $(BIN)/pytest -m "not vllm and not ray"

test: $(DEV) ## Build the engines (a few minutes, once) and run all tests; 90 % of lines must be covered
	@code=0; $(BIN)/python tests/engines/build.py all || code=$$?; \
	case $$code in \
	  0) export HARNESS_REQUIRE_ENGINES=1;; \
	  3) echo "make: WITHOUT REAL ENGINES: their tests will be skipped";; \
	  *) exit $$code;; \
	esac; \
	echo "make: without the tests of vLLM and of Ray: make test-vllm and make test-ray install and run them"; \
	$(if $(ARGS),$(PYTEST) $(ARGS),\
	  $(PYTEST) -n auto --cov --cov-report= tests/unit tests/contract --ignore $(WIRE) || failed=$$?; \
	  $(PYTEST) --cov --cov-append --cov-report=term:skip-covered --cov-fail-under=90 $(WIRE) tests/e2e tests/engines \
	    || failed=$$?; exit $${failed:-0})

test-vllm: $(DEV) ## Install vLLM for CPU apart (2.5 GB, once) and run its tests
	@code=0; $(BIN)/python tests/engines/install_vllm.py || code=$$?; \
	case $$code in \
	  0) HARNESS_REQUIRE_VLLM=1 $(BIN)/pytest -m vllm -s tests/engines $(ARGS);; \
	  3) echo "make: WITHOUT vLLM: its tests are left out";; \
	  *) exit $$code;; \
	esac

test-ray: $(DEV) ## Install Ray apart (400 MB, once) and run its tests on a cluster of three nodes on this machine
	@code=0; python=$$($(BIN)/python tests/ray/install_ray.py) || code=$$?; \
	case $$code in \
	  0) HARNESS_REQUIRE_RAY=1 $$python -m pytest -m ray tests/ray $(ARGS);; \
	  3) echo "make: WITHOUT Ray: its tests are left out";; \
	  *) exit $$code;; \
	esac

lint: $(DEV) ## Style, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV) ## Measure harness itself
	$(BIN)/python tests/benchmarks/run.py --small

docs-check: $(DEV) ## Links, commands and configs that the documents show
	$(BIN)/python tests/docs_check.py

engines: $(DEV) ## Only build the engines
	$(BIN)/python tests/engines/build.py all

browser: $(DEV) ## Get Debian's chromium for the tests of the HTML pages; that it cannot be had is told
	@$(BIN)/python tests/browser.py || test $$? -eq 3

lab-tools: $(DEV) ## Get Prometheus and the parsers that the tests of the lab use (300 MB, once); what cannot be had is named
	@$(BIN)/python tests/lab_tools.py || test $$? -eq 3

lab: ## The simulated engine and a run, in containers (docs/labs.md)
	docker compose -f docker/compose.yaml --profile $(or $(PROFILE),sim) up --build --exit-code-from run-$(or $(PROFILE),sim)

clean: ## Remove the venv, the built engines and all caches
	rm -rf $(VENV) .cache build dist .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# The install is editable, so that a `git pull` needs no second one. DEV holds all that CORE does.
$(CORE): pyproject.toml $(BIN)/python
	@test -e $(DEV) || { echo "installing harness into $(VENV)"; $(BIN)/pip install --quiet --editable .; }
	@touch $@

$(DEV): pyproject.toml $(BIN)/python
	@echo "installing harness and its test tools into $(VENV)"
	@$(BIN)/pip install --quiet --editable . --group dev
	@touch $@ $(CORE)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "no '$(PYTHON)' here: install Python 3.11 or newer"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "harness needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments. Debian, Ubuntu: apt install python3-venv"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
