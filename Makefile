# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# All targets install what they need in .venv/ and .cache/. Paths of targets and prerequisites are relative.

.DELETE_ON_ERROR:
.SUFFIXES:

cache := $(CURDIR)/.cache
collection := ansible_collections/tradeops/coinswitch
# The checkout under the name of the collection, for mypy.
checkout := .cache/checkout/$(collection)
# The collection as users install it, for the demo and the integration tests.
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
# Trust the certificates of the system, as pip does. Behind a company proxy, those that uv includes are not enough.
export UV_SYSTEM_CERTS := true
# Ignore the settings that users have for their other work.
unexport ANSIBLE_CONFIG PYTHONDONTWRITEBYTECODE PYTHONPATH VIRTUAL_ENV

nox := HOME="$(cache)/home" nox --no-color

.PHONY: help
help: ## Show this help
	@echo "Usage: make TARGET"
	@sed -n -e 's/^## \(.*\)/\n\1/p' -e 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

## Develop:

.PHONY: demo
demo: install ## Show how a playbook changes a leverage, on a simulated exchange on this machine
	@examples/demo/run

.PHONY: check
check: style ## Check style, types and spelling, and run the unit tests (less than 20 seconds)
	pytest --numprocesses 2 --ignore tests/unit/whole_tasks

# The last line of the output is the summary of the longest run of pytest.
.PHONY: test
test: install ## Run all checks and tests (about 5 minutes)
	@$(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(parallel_checks)
	HOME="$(cache)/home" pytest --numprocesses 3 --dist worksteal --cov=plugins --ignore tests/unit/whole_tasks tests/integration tests/unit

.PHONY: docs
docs: .venv/ready ## Build the documentation site in .cache/docs
	$(nox) --session docs

.PHONY: bench
bench: .venv/ready ## Measure the processor time and the requests of tasks (with SLOW=1, also rows that take minutes)
	@python tests/bench/bench.py $(if $(SLOW),--slow)

.PHONY: clean
clean: ## Delete .venv and .cache
	rm -rf .venv .cache

## Maintain:

.PHONY: lock
lock: lock-uv lock-dev ## Update the pinned requirements (needs the network)

.PHONY: audit
audit: .venv/ready ## Search the pinned requirements for known vulnerabilities (needs the network)
	uvx pip-audit --strict --disable-pip --require-hashes --requirement requirements/uv.txt --requirement requirements/dev.txt

.PHONY: importer
importer: .venv/ready ## Check the artifact with the newest importer of Galaxy (needs the network)
	$(nox) --session importer

.PHONY: containers
containers: .venv/ready ## Run all sanity tests in the containers of ansible-test (with Docker or Podman)
	$(nox) --session ansible-test-sanity

.PHONY: artifact
artifact: .venv/ready ## Build the artifact of a REVISION (HEAD by default) in .cache/release
	@python tests/tools/release.py build "$(or $(REVISION),HEAD)"

.PHONY: release
release: .venv/ready ## Write the changelog, set the tag and build the artifact: make release VERSION=1.2.3
	@python tests/tools/release.py cut "$(VERSION)"

# The parts of `make test` that run in parallel, the longest first.
parallel_checks := unit sanity integration whole-tasks checks style

# Not in the coverage run, because these tests run the same lines thousands of times.
.PHONY: whole-tasks
whole-tasks: .venv/ready
	pytest --quiet tests/unit/whole_tasks

.PHONY: style
style: .venv/ready $(checkout)
	ruff check --quiet .
	ruff format --check --quiet .
	mypy
	yamllint --strict $$(git ls-files '*.yml')
	git ls-files -z --cached --others --exclude-standard | xargs -0 codespell
	proselint check --config tests/proselint.json $$(git ls-files '*.md' ':!CHANGELOG.md')

# The tests with other versions of ansible-core than that of the checkout.
.PHONY: sanity integration unit
sanity integration unit: .venv/ready
	$(nox) --tags $@

.PHONY: checks
checks: .venv/ready
	$(nox)

.PHONY: install
install: .venv/ready
	@rm -rf .cache/artifact .cache/installed
	@ansible-galaxy collection build --output-path .cache/artifact . >.cache/build.log
	@ansible-galaxy collection install --offline --collections-path "$(installed)" .cache/artifact/*.tar.gz >.cache/install.log

lock-%: .venv/ready
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate requirements/$*.in --output-file requirements/$*.txt

.venv/ready: requirements/uv.txt requirements/dev.txt
	@python=$$(PATH="$(users_path)" tests/tools/find-python $(PYTHON)) \
	    && echo "Setting up .venv with $$python" && "$$python" -m venv --clear .venv
	@.venv/bin/python -m pip install -qq --no-deps --no-compile --require-hashes --requirement requirements/uv.txt
	@.venv/bin/uv pip install --quiet --python .venv --no-deps --require-hashes --requirement requirements/dev.txt
	@mkdir -p .cache/home && touch $@

$(checkout):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@
