"""FUSEJIT_DEBUG_NANS=1: the first op that makes a NaN or an infinity is named, with its line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.config import config


@pytest.fixture
def debug_nans() -> Iterator[None]:
    with config.override(debug_nans=True):
        yield


@pytest.mark.usefixtures("debug_nans")
def test_the_op_the_line_and_the_operands_are_named() -> None:
    x = fj.constant([1.0, 100.0])
    with pytest.raises(
        fj.NonFiniteError, match=r"exp \(test_nonfinite.py:\d+\) makes inf at \[1\]"
    ):
        fj.exp(x)
    with pytest.raises(FloatingPointError, match=r"divide .* makes nan, of 0.0 and 0.0"):
        _ = fj.constant(0.0) / 0.0
    with pytest.raises(
        fj.NonFiniteError, match=r"matmul .* makes inf at \[0, 0\] of shape \[1, 1\]"
    ):
        _ = fj.full((1, 4), 3e38) @ fj.ones((4, 1))


@pytest.mark.usefixtures("debug_nans")
def test_what_is_passed_on_is_not_made() -> None:
    mask = fj.constant([0.0, -np.inf])
    assert np.isneginf((mask * 2.0 + 1.0).numpy()[1])
    assert fj.exp(mask).numpy().tolist() == [1.0, 0.0]
    assert int(fj.constant(7) // 2) == 3
    assert np.isfinite(float(fj.astype(fj.constant(3.0), fj.bfloat16)))


@pytest.mark.usefixtures("debug_nans")
def test_backward_names_the_op_whose_gradient_it_is() -> None:
    x = fj.constant([4.0, 0.0])
    with fj.GradientTape() as tape:
        tape.watch(x)
        y = fj.sqrt(x)
    line = sys._getframe().f_lineno - 1
    text = rf"in the gradient of sqrt \(test_nonfinite.py:{line}\): .* makes inf at \[1\]"
    with pytest.raises(fj.NonFiniteError, match=text):
        tape.gradient(y, x)


def test_a_decorated_function_names_its_own_line() -> None:
    @fj.function
    def f(x: Any) -> Any:
        y = x * 2.0
        return fj.log(y - 2.0) * 0.0

    for _ in range(3):
        f(fj.constant(1.0))
    with config.override(debug_nans=True):
        for _ in range(2):
            with pytest.raises(fj.NonFiniteError, match=r"log .*makes -inf, of 0.0"):
                f(fj.constant(1.0))
        assert float(f(fj.constant(3.0))) == 0.0
    assert np.isnan(float(f(fj.constant(1.0))))


def test_the_environment_variable() -> None:
    program = "import fusejit as fj\nfj.function(lambda x: fj.log(x))(fj.constant(0.0))"
    environment = {**os.environ, "FUSEJIT_DEBUG_NANS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("fusejit.errors.NonFiniteError: log (<string>:2) makes -inf, of 0.0.")
