"""NumPy's functions and operators take Tensors; arrays pass by DLPack; printing is NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.op import OPS
from fusejit.testing import samples

X = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")


@pytest.mark.parametrize(
    "op", [op for op in OPS.values() if isinstance(op.numpy, np.ufunc)], ids=lambda op: op.name
)
def test_a_ufunc_is_the_op_whose_record_names_it(op: Any, rng: np.random.Generator) -> None:
    for sample in samples(op, rng):
        tensors = [fj.constant(a) for a in sample.arrays]
        found = op.numpy(*tensors)
        assert isinstance(found, fj.Tensor)
        assert np.array_equal(found.numpy(), op(*sample.arrays).numpy(), equal_nan=True)


def test_ndarrays_on_the_left() -> None:
    t = fj.constant(X)
    results = [X + t, X @ t, X**t, t < X, np.float32(2) * t, X[0] // t, t == X]
    assert all(isinstance(r, fj.Tensor) for r in results)
    assert results[1].tolist() == (X @ X).tolist()
    assert bool(fj.all(results[6]))


def test_numpys_scalars_are_strong() -> None:
    t = fj.constant(X)
    assert (t * np.float64(2)).dtype == (np.float64(2) * t).dtype == np.dtype("float64")
    assert fj.constant(np.float64(0.1)).dtype == np.dtype("float64")
    assert fj.add(t, np.int8(1)).dtype == np.dtype("float32")
    assert fj.constant(np.bool_(True)).dtype == np.dtype("bool")


FUNCTIONS: list[Callable[[Any], Any]] = [
    np.sum,
    lambda x: np.sum(x, axis=0, keepdims=True),
    lambda x: np.mean(x, 1),
    lambda x: np.concatenate([x, X]),
    lambda x: np.stack([x, x], axis=1),
    lambda x: np.where(x > 2, x, 0.0),
    lambda x: np.clip(x, 1.5, 3),
    np.transpose,
    lambda x: np.reshape(x, (4,)),
    lambda x: np.expand_dims(x, 0),
    lambda x: np.matmul(x, x),
    lambda x: np.einsum("ij,jk->ik", x, x),
    lambda x: np.linalg.norm(x),
    lambda x: np.linalg.inv(x),
    lambda x: np.fft.fft(x),
    lambda x: np.cumsum(x, axis=0),
    lambda x: np.max(x, axis=1),
    lambda x: np.amax(x),
    lambda x: np.argmax(x, axis=0),
    lambda x: np.sort(x, axis=0),
    lambda x: np.take(x, [1, 0], axis=0),
    lambda x: np.zeros_like(x),
    lambda x: np.round(x / 2),
    lambda x: np.ravel(x),
    lambda x: np.outer(x[0], x[1]),
    lambda x: np.tensordot(x, x, 1),
    lambda x: np.allclose(x, X),
]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_functions_of_numpy(f: Callable[[Any], Any]) -> None:
    found, expected = f(fj.constant(X)), f(X)
    assert isinstance(found, fj.Tensor)
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_questions_of_numpy_are_answered() -> None:
    t = fj.constant(X)
    assert (np.shape(t), np.ndim(t), np.size(t)) == ((2, 2), 2, 4)


def test_gradients_flow_through_numpys_names() -> None:
    grad = fj.gradients_function(lambda x: np.sum(np.exp(x) * X))
    np.testing.assert_allclose(grad(X)[0].numpy(), np.exp(X) * X, rtol=1e-6)


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda t: np.cbrt(t), "np.cbrt"),
        (lambda t: np.add.reduce(t), "np.add.reduce"),
        (lambda t: np.percentile(t, 3), "np.percentile"),
        (lambda t: np.linalg.lstsq(t, t), "np.linalg.lstsq"),
        (lambda t: np.add(t, 1, dtype="f8"), "np.add with dtype"),
    ],
)
def test_what_fusejit_lacks_is_refused(f: Callable[[Any], Any], name: str) -> None:
    with pytest.raises(fj.DTypeError, match=rf"{name} does not take Tensors.*t\.numpy\(\)"):
        f(fj.constant(X))


def test_arguments_that_fusejit_lacks_are_refused() -> None:
    with pytest.raises(fj.DTypeError, match=r"np\.sum of Tensors is fusejit's own"):
        np.sum(fj.constant(X), where=X > 1)


def test_out() -> None:
    total = np.zeros((2, 2), "float32")
    total += fj.constant(X)
    assert type(total) is np.ndarray
    assert np.array_equal(total, X)
    with pytest.raises(fj.DTypeError, match="Tensors are immutable"):
        np.add(X, X, out=fj.constant(X))


def test_asarray_is_a_read_only_view() -> None:
    t = fj.constant(X)
    array = np.asarray(t)
    assert not array.flags.writeable
    assert np.shares_memory(array, t.numpy())
    assert np.array(t).flags.writeable
    assert np.asarray(t, dtype="float64").dtype == np.dtype("float64")
    assert np.array_equal(np.asarray(fj.Variable(X)), X)


def test_dlpack() -> None:
    t = fj.constant(X)
    shared = np.from_dlpack(t)
    assert np.shares_memory(shared, t.numpy())
    assert not shared.flags.writeable
    assert t.__dlpack_device__() == (1, 0)
    assert np.array_equal(fj.from_dlpack(X).numpy(), X)
    assert not np.shares_memory(fj.from_dlpack(X).numpy(), X)
    assert np.shares_memory(fj.from_dlpack(X, copy=False).numpy(), X)

    class Old:
        """A consumer of the time before capsules could be read-only."""

        def __dlpack__(self, **_: Any) -> Any:
            return t.__dlpack__()

        def __dlpack_device__(self) -> Any:
            return t.__dlpack_device__()

    assert not np.shares_memory(np.from_dlpack(Old()), t.numpy())


def test_array_namespace() -> None:
    namespace: Any = fj.constant(X).__array_namespace__()
    assert namespace is fj
    for name in (
        "pi",
        "e",
        "inf",
        "nan",
        "newaxis",
        "float32",
        "bool",
        "complex128",
        "linalg",
        "fft",
    ):
        assert hasattr(namespace, name)


def test_printing() -> None:
    t = fj.constant(X)
    assert str(t) == str(X)
    assert repr(t) == "Tensor([[1., 2.],\n        [3., 4.]], shape=(2, 2), dtype=float32)"
    assert f"{fj.constant(1.5):.2f}" == "1.50"
    assert str(fj.constant(True)) == "True"
