# make help lists what there is. Needs git, make and Python >= 3.11; everything else goes into .venv.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && command -v $$p && break; done)
BIN := .venv/bin
LOCKS := requirements/build.txt requirements/dev.txt
LOCK := uv pip compile --quiet --generate-hashes --no-header --no-annotate
DEMO_LOCKS := requirements/build.txt requirements/demo.txt
UV := $(shell uv --version 2>/dev/null)
INSTALLER = $(if $(UV),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check)
# pip takes a minute: show one line that says which package it has come to. uv takes seconds.
PROGRESS = $(if $(UV),,| awk '/^Collecting/ {printf "\r\033[K  %d. %s", ++n, $$2} /^Installing/ {printf "\r\033[K  %d packages, now unpacking …\n", n} {fflush()}')
SEEDS ?= 2000
EVENTS ?= 1000000
RUNS ?= 3
IDLE ?= 60
MINUTES ?= 10
KCL ?= 3.5.1
TESTERS ?= 6
MUTANTS ?= '*__mutmut_3' '*__mutmut_11'

.PHONY: help install demo test check lint types integration simulate fuzz soak interop mutate coverage bench bench-peers profile bars schemas pages site lock audit release up down clean
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/.done ## set up .venv from the locked requirements

# $(call set_up,FILES,VENV,PIP,UV): a new .venv, made by VENV, with the locked requirements of FILES and this checkout.
# PIP and UV are options for one and the other.
define set_up
@if [ -z "$(PYTHON)" ]; then echo "Install Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)." >&2; exit 1; fi
@echo "Creating .venv with $(PYTHON) …"
@rm -rf .venv && $(2) .venv
@echo "Installing $(1) with $(if $(UV),uv,pip) …"
@set -o pipefail; $(INSTALLER) $(if $(UV),$(4),$(3)) --require-hashes $(1:%=-r %) $(PROGRESS)
@echo "Installing this checkout …"
@$(INSTALLER) --quiet --no-deps --no-build-isolation --editable .
endef

.venv/.done: $(LOCKS) pyproject.toml
	$(call set_up,$(LOCKS),$(PYTHON) -m venv,,--compile-bytecode)
	@# A process of the tests would else compile what it imports, anew each time where PYTHONDONTWRITEBYTECODE is set.
	@$(BIN)/python -m compileall -q consumer schemas tests
	@touch $@ .venv/.demo

# Only what the demo needs, unless all of it is there.
.venv/.demo: $(DEMO_LOCKS) pyproject.toml
	$(call set_up,$(DEMO_LOCKS),$(if $(UV),uv venv --quiet --python $(PYTHON),$(PYTHON) -m venv),--no-compile)
	@touch $@

demo: .venv/.demo ## the main job on an embedded Kinesis
	$(BIN)/call-consumer demo

# Half of a test's time is waiting for processes: six at once keep two cores busy. `alone` are those that load the machine
# themselves. Coverage doubles the CPU time of what runs inside pytest, so only CI measures it.
test: install ## run the tests, side by side
	$(BIN)/python -m pytest -m "not alone" -n $(TESTERS) --dist loadfile --no-loadscope-reorder $(if $(COV),--cov --cov-report=)
	$(BIN)/python -m pytest -m alone tests/chaos

coverage: install ## the floors that the last `make test COV=1` has to reach, branches included
	$(BIN)/coverage report --format=total --fail-under=90
	$(BIN)/coverage report --format=total --fail-under=95 --include='consumer/fleet/*,consumer/shard/*,consumer/pipeline/*'

integration: install ## real processes on real servers only
	$(BIN)/python -m pytest tests/integration

check: lint types test ## lint, types and tests

