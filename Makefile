# Each target is one command. A machine needs Python 3.11 or later (as python3) and make.
.DEFAULT_GOAL := test
.PHONY: demo test modes avx2 lint type golden fuzz bench bench-peers test-pycuda gpu-check clean

PYTHON ?= python3
BIN := .venv/bin
DEMO := .venv/installed
DEV := .venv/installed-dev
BENCH := .venv-bench/installed
SOURCES := $(shell find fusejit kernels -name '*.py' -o -name '*.ll' -o -name '*.cuh' -o -name '*.cpp')

demo: $(DEMO)  ## train a character LSTM, sample from it, compare eager with fused
	$(BIN)/python -m fusejit demo

test: lint type  ## what CI runs
	$(BIN)/python -m pytest -n auto

lint: $(DEV)
	$(BIN)/ruff check .

type: $(DEV)
	$(BIN)/mypy

avx2: $(DEV)  ## the tests with code for a machine without AVX-512
	$(BIN)/python -m pytest -n auto --avx2

modes: $(DEV)  ## the tests under each setting that changes how functions run; some ten minutes
	FUSEJIT_DISABLE=1 $(BIN)/python -m pytest -n auto tests
	FUSEJIT_CHECK=1 $(BIN)/python -m pytest -n auto tests/capture tests/autodiff tests/ops/test_fused.py
	FUSEJIT_NO_REUSE=1 FUSEJIT_VERIFY=1 $(BIN)/python -m pytest -n auto tests/capture tests/autodiff tests/ops/test_fused.py

golden: $(DEV)  ## rewrite the golden files; read the diff before you keep it
	$(BIN)/python -m pytest -n auto tests --update-golden

fuzz: $(DEV)  ## random programs and stories, eager against fused: make fuzz MINUTES=10
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)

bench: $(BENCH)  ## eager, fused and NumPy; table, JSON and plots under bench/results
	.venv-bench/bin/python bench/run.py

bench-peers: $(BENCH)  ## also JAX and PyTorch, where they are installed; some five minutes
	.venv-bench/bin/python bench/run.py --peers all

test-pycuda: $(DEV)  ## the GPU's tests on PyCUDA too, over a driver without a GPU; builds PyCUDA
	$(BIN)/python -m tests.cuda.fake_driver.build
	$(BIN)/python -m pytest -n auto tests/cuda

# On a machine with a GPU: its tests, then bench/gpu.py, in under 8 minutes. With GPU_WHEELS, a
# folder, PYTHON itself is used, and what it has of PyTorch, JAX and CuPy; nothing is fetched.
ifdef GPU_WHEELS
gpu-check:
	$(PYTHON) bench/check_gpu.py --wheels $(GPU_WHEELS)
else
gpu-check: $(DEV)
	$(BIN)/python bench/check_gpu.py
endif

clean:
	rm -rf .gpu .venv .venv-bench build *.egg-info .mypy_cache .pytest_cache .ruff_cache

# The environment is made once, and brought up to date when pyproject.toml changes.
.venv/made:
	$(PYTHON) -m venv .venv
	touch $@

$(DEMO): pyproject.toml .venv/made
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(DEV): pyproject.toml .venv/made
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# Benchmarks measure what users install: a wheel, whose start has no finder of an editable install
# before it (7 ms of importing). Peers go here as well: .venv-bench/bin/pip install torch jax
$(BENCH): pyproject.toml $(SOURCES)
	test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet ".[bench]"
	touch $@
