"""The checkers are checked: they must catch what they are for."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.op import OPS
from fusejit.testing import assert_max_traces, check_gradients, samples, ulp_distance


def scaled(error: float, order: int) -> Any:
    """x * x * x with a gradient, or a gradient of the gradient, that is wrong by a factor."""

    @fj.custom_gradient
    def slope(x: Any) -> Any:
        return x * x * 3.0, lambda dy: dy * x * 6.0 * error

    @fj.custom_gradient
    def cube(x: Any) -> Any:
        factor = error if order == 1 else 1.0
        return x * x * x, lambda dy: dy * factor * (slope(x) if order == 2 else x * x * 3.0)

    return cube


@pytest.mark.parametrize("order", [1, 2])
def test_check_gradients_catches_an_error_of_a_thousandth(order: int) -> None:
    x = np.array([[1.0, -2.0], [0.5, 3.0]])
    check_gradients(scaled(1.0, order), x)
    message = re.escape(f"gradient of cube: order {order}: analytic") + ".* relative error"
    for error in (1.001, 0.999):
        with pytest.raises(AssertionError, match=message):
            check_gradients(scaled(error, order), x)


def test_check_gradients_catches_a_nan() -> None:
    with pytest.raises(AssertionError, match="nan"):
        check_gradients(lambda x: fj.sqrt(x * 0.0), 1.0)


def test_check_gradients_takes_containers_and_other_arguments() -> None:
    check_gradients(lambda x, n, mask: {"y": [x * n, fj.where(mask, x, 0.0)]}, [1.0], 3, True)


def test_assert_max_traces() -> None:
    f = SimpleNamespace(num_traces=3, __name__="f")
    with assert_max_traces(f, 1):
        f.num_traces += 1
    message = "f: recorded 2 times, expected at most 1"
    with pytest.raises(AssertionError, match=message), assert_max_traces(f, 1):
        f.num_traces += 2


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_ulp_distance(dtype: str) -> None:
    one, zero, inf, nan = (np.array(v, dtype) for v in (1.0, 0.0, np.inf, np.nan))
    tiny = np.nextafter(zero, one)
    assert ulp_distance(one, np.nextafter(one, inf)) == 1
    assert ulp_distance(-tiny, tiny) == 2
    assert ulp_distance(zero, -zero) == 0
    assert ulp_distance(np.finfo(dtype).max, inf) == 1
    assert ulp_distance(-inf, inf) > 2 ** (np.finfo(dtype).bits - 2)
    assert ulp_distance(nan, -nan) == 0
    assert ulp_distance(nan, one) == np.iinfo(np.uint64).max
    with pytest.raises(TypeError, match="one dtype"):
        ulp_distance(one, 1)


@pytest.mark.parametrize("name", sorted(OPS))
def test_samples_can_be_run(name: str, rng: np.random.Generator) -> None:
    for arrays, params in samples(OPS[name], rng):
        OPS[name](*arrays, **params)
