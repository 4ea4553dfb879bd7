# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything that is set up goes into the checkout, to .venv/ and .cache/. Targets and prerequisites are relative paths.

.DELETE_ON_ERROR:
.SUFFIXES:

cache := $(CURDIR)/.cache
requirements := tests dev importer
collection := ansible_collections/tradeops/coinswitch

# Where the checkout lies as a collection: read by mypy; and where its own artifact is installed: run by demo and tests.
checkout := .cache/checkout/$(collection)
installed := $(cache)/installed

users_path := $(PATH)
export PATH := $(CURDIR)/.venv/bin:$(shell tests/tools/real-path)
export ANSIBLE_COLLECTIONS_PATH := $(installed)
export ANSIBLE_HOME := $(cache)/ansible
export HYPOTHESIS_STORAGE_DIRECTORY := $(cache)/hypothesis
export PIP_CACHE_DIR := $(cache)/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export XDG_CACHE_HOME := $(cache)/xdg
export UV_CACHE_DIR := $(cache)/uv
# What a user has set for other work is no part of what is tried here.
unexport ANSIBLE_CONFIG PYTHONPATH VIRTUAL_ENV

.PHONY: help
help: ## Say what there is to make
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

.PHONY: demo
demo: install ## Watch a playbook bring a symbol's leverage to the wished value, on an exchange on this machine
	@examples/demo/run

.PHONY: check
check: .venv/ready $(checkout) ## The fast loop: style, types, unit tests
	ruff check --quiet .
	ruff format --check --quiet .
	mypy
	pytest --numprocesses 2

# The run of pytest that covers everything is the last thing: its closing line says how it went.
.PHONY: test
test: .venv/ready $(checkout) install ## Everything: all linters, sanity, documentation, licences, all tests
	ruff check --quiet .
	ruff format --check --quiet .
	mypy
	HOME="$(cache)/home" nox --no-color
	pytest --numprocesses 2 --cov tests/unit tests/integration

# The collection the way a user gets it: from its artifact.
.PHONY: install
install: .venv/ready
	@rm -rf .cache/artifact .cache/installed
	@ansible-galaxy collection build --output-path .cache/artifact . >.cache/build.log
	@ansible-galaxy collection install --offline --collections-path "$(installed)" .cache/artifact/*.tar.gz >.cache/install.log

.PHONY: lock
lock: .venv/ready ## Renew the pinned requirements
	for name in $(requirements); do \
	    uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	        --no-emit-index-url --no-header --no-annotate requirements/$$name.in --output-file requirements/$$name.txt || exit; \
	done

.PHONY: clean
clean: ## Remove everything that was set up
	rm -rf .venv .cache

.venv/ready: requirements/dev.txt
	@python=$$(PATH="$(users_path)" tests/tools/find-python $(PYTHON)) \
	    && echo "Setting up .venv with $$python" && "$$python" -m venv --clear .venv
	@.venv/bin/python -m pip install -qq --no-deps --no-compile --require-hashes --requirement requirements/dev.txt
	@mkdir -p .cache/home && touch $@

$(checkout):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@