lint: install ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install ## mypy --strict
	$(BIN)/mypy consumer schemas tests benchmarks examples/csv_sink docs/*.py

schemas: install ## write the JSON Schemas, and the rows of new examples
	$(BIN)/python -m schemas
	$(BIN)/python -m tests.unit.example_rows

pages: install ## write the generated parts of the documentation
	$(BIN)/python docs/generate.py

site: build/site/.installed ## the documentation as a site in build/site/html; broken links fail
	NO_MKDOCS_2_WARNING=1 build/site/venv/bin/mkdocs build --strict

build/site/.installed: requirements/docs.txt
	$(PYTHON) -m venv --clear build/site/venv
	build/site/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $@

up: ## LocalStack and the worker, with docker
	docker compose -f localstack-compose.yml up --build --detach

down: ## stop them
	docker compose -f localstack-compose.yml down --volumes

simulate: install ## fleets in virtual time: SEEDS=N runs N of them, SEED=n replays one
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

fuzz: install ## changed events by the fast path and by the careful way: EVENTS=N, SEED=n
	$(BIN)/python -m tests.unit.decoding.fuzz --count $(EVENTS) $(if $(SEED),--seed $(SEED))

soak: install ## storms over real processes, then KCL 2.7.2 beside us: MINUTES=N, SEED=n, SINK=sqlite|jsonl
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(SINK),--sink $(SINK))
	$(MAKE) --no-print-directory interop KCL=2.7.2

interop: install ## beside Amazon's real KCL: KCL=VERSION (3.5.1, 2.7.2), LONG=1 for what it does among its own
	KCL=$(KCL) LONG=$(LONG) CI=true $(BIN)/python -m pytest -s --tb=short tests/interop

# A copy is mutated, not this checkout. Of each function its third and eleventh mutant: all of them take hours.
mutate: install ## break the engine and the lease rules in small ways, count what no fast test notices: MUTANTS=PATTERNS
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/mutate.txt
	rm -rf build/mutate && mkdir -p build/mutate
	cp -r consumer schemas tests docs deploy README.md pyproject.toml build/mutate/
	cd build/mutate && PYTHONPATH=. ../../$(BIN)/mutmut run --max-children 2 $(MUTANTS)

bench: install ## the worker beside other consumers, and idle: RUNS=N, IDLE=SECONDS, BASELINE=COMMIT, JSON=FILE, OPTIONS=…
	@# What pip installs is compiled; a checkout is not where PYTHONDONTWRITEBYTECODE is set, and each start would do it anew.
	@$(BIN)/python -m compileall -q consumer schemas benchmarks $(BIN)/../lib
	$(BIN)/python -m benchmarks --runs $(RUNS) --idle $(IDLE) $(if $(BASELINE),--baseline $(BASELINE)) $(if $(JSON),--json $(JSON)) $(OPTIONS)

bench-peers: ## the same, with a consumer in Go and KCL in Java, where Go, a JDK and Maven are at hand
	$(MAKE) --no-print-directory bench OPTIONS="--programs $(OPTIONS)"

profile: install ## where the worker's CPU goes, by step
	@$(BIN)/python -m compileall -q consumer schemas benchmarks $(BIN)/../lib
	$(BIN)/python -m benchmarks.profile $(OPTIONS)

bars: install ## what has a bar beside CPU per event: memory, latency, idle shards, a long run: BASELINE=COMMIT, JSON=FILE
	@$(BIN)/python -m compileall -q consumer schemas benchmarks $(BIN)/../lib
	$(BIN)/python -m benchmarks.bars $(if $(BASELINE),--baseline $(BASELINE)) $(if $(JSON),--json $(JSON)) $(OPTIONS)

lock: ## renew the locked requirements (needs uv)
	$(LOCK) --universal --python-version 3.11 --group build -o requirements/build.txt
	$(LOCK) --universal --python-version 3.11 --extra demo --extra objects --extra parquet --extra postgres --group dev pyproject.toml -o requirements/dev.txt
	$(LOCK) --universal --python-version 3.11 --extra demo -c requirements/dev.txt pyproject.toml -o requirements/demo.txt
	$(LOCK) --universal --python-version 3.11 pyproject.toml -o requirements/runtime.txt
	$(LOCK) --universal --python-version 3.11 --extra objects --extra postgres -c requirements/dev.txt pyproject.toml -o requirements/image.txt
	echo mutmut | $(LOCK) --universal --python-version 3.11 -c requirements/dev.txt -o requirements/mutate.txt -
	printf 'async-kinesis\naws-kinesis-agg\nmsgspec\norjson\nprotobuf\npydantic\nsix\n' | \
		$(LOCK) --universal --python-version 3.11 -o requirements/bench.txt -
	printf 'duckdb\nmkdocs-material>=9.5,<10\n' | \
		$(LOCK) --universal --python-version 3.11 -c requirements/dev.txt -o requirements/docs.txt -
	printf 'cyclonedx-bom\npip-audit\n' | $(LOCK) --universal --python-version 3.11 -o requirements/release.txt -
	$(LOCK) --python-version 3.13 --python-platform linux --exclude-newer 2026-02-27 \
		.ci/emulators/localstack/requirements.in -o .ci/emulators/localstack/requirements.txt

audit: install ## known vulnerabilities of the locked requirements (asks a public service)
	$(PYTHON) -m venv build/audit && build/audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/release.txt
	build/audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements/runtime.txt

release: install ## build wheel and sdist, and try the wheel in an empty environment: writes dist/
	.ci/release

clean: ## remove what make has made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
