# SPDX-License-Identifier: Apache-2.0
# One verb each. `make serve` and `make test` set up all they need in .venv and target; `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

# The interpreter that .venv is made with: 3.11 or newer.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3.14 python3))
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The profile of everything that is tested: optimised, quick to build, the same for wheel and Rust tests.
PROFILE := quick
# The extension module links against no libpython, so it has no Rust tests of its own: Python tests it.
CRATES := --workspace --exclude tritongw-pyext
QUICK_MARKS := not slow and not gpu and not network

WHEEL_SOURCES := pyproject.toml README.md LICENSE $(wildcard Cargo.toml Cargo.lock .cargo/config.toml) \
  $(shell find rust protos python -type f -not -name '*.pyc' -not -name '*.so' -not -path '*/tests/*')

##@ First

.PHONY: serve
serve: $(VENV)/.deps-serve $(VENV)/.wheel-release ## set everything up and serve the example repository
	exec tritongw serve --model-repository model_repository

.PHONY: test
test: lint check-generated conformance ## set everything up, build, lint and run every test

.PHONY: help
help: ## list the verbs
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

##@ Build

.PHONY: build
build: $(VENV)/.wheel-$(PROFILE) ## build the workspace and install the wheel in .venv, quickly
	cargo build $(CRATES) --profile $(PROFILE)

.PHONY: wheel
wheel: $(VENV)/.deps-serve ## build the release wheel in dist/
	maturin build --release --out dist --interpreter $(VENV)/bin/python

##@ Check

.PHONY: fmt
fmt: $(VENV)/.deps-test ## format everything
	cargo fmt --all
	ruff check --quiet --select I --fix
	ruff format

.PHONY: lint
lint: tidy $(VENV)/.wheel-$(PROFILE) ## formats, clippy, ruff, mypy, stub test, edges
	cargo fmt --all --check
	ruff check
	ruff format --check
	mypy
	MYPYPATH=python python -m mypy.stubtest tritongw._core --allowlist tools/stubtest_allowlist.txt
	cargo clippy --workspace --all-targets -- -D warnings

.PHONY: tidy
tidy: $(VENV)/.deps-test ## edges between crates, module heads, names, sizes
	python tools/check_edges.py
	python tools/tidy.py

.PHONY: check-generated
check-generated: $(VENV)/.deps-test ## what is generated and checked in is current
	cargo run --quiet --package xtask --profile $(PROFILE) -- generate --check
	python tools/make_models.py --check
	python tools/conformance.py render --check
	cargo run --quiet --package tritongw-server --profile $(PROFILE) --example option_reference -- --check

##@ Test

.PHONY: test-rust
test-rust: $(VENV)/.deps-test ## Rust tests, and the benchmarks once each
	@mkdir -p target
	cargo test $(CRATES) --profile $(PROFILE) --no-run --message-format=json-render-diagnostics > target/test-rust.json
	cargo test $(CRATES) --profile $(PROFILE) 2>&1 | tee target/test-rust.log
	cargo bench --package tritongw-benches --profile $(PROFILE) -- --test

.PHONY: test-python
test-python: $(VENV)/.wheel-$(PROFILE) ## Python tests against the installed wheel
	pytest -m "$(QUICK_MARKS)" --junitxml=target/test-python.xml -o junit_family=xunit1

.PHONY: gpu
gpu: $(VENV)/.wheel-$(PROFILE) ## tests on an NVIDIA GPU; PyTorch and CuPy must be in .venv
	pytest tests/gpu

.PHONY: conformance
conformance: test-rust test-python ## run the tests and hold their results against the ledger
	python tools/conformance.py check

# Each target that `tritongw_fuzzing::fuzz!` makes, for FUZZ_SECONDS; one after the other.
FUZZ_SECONDS ?= 60
FUZZ_CRATES := tritongw-types tritongw-config tritongw-http tritongw-grpc tritongw-backend-python

.PHONY: fuzz
fuzz: ## every fuzz target, a minute each
	for crate in $(FUZZ_CRATES); do \
	  BOLERO_RANDOM_TEST_TIME_MS=$(FUZZ_SECONDS)000 \
	    cargo test --package $$crate --profile $(PROFILE) fuzz -- --test-threads=2; \
	done

.PHONY: deep
deep: $(VENV)/.wheel-$(PROFILE) ## what takes long: licences and advisories, slow tests, many random cases
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check
	PROPTEST_CASES=20000 cargo test $(CRATES) --profile $(PROFILE)
	pytest -m "slow and not gpu and not network"
	TRITONGW_DIFFERENTIAL_SCALE=20 pytest tests/differential

##@ Measure

.PHONY: bench
bench: $(VENV)/.deps-test $(VENV)/.wheel-release ## benchmarks of the Rust crates, and of a request through the Python clients
	cargo bench --package tritongw-benches
	pytest benches/python --benchmark-enable

# Set-up. Each stamp stands for one finished step; a step runs again when what it read has changed.

$(VENV)/bin/python:
	@[[ -n "$(PYTHON)" ]] || { echo "no python3 found: install Python 3.11 or newer" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) must be Python 3.11 or newer with ensurepip (Debian: apt install python3-venv)" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.deps-serve: EXTRAS := build onnx
$(VENV)/.deps-test: EXTRAS := build test
$(VENV)/.deps-serve $(VENV)/.deps-test: pyproject.toml tools/requirements.py | $(VENV)/bin/python
	python tools/requirements.py $(EXTRAS) > $@.txt
	pip install --quiet --requirement $@.txt
	touch $@

# One wheel is installed at a time: the stamp of the other profile goes.
$(VENV)/.wheel-release: | $(VENV)/.deps-serve
$(VENV)/.wheel-quick: | $(VENV)/.deps-test
$(VENV)/.wheel-release $(VENV)/.wheel-quick: $(VENV)/.wheel-%: $(WHEEL_SOURCES)
	rm -rf $(VENV)/.wheel-* target/wheels/$*
	maturin build --profile $* --compatibility off --interpreter $(VENV)/bin/python --out target/wheels/$*
	pip install --quiet --force-reinstall --no-deps target/wheels/$*/*.whl
	touch $@
