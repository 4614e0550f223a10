"""fastmath: a product and its sum are rounded once, where it is asked for and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends.contract import contracted
from fusejit.numerics.evaluate import evaluate
from fusejit.scalar import F32, F64, I32, trace

# (1 + e)(1 - e) - 1 is -e*e: lost when the product is rounded to float32 first.
E = np.float32(2.0**-13)
A, B, C = (fj.constant(np.full(5, v, np.float32)) for v in (1 + E, 1 - E, -1.0))


def fused(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


@pytest.mark.compiled
@pytest.mark.replayed
def test_it_is_opt_in() -> None:
    plain, fast = fj.function(fused), fj.function(fused, fastmath=True)
    for _ in range(3):
        exact, quick = plain(A, B, C), fast(A, B, C)
    assert exact.tolist() == [0.0] * 5
    assert quick.tolist() == [-float(E) ** 2] * 5
    assert "fma" in fast.llvm(A, B, C) and "fma" not in plain.llvm(A, B, C)
    assert "] fastmath {" in fast.ir(A, B, C) and "] fastmath {" not in plain.ir(A, B, C)


@pytest.mark.compiled
@pytest.mark.replayed
def test_gradients_branches_and_methods_keep_it() -> None:
    @fj.function(fastmath=True)
    def branched(a: Any, b: Any, c: Any) -> Any:
        return a * b + c if fj.sum(a) > 0 else c - a * b

    assert branched(A, B, C).tolist() == [0.0] * 5  # eager
    for _ in range(3):
        assert branched(A, B, C).tolist() == [-float(E) ** 2] * 5
    assert branched(-A, B, C).tolist() == [0.0] * 5
    for _ in range(3):
        assert branched(-A, B, C).tolist() == [-float(E) ** 2] * 5
    gradient = fj.gradients_function(branched)
    assert fj.function(branched, fastmath=True) is branched
    assert fj.function(branched).fastmath is False
    for _ in range(2):
        (g, *_) = gradient(A, B, C)
    np.testing.assert_allclose(g.numpy(), B.numpy())


def test_check_mode_compares_with_what_ieee_says() -> None:
    fast = fj.function(fused, fastmath=True)
    with fj.config.override(check=True):
        for _ in range(3):
            assert fast(A, B, C).tolist() == [0.0] * 5


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b, c: a * b + c,
        lambda a, b, c: c + a * b,
        lambda a, b, c: a * b - c,
        lambda a, b, c: c - a * b,
        lambda a, b, c: a * b + b * c,
    ],
)
def test_products_with_one_reader(function: Any) -> None:
    program = trace(function, [F64] * 3)
    quick = contracted(program)
    prims = [instr.prim for instr in quick.instrs]
    assert prims.count("fma") == 1 and "add" not in prims and "sub" not in prims
    values = np.random.default_rng(0).normal(size=(3, 100))
    (expected,), (found,) = evaluate(program, *values), evaluate(quick, *values)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_what_is_left_as_it_is() -> None:
    shared = trace(lambda a, b: (a * b + 1.0, a * b), [F32, F32])
    integers = trace(lambda a, b: a * b + b, [I32, I32])
    assert contracted(shared) == shared and contracted(integers) == integers
