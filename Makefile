# make run     set everything up and start it: server, sandbox bank, three agents
# make test    set up what tests need and run lint and every test
# make chaos   run fault schedules over the real server and agent: make chaos N=10000 SEED=1
# make mutants break the protocol on purpose, slip by slip, and see chaos catch each
# make proof   all of that, drills and two benchmarks: each figure beside the one to reach (hours)
# make reset   throw the demo's data away, to start afresh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run setup test lint format reset bench chaos mutants drill proof lock translations clean
.DEFAULT_GOAL := run

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Piculus needs Python 3.11 or newer; name one with make PYTHON=python3.11" >&2; exit 1; }
	@echo "  · Virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(BIN)/python
	@echo "  · Packages, from requirements.txt (a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(BIN)/python
	@echo "  · Packages of development, from requirements-dev.txt (a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $(VENV)/.run $@

CATALOGS := $(wildcard app/translations/*/LC_MESSAGES/messages.po)
COMPILED := $(CATALOGS:.po=.mo)

%.mo: %.po | $(BIN)/python
	@echo "  · Texts of $<"
	@$(BIN)/pybabel compile -i $< -o $@ 2>/dev/null

setup: $(VENV)/.run $(COMPILED)
	@$(BIN)/python -m deploy setup

run: $(VENV)/.run $(COMPILED)
	@exec $(BIN)/python -m deploy run

reset:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m deploy reset; fi

lint: $(VENV)/.dev $(COMPILED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/djlint --quiet --lint app/templates

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(VENV)/.dev $(COMPILED) lint
	@$(BIN)/python -m deploy chromium
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: $(VENV)/.dev $(COMPILED)
	@$(BIN)/python -m bench

# Schedules N (1000) from SEED (0) on, then every failpoint in every case. One seed is told step by step:
# make chaos N=1 SEED=7
chaos: $(VENV)/.dev $(COMPILED)
	@$(BIN)/python -m chaos --schedules $(or $(N),1000) --seed $(or $(SEED),0) $(if $(filter 1,$(N)),,--cells)

# Kill agents, server and bank at random over bad wires; then the books must be whole (docs/drill.md).
drill: $(VENV)/.dev $(COMPILED)
	@$(BIN)/python -m chaos.drill --cycles $(or $(N),200) $(if $(SEED),--seed $(SEED)) \
	  --production $(or $(PRODUCTION),sqlite) --isolation "$(or $(ISOLATION),READ COMMITTED)" \
	  $(if $(NO_DEDUP),--no-dedup) $(if $(POOL),--pool $(POOL))

# Every mutant of chaos/mutants, or some: make mutants NAMES="fence cancel"
mutants: $(VENV)/.dev $(COMPILED)
	@$(BIN)/python -m chaos.mutating $(NAMES)

# Every figure that docs/safety.md claims, N schedules from SEED on; some parts only: make proof PARTS="mutants bench"
proof: $(VENV)/.dev $(COMPILED)
	@$(BIN)/python -m chaos.proof --schedules $(or $(N),10000) --seed $(or $(SEED),1) --cycles $(or $(CYCLES),100) $(PARTS)

# Pinned packages with hashes and without any index address.
lock: $(VENV)/.dev
	@for name in requirements-agent requirements requirements-dev; do \
	  CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host $$name.in -o $$name.txt; done

# New Chinese texts into the English catalogue; then fill in the empty msgstr lines.
translations: $(VENV)/.dev
	@$(BIN)/python -m deploy.translations

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
