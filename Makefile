# Everything that is done with this repository. `make` alone lists it.

PYTHON ?= python3
# Installs PyTorch's CPU build into an interpreter; where it is not there, the tests against torch are skipped.
TORCH_INSTALL ?= ../shared/torch-cpu/install

VENV := .venv
IN_VENV := $(VENV)/bin/python
CHECKED := $(wildcard python tests examples benches/*.py)

# PyO3 asks this interpreter, not whichever comes first in PATH; an environment that is active must not get the build.
export PYO3_PYTHON := $(CURDIR)/$(IN_VENV)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONHOME PYTHONPATH CONDA_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: build ## Score what a text recogniser said of 200 lines, and write a report
	@$(IN_VENV) examples/ocr/demo.py

.PHONY: test
test: build $(VENV)/tools ## Run all the tests
	cargo test
	SEQLOSS_SIMD=baseline cargo test --lib
	$(IN_VENV) -m pytest --numprocesses auto --dist loadfile

.PHONY: peers
peers: build $(VENV)/tools ## Run the own tests of the packages that seqloss_rs.compat stands in for
	$(IN_VENV) tests/peers/run.py

.PHONY: lint
lint: build $(VENV)/tools ## Check style, types and documentation
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --lib --features python -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --features python
	$(IN_VENV) -m ruff check
	$(IN_VENV) -m ruff format --check
	$(IN_VENV) -m mypy --strict $(UNCHECKED) $(CHECKED)
	$(VENV)/bin/basedpyright --pythonpath $(IN_VENV)

# These import what is not there, so that mypy cannot check them: the model's runtime is not worth its size for one
# script, and torch is not for every interpreter.
UNCHECKED = --exclude 'make_emissions\.py$$' \
	$(shell $(IN_VENV) -c 'import torch' 2>/dev/null || echo "--exclude 'test_torch\.py$$'")

.PHONY: bench
bench: build $(VENV)/tools ## Compare the speed with that of other libraries
	$(IN_VENV) benches/compare.py
	$(IN_VENV) benches/ctc.py
	$(IN_VENV) benches/dense.py
	$(IN_VENV) benches/policy.py
	$(IN_VENV) benches/text.py

.PHONY: build
build: $(VENV)/base ## Build the extension into .venv, optimised
	$(VENV)/bin/maturin develop --release --quiet

.PHONY: wheel
wheel: $(VENV)/base ## Build a wheel into target/wheels
	$(VENV)/bin/maturin build --release --compression-level 9

.PHONY: venv
venv: $(VENV)/tools ## Make .venv with all the tools

.PHONY: clean
clean: ## Remove what the other commands have made
	cargo clean
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis python/seqloss_rs/_native*.so

# What it takes to build and to run, and no more: the demo is ready soon on a fresh machine.
$(VENV)/base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), expected Python 3.11 or newer; say which with make PYTHON=..." >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(IN_VENV) -m pip install --quiet --upgrade 'pip>=25.1' 'maturin>=1.14,<2' 'numpy>=2'
	@touch $@

$(VENV)/tools: $(VENV)/base
	$(IN_VENV) -m pip install --quiet --group test
	@if [ -x "$(TORCH_INSTALL)" ]; then \
		"$(TORCH_INSTALL)" $(IN_VENV) || echo "torch is not installed: the tests against it will be skipped" >&2; \
	fi
	@touch $@
