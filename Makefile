# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# All targets install what they need in .venv/ and .cache/. Paths of targets and prerequisites are relative.

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: artifact audit bench check checks clean containers demo docs help importer install integration lock matrix quick \
    release sandbox sanity style test unit whole

cache := $(CURDIR)/.cache
# The checkout under the name of the collection, for mypy.
checkout := .cache/checkout/ansible_collections/tradeops/coinswitch

export PATH := $(CURDIR)/.venv/bin:$(shell tests/tools/real-path)
# The collection as users install it, for the demo and the integration tests.
export ANSIBLE_COLLECTIONS_PATH := $(cache)/installed
export ANSIBLE_HOME := $(cache)/ansible
export HYPOTHESIS_STORAGE_DIRECTORY := $(cache)/hypothesis
export PIP_CACHE_DIR := $(cache)/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export XDG_CACHE_HOME := $(cache)/xdg
export UV_CACHE_DIR := $(cache)/uv
export UV_PYTHON_DOWNLOADS := never
# Trust the certificates of the system, as pip does. Behind a company proxy, those that uv includes are not enough.
export UV_SYSTEM_CERTS := true
# Ignore the settings that users have for their other work.
unexport ANSIBLE_CONFIG PYTHONDONTWRITEBYTECODE PYTHONPATH VIRTUAL_ENV

# Run a check with its output in a file. If it fails, print the file, and at the end the names of what failed.
log = @mkdir -p .cache/logs && start=$$(date +%s); if { $(1); } >.cache/logs/$@.log 2>&1; \
    then echo "$@ passed in $$(($$(date +%s) - start)) s"; \
    else cat .cache/logs/$@.log; echo "$@ FAILED (.cache/logs/$@.log):"; \
    grep -E "^(FAILED|ERROR|FATAL)|^nox > .*failed" .cache/logs/$@.log; exit 1; fi

help: ## Show this help (the times are those of two idle processors, after the first run)
	@echo "Usage: make TARGET"
	@sed -n -e 's/^## \(.*\)/\n\1/p' -e 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

## Develop:

demo: install ## Show how a playbook changes a leverage, on a simulated exchange on this machine (15 s)
	@examples/demo/run

sandbox: install ## Start the simulated exchange of this checkout, for your own commands (Ctrl-C stops it)
	@exec python extensions/sandbox --port 41373

check: .venv/ready ## Run style and quick: style, types, spelling, and the unit tests without whole tasks (40 s)
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync style quick

quick: .venv/ready ## Run the unit tests, without those of whole tasks (30 s)
	@pytest --quiet --numprocesses 2 --dist loadfile --ignore tests/unit/whole_tasks

# The last line of the output is the summary of the longest run of pytest.
test: install ## Run all checks and tests (9 min, 10 min the first time)
	@$(MAKE) --no-print-directory --keep-going --jobs=2 integration sanity unit whole checks style
	HOME="$(cache)/home" pytest --quiet --numprocesses 3 --dist worksteal --cov=plugins --ignore tests/unit/whole_tasks \
	    tests/integration tests/unit

docs: .venv/ready ## Build the documentation site in .cache/docs (15 s)
	@tests/tools/build-docs

bench: .venv/ready ## Measure the processor time and the requests of tasks (2 min; with SLOW=1 also rows that take minutes)
	@python tests/bench/bench.py $(if $(SLOW),--slow)

clean: ## Delete .venv and .cache (1 s)
	rm -rf .venv .cache

## Parts of `make test`:

style: .venv/ready $(checkout) ## Check style, types, spelling and the changelog; `.venv/bin/ruff format` corrects the format (5 s, 20 s the first time)
	ruff check --quiet .
	@ruff format --check --quiet . || { echo "The format of the files above is wrong. Run: .venv/bin/ruff format"; exit 1; }
	mypy
	yamllint --strict $$(git ls-files '*.yml')
	git ls-files -z --cached --others --exclude-standard | xargs -0 codespell
	proselint check --config tests/proselint.json $$(git ls-files '*.md' ':!CHANGELOG.md')
	antsibull-changelog lint

# Not in the coverage run, because these tests run the same lines thousands of times.
whole: .venv/ready ## Run the unit tests of whole tasks under faults (1 min)
	$(call log,pytest --quiet tests/unit/whole_tasks)

checks: .venv/ready ## Check the documentation, the licenses and the examples (20 s)
	$(call log,nox --no-color && tests/tools/build-docs)

unit: .venv/ready ## Run the unit tests with the oldest ansible-core and the oldest libraries (1 min)
	$(call log,nox --no-color --tags unit)
integration: .venv/ready ## Run the integration tests marked every_core with the oldest ansible-core (2 min)
	$(call log,nox --no-color --tags integration)
sanity: .venv/ready ## Run the sanity tests with the newest ansible-core (2 min, 3 min the first time)
	$(call log,nox --no-color --tags sanity)

install: .venv/ready ## Build the collection, and install it in .cache/installed (3 s)
	@rm -rf .cache/artifact .cache/installed
	@ansible-galaxy collection build --output-path .cache/artifact . >.cache/build.log
	@ansible-galaxy collection install --offline --collections-path .cache/installed .cache/artifact/*.tar.gz >.cache/install.log

## Maintain (artifact and release need no network, the others do):

lock: lock-uv lock-dev ## Update the pinned requirements (30 s)
audit: .venv/ready ## Search the pinned requirements for known vulnerabilities (30 s)
	uvx pip-audit --strict --disable-pip --require-hashes --requirement requirements/uv.txt --requirement requirements/dev.txt
matrix: install ## Run all tests with the oldest ansible-core, and unit and sanity tests with each version (25 min)
	nox --no-color --session target-3.8 integration-2.16 -- tests/unit tests/integration
	nox --no-color --session unit-2.18 unit-2.20 unit-2.22 sanity-2.16 sanity-2.18 sanity-2.20 sanity-2.22
importer: .venv/ready ## Check the artifact with the newest importer of Galaxy (30 s)
	nox --no-color --session importer
containers: .venv/ready ## Run all sanity tests in the containers of ansible-test, with Docker or Podman (20 min)
	nox --no-color --session ansible-test-sanity
artifact: .venv/ready ## Build the artifact of a REVISION (HEAD by default) in .cache/release (3 s)
	@python tests/tools/release.py build "$(or $(REVISION),HEAD)"
release: .venv/ready ## Write the changelog, set the tag and build the artifact: make release VERSION=1.2.3 (5 s)
	@python tests/tools/release.py cut "$(VERSION)"

lock-%: .venv/ready
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate requirements/$*.in --output-file requirements/$*.txt

pythons := $(or $(PYTHON),python3.13 python3.14 python3.12 python3.11 python3)
.venv/ready: requirements/uv.txt requirements/dev.txt
	@for python in $(pythons); do "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' \
	    2>/dev/null && echo "Setting up .venv with $$python" && exec "$$python" -m venv --clear .venv; done; \
	    echo "None of these is a Python 3.11 to 3.14 with venv and ensurepip: $(pythons). Install one (on Debian and Ubuntu also" \
	    "python3-venv), or set PYTHON=/path/to/python3."; exit 1
	@.venv/bin/python -m pip install -qq --no-deps --no-compile --require-hashes --requirement requirements/uv.txt
	@.venv/bin/uv pip install --quiet --python .venv --no-deps --require-hashes --requirement requirements/dev.txt
	@mkdir -p .cache/home && touch $@

$(checkout):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@
