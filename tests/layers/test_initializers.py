"""Initial values: their distributions, and that they follow the seed."""

from __future__ import annotations

import numpy as np
import pytest

import fusejit as fj
from fusejit.layers import INITIALIZERS

SHAPE = (3, 3, 40, 60)  # a kernel of a convolution
FAN_IN, FAN_OUT = 9 * 40, 9 * 60
VARIANCES = {
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT),
    "glorot_normal": 2 / (FAN_IN + FAN_OUT),
    "he_uniform": 2 / FAN_IN,
    "he_normal": 2 / FAN_IN,
    "lecun_uniform": 1 / FAN_IN,
    "lecun_normal": 1 / FAN_IN,
    "normal": 0.05**2,
    "uniform": 0.05**2 / 3,
}


@pytest.mark.parametrize("name", VARIANCES)
def test_variances(name: str) -> None:
    fj.random.seed(0)
    values = INITIALIZERS[name](SHAPE, "float64").numpy()
    assert values.shape == SHAPE and values.dtype == np.float64
    assert np.mean(values) == pytest.approx(0, abs=4 * np.sqrt(VARIANCES[name] / values.size))
    assert np.var(values) == pytest.approx(VARIANCES[name], rel=0.05)
    if name.endswith("uniform"):
        assert np.abs(values).max() <= np.sqrt(3 * VARIANCES[name])


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (2, 3, 4)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = INITIALIZERS["orthogonal"](shape, "float64").numpy().reshape(-1, shape[-1])
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)


def test_the_recurrent_matrix_of_each_gate_is_orthogonal() -> None:
    cell = fj.layers.LSTMCell(4, dtype="float64")
    cell(fj.zeros((1, 3)))
    for matrix in np.split(cell.recurrent_kernel.numpy(), 4, axis=1):
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(4), atol=1e-12)
    assert cell.bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8


def test_constants() -> None:
    assert INITIALIZERS["zeros"]((2,), "float32").tolist() == [0.0, 0.0]
    assert INITIALIZERS["ones"]((2,), "float32").tolist() == [1.0, 1.0]
    assert INITIALIZERS["identity"]((2, 3), "float32").tolist() == np.eye(2, 3).tolist()
    assert fj.layers.Normal(0.0, mean=2.0)((1,), "float32").tolist() == [2.0]
    assert fj.layers.Scaled()((), "float32").shape == ()
    assert fj.layers.Scaled()((3,), "float32").shape == (3,)


@pytest.mark.parametrize("name", ["orthogonal", "identity"])
def test_vectors_are_refused(name: str) -> None:
    with pytest.raises(fj.ShapeError, match=f"{name}: expected"):
        INITIALIZERS[name]((3,), "float32")


def test_the_seed_decides() -> None:
    found = []
    for _ in range(2):
        fj.random.seed(3)
        model = fj.Sequential([fj.layers.Dense(3), fj.layers.Dense(2)])
        model.build((1, 4))
        found.append([variable.numpy() for variable in model.variables])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
