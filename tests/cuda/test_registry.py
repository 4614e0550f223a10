"""Every op of the registry on a GPU gives what it gives on the CPU, eagerly and decorated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.op import OPS, Contraction, Elementwise, Op, Reduction
from fusejit.testing import check_gradients, samples
from tests.autodiff.test_registry_gradients import CASES, is_constant
from tests.autodiff.test_registry_gradients import applied as differentiated
from tests.ops.test_fused import applied, assert_same, takes

ROUNDED = {"float32": 2e-6, "float64": 1e-14}  # of sums and products, in another order


def compare(op: Op, found: Any, expected: Any) -> None:
    """Bits are those of the CPU, but for sums and products."""
    sums = isinstance(op, Contraction) or (isinstance(op, Reduction) and not op.exact)
    tolerance = ROUNDED.get(expected.dtype.name) if sums else None
    if tolerance is None:
        assert_same(found, expected)
    else:
        np.testing.assert_allclose(found.numpy(), expected.numpy(), tolerance, tolerance)


def as_tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def dtypes(op: Op) -> list[str]:
    if op.name in ("any", "all"):  # the public functions cast to bool
        return ["bool"]
    integers = isinstance(op, Elementwise) and takes(op, "int32")
    return ["float32", *(["int32"] if integers else [])]


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_an_op(op: Op, gpus: str, rng: np.random.Generator) -> None:
    for dtype in dtypes(op):
        for arrays, params in samples(op, rng, dtype):
            call = applied(op, params, len(arrays))
            here = [fj.asarray(a) for a in arrays]
            expected = as_tuple(call(*here))
            with fj.device("gpu"):
                there = [fj.asarray(a) for a in arrays]
                eager = as_tuple(call(*there))
                fused = eager
                if op.infer([x.type for x in here], params) is not None:
                    f = fj.function(call)
                    f(*there)
                    fused = as_tuple(f(*there))
                    assert f.num_traces == 1
            device = op.device([x.device for x in there], params)
            for one, again, other in zip(eager, fused, expected, strict=True):
                assert one.device == again.device == device
                assert_same(again, one)
                compare(op, one, other)


@pytest.mark.parametrize("mode", ["eager", "fused"])
@pytest.mark.parametrize(("op", "dtype"), CASES, ids=lambda value: getattr(value, "name", value))
def test_a_gradient(op: Op, dtype: str, mode: str, gpus: str, rng: np.random.Generator) -> None:
    with fj.device("gpu"):
        for sample in samples(op, rng, dtype):
            f = differentiated(op, sample)
            if not is_constant(f, sample):
                check_gradients(fj.function(f) if mode == "fused" else f, *sample.arrays)
