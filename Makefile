# Everything here needs Python 3.11 or newer and make, and builds .venv by itself.

# PYTHON=/path/to/python picks the interpreter that .venv is made with; WORKERS how many processes run the tests.
PYTHON ?=
WORKERS ?= 3
# Further arguments for pytest.
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Or pyright would ask the network whether there is a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo test oldest bench docs check lint types coverage format constraints build audit sbom clean
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

help:
	@echo "make demo         the freemium loop from the first call to a customer who paid, in this terminal"
	@echo "make test         every test"
	@echo "make oldest       every test, with the oldest releases that pyproject.toml allows"
	@echo "make bench        what skene does beside what people use today: writes docs/benchmarks.md, takes half an hour"
	@echo "make docs         the site in build/docs, without a warning"
	@echo "make chaos        every guarantee, with kills, crashes and cuts: writes docs/guarantees.md, takes half an hour"
	@echo "make check        format, lint, layers, types, and full coverage of the definitions and the engine"
	@echo "make format       rewrite the code as make check wants it"
	@echo "make constraints  pin the newest release of everything in constraints.txt"
	@echo "make build        the wheel and the source archive in dist: the same bytes wherever they are built"
	@echo "make audit        known weaknesses of the pinned releases; asks the network"
	@echo "make sbom         what an installed skene consists of: dist/skene.cdx.json (CycloneDX)"
	@echo "make clean        remove .venv, caches and build results"

demo: $(READY)
	@$(BIN)/skene demo

test: $(READY)
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

# Each lower bound in pyproject.toml taken at its word.
OLDEST := import tomllib; [print(d.replace(">=", "==")) for d in \
	tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]]

oldest:
	@$(MAKE) $(VENV)-oldest/.ready VENV=$(VENV)-oldest PINS=
	@$(VENV)-oldest/bin/python -c '$(OLDEST)' > $(VENV)-oldest/oldest.txt
	@$(VENV)-oldest/bin/python -m pip install -qq -r $(VENV)-oldest/oldest.txt
	@$(VENV)-oldest/bin/python -m pytest -q -n $(WORKERS) --dist worksteal

# QUICK=1 only shows that everything runs, FULL=1 adds 10,000,000 subjects, GROUPS="memory http" runs these alone.
bench:
	@$(MAKE) $(VENV)-bench/.ready VENV=$(VENV)-bench GROUP=bench
	@$(VENV)-bench/bin/python -m tests.benchmarks $(GROUPS) \
		$(if $(QUICK),--quick) $(if $(FULL),--full) $(if $(ROUNDS),--rounds=$(ROUNDS))

docs: $(READY)
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "build/docs/README.html"

# PROOFS="exact killed" tries these alone, SEEDS=7 with other random numbers, SHORT=1 a small form that keeps nothing.
chaos: $(READY)
	@$(BIN)/python -m tests.chaos $(PROOFS) $(if $(SEEDS),--seeds=$(SEEDS)) $(if $(SHORT),--short)

# Two of its parts at once: the tests here use one process, and so do the type checkers.
check: $(READY)
	@$(MAKE) -j 2 lint types coverage

lint: $(READY)
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-cache > $(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }
	@echo "== lint: formatted, clean, layered"

types: $(READY)
	@echo "== types"
	@$(BIN)/mypy
	@$(BIN)/pyright

coverage: $(READY)
	@echo "== coverage of the definitions and the engine"
	@$(BIN)/coverage run --data-file=$(VENV)/coverage --source=skene/definitions,skene/engine \
		-m pytest -q tests/definitions tests/engine
	@$(BIN)/coverage report --data-file=$(VENV)/coverage --fail-under=100

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# A new environment without any pins shows what fits together today.
constraints:
	@rm -rf $(VENV)-new; touch constraints.txt
	@$(MAKE) $(VENV)-new/.ready VENV=$(VENV)-new GROUP=bench PINS=
	@$(VENV)-new/bin/python -m pip freeze --exclude-editable > constraints.txt
	@rm -rf $(VENV)-new
	@echo "constraints.txt: $$(wc -l < constraints.txt) releases pinned"

# Not isolated: what builds is pinned. Whatever SOURCE_DATE_EPOCH a machine has set would be written into the files.
build:
	@$(MAKE) $(VENV)-release/.ready VENV=$(VENV)-release GROUP=release
	@rm -rf dist
	@env -u SOURCE_DATE_EPOCH $(VENV)-release/bin/python -m build --no-isolation --outdir dist . > $(VENV)-release/build.log \
		|| { cat $(VENV)-release/build.log; exit 1; }
	@cd dist && sha256sum *

# No answer about a release is no good answer: with --strict it fails then.
audit:
	@$(MAKE) $(VENV)-release/.ready VENV=$(VENV)-release GROUP=release
	@$(VENV)-release/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

# Of an environment that has skene and what it needs, and nothing else: not even pip.
sbom: build
	@rm -rf $(VENV)-sbom; $(VENV)-release/bin/python -m venv --without-pip $(VENV)-sbom
	@$(VENV)-release/bin/python -m pip --python $(VENV)-sbom/bin/python install -qq $(PINS) dist/*.whl
	@$(VENV)-release/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-format JSON --output-file dist/skene.cdx.json $(VENV)-sbom/bin/python
	@rm -rf $(VENV)-sbom; echo "dist/skene.cdx.json"

PINS ?= --constraint constraints.txt
# Which of the dependency groups in pyproject.toml; bench has everything that dev has.
GROUP ?= dev

# Dependency groups need pip 25.1, which Python 3.11 does not bring along.
$(READY): pyproject.toml constraints.txt
	@python="$(PYTHON)"; \
	for found in $$python python3.11 python3.12 python3.13 python3.14 python3 python; do \
		$$found -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
		if [ -n "$$python" ]; then echo "PYTHON=$$python is not Python 3.11 or newer" >&2; exit 1; fi; \
		found=; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Python 3.11 or newer is needed and was not found; name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ]; then \
		echo "== making $(VENV) with $$($$found --version)"; \
		$$found -m venv $(VENV) || { rm -rf $(VENV); exit 1; }; \
	fi
	@echo "== installing into $(VENV)"
	@$(BIN)/python -m pip install -qq --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install -qq $(PINS) --editable . --group $(GROUP)
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-new $(VENV)-oldest $(VENV)-release $(VENV)-sbom .benchmarks .chaos .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf build dist htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
