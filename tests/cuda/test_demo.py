"""`python -m fusejit demo --device gpu`: it trains, samples and compares, for a few steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda import devices

ROOT = Path(__file__).parent.parent.parent
KINDS = ("emulated", pytest.param("", id="cuda", marks=pytest.mark.gpu))


@pytest.mark.parametrize("kind", KINDS)
def test_the_demo(kind: str) -> None:
    devices.driver("emulated" if kind else "gpu", 0)  # skips where there is none
    command = [sys.executable, "-m", "fusejit", "demo", "--device", "gpu"]
    done = subprocess.run(
        [*command, "--steps", "2", "--hidden", "8"],
        cwd=ROOT,
        env={**os.environ, "FUSEJIT_GPU": kind},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "It now writes:" in done.stdout and "Bits per character" in done.stdout
    assert "training step" in done.stdout or "FUSEJIT_DISABLE" in os.environ


def test_a_device_that_is_not_there_is_said_in_a_line() -> None:
    command = [sys.executable, "-m", "fusejit", "demo", "--device", "gpu:63"]
    environment = {**os.environ, "FUSEJIT_GPU": ""}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("fusejit: device /gpu:63: ")
