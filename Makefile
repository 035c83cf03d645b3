# `make demo` and `make test` each work alone on a fresh clone: they make .venv and
# install what they need. A stamp file remembers which set of packages .venv holds.

# The newest Python at hand that is new enough; override with `make PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

# Peers to compare with. The "+cpu" build of torch is asked for by name, so that no
# machine downloads gigabytes of CUDA libraries to run a test suite.
JAX := jax>=0.10,<0.11
ABOVE_JAX := "flax>=0.12,<0.13" "equinox>=0.13,<0.14" "optax>=0.2.8,<0.3"
TORCH := torch==2.13.0$(if $(filter Linux,$(shell uname -s)),+cpu)
ONNX := "onnx>=1.23" "onnxruntime>=1.31"

.DEFAULT_GOAL := help
# Two pips must not write to one environment at once.
.NOTPARALLEL:
.PHONY: help demo test bench lint format clean

help:
	@echo "make demo    train a classifier on real images (under a minute)"
	@echo "make test    linters, type checker, test suite"
	@echo "make bench   benchmarks against JAX, Flax, Equinox, Optax and PyTorch"
	@echo "make lint    linters and type checker only"
	@echo "make format  format the code and apply the linter's safe fixes"
	@echo "make clean   remove .venv, caches and build products"

# One OpenBLAS thread: its threads wait for each other whenever the machine does something else.
demo: $(VENV)/.demo
	OPENBLAS_NUM_THREADS=1 $(BIN)/nr demo

test: $(VENV)/.test $(VENV)/.peers lint
	$(BIN)/python -m pytest -n 2

bench: $(VENV)/.demo $(VENV)/.peers
	$(BIN)/python benchmarks/run.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.demo: pyproject.toml $(BIN)/python
	@echo "installing nr into $(VENV)"
	$(PIP) -e ".[data]"
	@touch $@

$(VENV)/.test: pyproject.toml $(BIN)/python
	@echo "installing nr and its test tools into $(VENV)"
	$(PIP) -e ".[data,test]"
	@touch $@ $(VENV)/.demo

# A peer that cannot be had costs its parity tests, not the run; it is tried again next time.
$(VENV)/.peers: pyproject.toml $(BIN)/python
	@echo "installing JAX, Flax, Equinox, Optax, PyTorch (CPU) and ONNX Runtime for parity tests and benchmarks"
	@missing=; \
	$(PIP) "$(JAX)" || missing="$$missing JAX"; \
	$(PIP) "$(JAX)" $(ABOVE_JAX) || missing="$$missing Flax, Equinox, Optax"; \
	$(PIP) "$(TORCH)" || missing="$$missing PyTorch"; \
	$(PIP) $(ONNX) || missing="$$missing ONNX Runtime"; \
	if [ -z "$$missing" ]; then touch $@; \
	else echo "not installed:$$missing. Parity tests against it will be skipped."; fi

# Debian and others ship Python without ensurepip; a system pip can stand in for it.
$(BIN)/python:
	@if ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "nr needs Python 3.11 or newer; got \"$(PYTHON)\". Name one: make PYTHON=/path/to/python" >&2; \
		exit 1; fi
	@rm -rf $(VENV)
	@if "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
		"$(PYTHON)" -m venv $(VENV); \
	elif "$(PYTHON)" -c 'import pip, venv' 2>/dev/null; then \
		"$(PYTHON)" -m venv --without-pip $(VENV) && \
		"$(PYTHON)" -m pip --python $(BIN)/python install --quiet pip; \
	else \
		echo "$(PYTHON) has neither ensurepip nor pip, so it cannot make a virtual environment." >&2; \
		echo "Install them (Debian, Ubuntu: apt-get install python3-venv) and run make again." >&2; \
		exit 1; \
	fi || { rm -rf $(VENV); exit 1; }
