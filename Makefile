# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything that is set up goes into the checkout, to .venv/ and .cache/. Targets and prerequisites are relative paths.

.DELETE_ON_ERROR:
.SUFFIXES:

cache := $(CURDIR)/.cache
requirements := uv tests oldest next target dev importer
oldest_python = $(if $(filter target,$*),3.8,$(if $(filter next,$*),3.13,3.11))
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
# The certificates that the machine trusts, as pip does: behind a proxy of its own, those of uv are not enough.
export UV_SYSTEM_CERTS := true
# What a user has set for other work is no part of what is tried here; nor need each run compile all anew.
unexport ANSIBLE_CONFIG PYTHONDONTWRITEBYTECODE PYTHONPATH VIRTUAL_ENV

.PHONY: help
help: ## Say what there is to make
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

.PHONY: demo
demo: install ## Watch a playbook change the leverage of a symbol, on a simulated exchange on this machine
	@examples/demo/run

.PHONY: check
check: style ## The fast loop: style, types, unit tests except those of whole tasks
	pytest --numprocesses 2 --ignore tests/unit/whole_tasks

# The longest run of pytest is the last thing: its closing line says how it went.
.PHONY: test
test: install ## Everything: all linters, sanity, documentation, licences, all tests
	@$(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(beside)
	HOME="$(cache)/home" pytest --numprocesses 2 --dist worksteal --cov=plugins --ignore tests/unit/whole_tasks tests/integration tests/unit

# What goes side by side, the longest first.
beside := sanity unit whole-tasks checks integration style

# Not part of the coverage run: tracing thousands of tasks takes long, and the other tests cover the same lines.
.PHONY: whole-tasks
whole-tasks: .venv/ready
	pytest --quiet tests/unit/whole_tasks

.PHONY: style
style: .venv/ready $(checkout)
	ruff check --quiet .
	ruff format --check --quiet .
	mypy
	proselint check --config tests/proselint.json $$(git ls-files '*.md' ':!CHANGELOG.md')

# One row for each core that this environment has not; integration has the Pythons on which modules run, too.
.PHONY: sanity integration unit
sanity integration unit: .venv/ready
	HOME="$(cache)/home" nox --no-color --tags $@

.PHONY: checks
checks: .venv/ready
	HOME="$(cache)/home" nox --no-color

.PHONY: containers
containers: .venv/ready ## Sanity under each core on each Python, in ansible-test's containers: needs Docker or Podman
	HOME="$(cache)/home" nox --no-color --session ansible-test-sanity

# The collection the way a user gets it: from its artifact.
.PHONY: install
install: .venv/ready
	@rm -rf .cache/artifact .cache/installed
	@ansible-galaxy collection build --output-path .cache/artifact . >.cache/build.log
	@ansible-galaxy collection install --offline --collections-path "$(installed)" .cache/artifact/*.tar.gz >.cache/install.log

.PHONY: bench
bench: .venv/ready ## Measure what tasks cost, against the sandbox; SLOW=1 adds the rows that take minutes
	@python tests/bench/bench.py $(if $(SLOW),--slow)

.PHONY: lock
lock: $(requirements:%=lock-%) ## Renew the pinned requirements

lock-%: .venv/ready
	uv pip compile --quiet --upgrade --universal --python-version $(oldest_python) --generate-hashes $(if $(filter next oldest,$*),--no-deps) \
	    --no-emit-index-url --no-header --no-annotate requirements/$*.in --output-file requirements/$*.txt

.PHONY: docs
docs: .venv/ready ## Build the documentation site: .cache/docs/index.html
	HOME="$(cache)/home" nox --no-color --session docs

.PHONY: audit
audit: .venv/ready ## Look for known weaknesses in what is pinned: needs the network, and is no part of test
	pip-audit --strict --disable-pip --require-hashes $(requirements:%=--requirement requirements/%.txt)

.PHONY: release
release: .venv/ready ## Release VERSION, up to its tag and its artifact: make release VERSION=1.2.3
	@python tests/tools/release.py cut "$(VERSION)"

.PHONY: artifact
artifact: .venv/ready ## Build the artifact of a REVISION, the same bytes wherever it is built
	@python tests/tools/release.py build "$(or $(REVISION),HEAD)"

.PHONY: clean
clean: ## Remove everything that was set up
	rm -rf .venv .cache

.venv/ready: requirements/uv.txt requirements/dev.txt
	@python=$$(PATH="$(users_path)" tests/tools/find-python $(PYTHON)) \
	    && echo "Setting up .venv with $$python" && "$$python" -m venv --clear .venv
	@.venv/bin/python -m pip install -qq --no-deps --no-compile --require-hashes --requirement requirements/uv.txt
	@.venv/bin/uv pip install --quiet --python .venv --no-deps --require-hashes --requirement requirements/dev.txt
	@mkdir -p .cache/home && touch $@

$(checkout):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@
