"""Tests of other folders, as they stand, in a process where tensors are made on a GPU.

What the seed shows, and the contract of decorated functions: branches, Variables, what goes stale,
gradients through calls, results, errors.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda import devices

ROOT = Path(__file__).parent.parent.parent
SUITES = {
    "seed": ["tests/test_seed.py"],
    "branches": [
        "tests/capture/test_branches.py",
        "tests/capture/test_trees.py",
        "tests/capture/test_at_once.py",
    ],
    "variables": ["tests/capture/test_variables.py", "tests/capture/test_tree_effects.py"],
    "gradients": ["tests/capture/test_gradients_through.py", "tests/capture/test_saved.py"],
    "calls": [
        "tests/capture/test_calls.py",
        "tests/capture/test_results.py",
        "tests/capture/test_errors_leave.py",
        "tests/capture/test_floats.py",
        "tests/capture/test_refused.py",
        "tests/capture/test_reach.py",
        "tests/capture/test_ndarrays.py",
        "tests/capture/test_unsteady.py",
    ],
    "checked": ["tests/capture/test_checked.py"],
    "tapes": ["tests/autodiff/test_custom.py", "tests/autodiff/test_tape.py"],
    "ops": ["tests/ops/test_index.py", "tests/ops/test_random.py", "tests/ops/test_nn.py"],
}
NOT_HERE = (
    "tests/test_seed.py::test_a_device_that_is_not_here_is_refused",
    # The emulator keeps what it was asked for until a value is read.
    "tests/autodiff/test_tape.py::test_memory_is_flat_over_many_steps",
)
KINDS = ("emulated", pytest.param("", id="cuda", marks=pytest.mark.gpu))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_on_a_gpu(suite: list[str], kind: str) -> None:
    devices.driver("emulated" if kind else "gpu", 0)  # skips where there is none
    environment = {**os.environ, "FUSEJIT_DEVICE": "gpu", "FUSEJIT_GPU": kind}
    environment.setdefault("PYTEST_XDIST_WORKER", "gw0")  # to share this run's compiled code
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short"]
    options += [f"--deselect={name}" for name in NOT_HERE]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *suite],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
