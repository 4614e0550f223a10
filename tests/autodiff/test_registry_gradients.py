"""Every op in the registry that has a gradient, checked numerically to second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.op import OPS, DTypeRule, Op
from fusejit.testing import Sample, check_gradients, samples

MODES: dict[str, Callable[[Any], Any]] = {
    "eager": lambda f: f,
    "fused": lambda f: fj.function(f),
}
DIFFERENTIABLE = [op for op in OPS.values() if op.vjp is not None]


def dtypes(op: Op) -> list[str]:
    """float64, and complex128 where the op takes it; it alone if there is no scalar program."""
    rule = getattr(op, "dtype", DTypeRule(kinds="f"))
    real = [] if getattr(op, "scalar", op) is None else ["float64"]
    return [*real, *(["complex128"] if "c" in rule.kinds else [])]


CASES = [(op, dtype) for op in DIFFERENTIABLE for dtype in dtypes(op)]


def applied(op: Op, sample: Sample) -> Callable[..., Any]:
    def f(*operands: Any) -> Any:
        return op(*operands, **sample.params)

    f.__name__ = op.name
    return f


def is_constant(f: Callable[..., Any], sample: Sample) -> bool:
    """Whether the op declares that no gradient passes: then the numbers need not agree."""
    operands = [fj.asarray(array) for array in sample.arrays]
    with fj.GradientTape() as tape:
        tape.watch([x for x in operands if x.dtype.kind in "fc"])
        y = f(*operands)
    return all(g is None for g in tape.gradient(y, operands))


@pytest.mark.parametrize("mode", [pytest.param("eager"), pytest.param("fused")])
@pytest.mark.parametrize(("op", "dtype"), CASES, ids=lambda value: getattr(value, "name", value))
def test_gradient(op: Op, dtype: str, mode: str, rng: np.random.Generator) -> None:
    found = samples(op, rng, dtype)
    assert found, f"{op.name} has parameters that `samples` does not know: give it a `sample`"
    for sample in found:
        f = applied(op, sample)
        if not is_constant(f, sample):
            check_gradients(MODES[mode](f), *sample.arrays)
