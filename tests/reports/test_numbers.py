"""Reports of wrong numbers, dtypes and shapes, of old seeds, and of numbers that cost a trace."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import same
from tests.reports.helpers import Decorator, X, agrees

NOT_FINITE = fj.constant([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, 1.0])


def ieee(x: Any) -> tuple[Any, ...]:
    nan = x / x
    return (
        nan, fj.isnan(nan), fj.isnan(x - x), nan == nan, nan != nan,
        fj.isinf(x + x), fj.isfinite(x), fj.exp(x * 100.0), x * 0.0, nan * 0.0, nan * (x > 9.0),
        fj.where(fj.isnan(nan), 0.0, nan), fj.signbit(x * -1.0), x + 0.0, (x + 1e30) - 1e30,
    )  # fmt: skip


def test_nan_and_infinity_survive() -> None:
    """jax-ml/jax#276: isnan(0/0) is true in compiled code too, as in NumPy."""
    f = fj.function(ieee)
    with np.errstate(all="ignore"):
        x = NOT_FINITE.numpy()
        nan = x / x
        wanted = (
            nan, np.isnan(nan), np.isnan(x - x), nan == nan, nan != nan,
            np.isinf(x + x), np.isfinite(x), np.exp(x * 100.0), x * 0.0, nan * 0.0, nan * (x > 9.0),
            np.where(np.isnan(nan), np.float32(0.0), nan), np.signbit(x * -1.0), x + 0.0,
            (x + np.float32(1e30)) - np.float32(1e30),
        )  # fmt: skip
    for _ in range(3):
        results = f(NOT_FINITE)
        assert same(results, ieee(NOT_FINITE))
        for result, array in zip(results, wanted, strict=True):
            np.testing.assert_array_equal(result.numpy(), array)
    assert f.num_traces == 1


def test_each_result_has_its_own_shape() -> None:
    """cupy/cupy#8198: a result is not broadcast because another one of the kernel is larger."""

    def body(x: Any, y: Any) -> Any:
        return x, x + y, x * 2.0, y * 3.0, fj.sum(x) + y, x[:1] - 1.0

    f = fj.function(body)
    x, y = fj.constant([1.0, 2.0]), fj.constant([[3.0, 4.0], [5.0, 6.0]])
    for args in ((x, y), (x, y), (x, fj.ones((5, 2))), (x, fj.ones((4, 1, 2))), (x, y)):
        results = f(*args)
        assert same(results, body(*args))
        n, m = args[0].shape, args[1].shape
        assert [r.shape for r in results] == [n, m, n, m, m, (1,)]
    assert f.num_traces == 3


NUMBERS = (True, 1, -7, 0.5)
DTYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_promoted_as_numpy_does(number: Any) -> None:
    """cupy/cupy#8536: Python numbers mixed with arrays and 0-d arrays, inside a fused function."""

    def body(dt: Any, mu: Any, x: Any) -> Any:
        return number + mu * dt * x, x * number, number + dt, dt + x

    def attempt(function: Callable[..., Any], *args: Any) -> Any:
        try:
            return tuple((str(y.dtype), y.shape) for y in function(*args))
        except (TypeError, OverflowError):
            return "an error"

    f = fj.function(body)
    for dtype in DTYPES:
        arrays = [np.ones(shape, dtype) for shape in ((), (), (2, 3))]
        tensors = [fj.constant(a) for a in arrays]
        expected = attempt(body, *arrays)
        for _ in range(2):
            assert attempt(f, *tensors) == expected, dtype
            if isinstance(expected, tuple):
                assert same(f(*tensors), body(*tensors)), dtype


def test_a_new_seed_counts_at_the_next_call() -> None:
    """tensorflow/tensorflow#33297: the seed that holds at the call counts, not one at tracing."""

    def situation(function: Decorator) -> Any:
        @function
        def draw() -> Any:
            return fj.random.uniform((2,)) * 2.0

        @function
        def other() -> Any:
            return fj.random.uniform((2,)) * 2.0

        seen = []
        for seed in (42, 42, 43, 42):
            fj.random.seed(seed)
            seen += [draw(), draw(), other(), fj.random.normal((2,)), draw()]
        fj.random.seed(42)
        return [*seen, other(), draw()]

    agrees(situation, 1, 1)


def test_a_number_that_changes_at_each_call() -> None:
    """ml-explore/mlx#3964: an offset that grows must not make calls slower and memory larger."""

    def body(x: Any, offset: Any) -> Any:
        return fj.exp(x * 0.5) + offset

    by_float, by_tensor, by_int = fj.function(body), fj.function(body), fj.function(body)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(100):
            assert same(by_float(X, float(i)), body(X, float(i)))
            assert same(by_tensor(X, fj.constant(i)), body(X, fj.constant(i)))
            assert same(by_int(X, i), body(X, i))
    assert (by_float.num_traces, by_tensor.num_traces) == (1, 1)
    # a plan may have a kernel of its own for 0 or 1, and for its first, quickly compiled code
    assert max(f.num_compiles for f in (by_float, by_tensor, by_int)) <= 4
    assert [w.category for w in caught] == [fj.RecompileWarning]
    assert "offset was 31, now 32" in str(caught[0].message)
    assert len(by_int.signatures()) <= 64, "plans are bounded"
