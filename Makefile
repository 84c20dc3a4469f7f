# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
COLLECTIONS := $(CURDIR)/build
OLDEST := $(COLLECTIONS)/oldest
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
export ANSIBLE_HOME := $(CURDIR)/build/ansible
export PATH := $(BIN):$(PATH)

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.done: requirements.txt pyproject.toml
	@echo "installing the tools of requirements.txt into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: venv
venv: $(VENV)/.done
	@mkdir -p $(COLLECTIONS)/ansible_collections/pgfleet
	@ln -sfn $(CURDIR) $(COLLECTIONS)/ansible_collections/pgfleet/pooler
	@$(BIN)/python -m tests.aws.collections

.PHONY: packages
packages: ## Debian packages that the lab needs
	@tests/packages.sh

.PHONY: lab
lab: packages venv ## build host roots and images (cached outside the checkout)
	@$(BIN)/python -m tests.lab prepare

.PHONY: test
test: lint unit oldest sanity scenarios drills-short ## everything that CI runs

.PHONY: lint
lint: venv ## ruff, mypy, ansible-lint
	ruff check .
	ruff format --check .
	mypy
	MYPYPATH=$(COLLECTIONS) mypy --package ansible_collections.pgfleet.pooler.plugins
	python tools/role_options.py --check
	ansible-lint --offline --profile production

.PHONY: unit
unit: venv lab ## unit tests, and those against the real engine, PostgreSQL and the lab
	$(BIN)/python -m pytest -q --numprocesses 2 tests/unit tests/engine tests/lab

$(OLDEST)/.done: meta/runtime.yml
	@$(PYTHON) -m venv $(OLDEST)
	@version=$$(sed -n 's/^requires_ansible: ">=\(.*\)"/\1/p' meta/runtime.yml); echo "installing ansible-core $$version"; \
	$(OLDEST)/bin/pip install --quiet --disable-pip-version-check "ansible-core~=$$version" cryptography boto3
	@touch $@

.PHONY: oldest
oldest: venv $(OLDEST)/.done ## unit tests that run playbooks, by the oldest Ansible that meta/runtime.yml allows
	PATH=$(OLDEST)/bin:$(PATH) $(BIN)/python -m pytest -q --numprocesses 2 $$(grep -lE '"ansible-playbook"|tests\.playbooks' tests/unit/*.py)

.PHONY: sanity
sanity: venv ## ansible-test sanity
	tests/sanity.sh

.PHONY: scenarios
scenarios: venv lab ## molecule scenarios on lab hosts
	molecule test --all

.PHONY: scenario
scenario: venv lab ## one scenario: make scenario NAME=default
	molecule test --scenario-name $(NAME)

.PHONY: drills
drills: venv lab ## measured tables: make drills ONLY=main
	$(BIN)/python -m tests.drills $(if $(ONLY),--only $(ONLY)) $(if $(RUNS),--runs $(RUNS)) $(if $(EVENTS),--events $(EVENTS))

.PHONY: drills-short
drills-short: venv lab
	$(BIN)/python -m tests.drills --short

.PHONY: bench
bench: venv lab ## speed and scale, beside others: make bench ONLY=data
	$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

.PHONY: demo
demo: packages venv ## a cluster of three and a pooler host with two instances, on this machine
	@$(BIN)/python -m tests.demo up

.PHONY: demo-down
demo-down: venv ## take the demo away
	@$(BIN)/python -m tests.demo down

.PHONY: psql
psql: venv ## psql through the demo's pool
	@$(BIN)/python -m tests.demo psql

.PHONY: dist
dist: venv ## the collection as a tar.gz below dist/
	ansible-galaxy collection build --force --output-path dist .
