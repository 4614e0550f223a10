"""bfloat16: NumPy runs it through ml_dtypes, eager and inside a decorated function."""

from __future__ import annotations

import numpy as np
import pytest

import fusejit as fj


def test_it_is_made_printed_and_converted() -> None:
    x = fj.asarray([1.0, 2.5], dtype="bfloat16")
    assert (x.dtype, str(x.type), x.tolist()) == (fj.bfloat16, "bf16[2]", [1.0, 2.5])
    assert fj.astype(x, fj.float32).numpy().tolist() == [1.0, 2.5]
    assert fj.constant(1.00001, dtype=fj.bfloat16).item() == 1.0  # eight bits of precision


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (2, "bfloat16"),
        (2.5, "bfloat16"),
        (True, "bfloat16"),
        (np.ones(2, np.bool_), "bfloat16"),
        (np.ones(2, np.int32), "float32"),
        (np.ones(2, np.float16), "float32"),
        (np.ones(2, np.float32), "float32"),
        (np.ones(2, np.float64), "float64"),
        (1j, "complex64"),
    ],
)
def test_promotion(other: object, expected: str) -> None:
    assert (fj.ones(2, dtype="bfloat16") + other).dtype.name == expected


def program(x: fj.Tensor) -> tuple[fj.Tensor, ...]:
    y = fj.exp(x) * 2.0 + x
    return y, fj.sum(y), fj.max(y), y[::-1], fj.reshape(y, (2, 2)) @ fj.reshape(y, (2, 2)), y > 3


def test_decorated_is_eager() -> None:
    x = fj.asarray([0.5, 1.0, 1.5, 2.0], dtype="bfloat16")
    decorated = fj.function(program)
    for _ in range(3):
        for found, expected in zip(decorated(x), program(x), strict=True):
            assert found.type == expected.type
            assert found.tolist() == expected.tolist()
    assert decorated.num_traces == 1
    assert [t.dtype.name for t in program(x)] == ["bfloat16"] * 5 + ["bool"]


def test_gradients() -> None:
    (gradient,) = fj.gradients_function(lambda x: fj.sum(x * x))(
        fj.asarray([3.0], dtype="bfloat16")
    )
    assert (gradient.dtype, gradient.tolist()) == (fj.bfloat16, [6.0])
