"""Arrays from nothing, from Python data, and from other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj


def assert_same(found: Any, expected: Any) -> None:
    expected = np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("bounds", [(5,), (2, 7), (2, 9, 3), (9, 2, -2), (0,), (5, 2), (-3, 3)])
def test_ranges_of_integers(bounds: tuple[int, ...]) -> None:
    assert_same(fj.arange(*bounds), np.arange(*bounds))
    assert_same(fj.arange(*bounds, dtype="uint8" if min(bounds) >= 0 else "int8"),
                np.arange(*bounds).astype("uint8" if min(bounds) >= 0 else "int8"))  # fmt: skip


@pytest.mark.parametrize("bounds", [(0.0, 1.0, 0.1), (5.0,), (1.0, -1.0, -0.25)])
def test_ranges_of_floats(bounds: tuple[float, ...]) -> None:
    found = fj.arange(*bounds)
    assert found.dtype == np.dtype("float32")
    np.testing.assert_allclose(found.numpy(), np.arange(*bounds), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        fj.arange(*bounds, dtype="float64").numpy(), np.arange(*bounds), rtol=1e-15
    )


@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("num", [0, 1, 2, 7, 50])
def test_linspace(num: int, endpoint: bool) -> None:
    for start, stop in ((0, 1), (-2.5, 3.1), (3, 3)):
        found = fj.linspace(start, stop, num, dtype="float64", endpoint=endpoint)
        expected = np.linspace(start, stop, num, endpoint=endpoint)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-15, atol=1e-15)
        if endpoint and num > 1:
            assert found[-1].item() == stop
    assert fj.linspace(0, 1, 3).dtype == np.dtype("float32")


def test_constants() -> None:
    assert_same(fj.zeros((2, 3)), np.zeros((2, 3), "float32"))
    assert_same(fj.ones(3, dtype="int8"), np.ones(3, "int8"))
    assert_same(fj.empty(()), np.zeros((), "float32"))
    assert_same(fj.full((2,), 7), np.full(2, 7))
    assert_same(fj.full((2, 2), [1.5, 2.5]), np.array([[1.5, 2.5]] * 2, "float32"))
    x = np.ones((2, 1), "int16")
    assert_same(fj.zeros_like(x), np.zeros_like(x))
    assert_same(fj.ones_like(x, dtype="float64"), np.ones_like(x, dtype="float64"))
    assert_same(fj.full_like(x, 3), np.full_like(x, 3))
    assert_same(fj.empty_like(x), np.zeros_like(x))
    assert_same(fj.constant(2.0, shape=(2,)), np.full(2, 2, "float32"))
    for shape, k in (((3, None), 0), ((2, 4), 1), ((4, 2), -1)):
        assert_same(fj.eye(*shape, k=k), np.eye(shape[0], shape[1], k, "float32"))
    assert_same(fj.iota((2, 3)), np.arange(6).reshape(2, 3))
    assert_same(fj.iota((2, 3), 0), np.indices((2, 3))[0])


def test_one_hot() -> None:
    assert_same(fj.one_hot([2, 0, 5, -1], 3), np.eye(6, dtype="float32")[[2, 0, 5, 5], :3])
    assert_same(fj.nn.one_hot([[1]], 2, dtype="int8"), np.array([[[0, 1]]], "int8"))


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid(indexing: Any) -> None:
    lines = [np.arange(3), np.array([1.0, 2.0]), np.arange(2)]
    for count in (1, 2, 3):
        ours = fj.meshgrid(*lines[:count], indexing=indexing)
        numpys = np.meshgrid(*lines[:count], indexing=indexing)
        for found, expected in zip(ours, numpys, strict=True):
            assert_same(found, expected)


def test_nested_lists() -> None:
    assert_same(fj.constant([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]]))
    assert_same(fj.constant([1.0, 2]), np.array([1, 2], "float32"))
    assert_same(fj.constant([]), np.zeros(0, "float32"))
    assert_same(fj.constant([1, 2], dtype="float16"), np.array([1, 2], "float16"))
    assert_same(fj.Tensor([True]), np.array([True]))
    assert_same(fj.asarray(range(3)), np.arange(3))
    with pytest.raises(fj.ShapeError, match="nested list must be rectangular"):
        fj.constant([[1], [2, 3]])


def test_nested_lists_of_tensors_are_stacked() -> None:
    t = fj.constant([1.0, 2.0])
    assert_same(fj.asarray([t, t * 2]), np.array([[1, 2], [2, 4]], "float32"))
    assert_same(fj.asarray([[t[0], 5.0], [t[1], 6.0]]), np.array([[1, 5], [2, 6]], "float32"))
    grad = fj.gradients_function(lambda x: fj.sum(fj.asarray([x, x * x])))
    assert grad(3.0)[0].item() == 7.0


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(fj.DTypeError, match="no such dtype"):
        fj.zeros(2, dtype="object")
    with pytest.raises(fj.DTypeError, match="expected a number, a list of numbers or an array"):
        fj.constant(object())
    with pytest.raises(fj.DTypeError, match="no such dtype"):
        fj.constant(np.array(["a"]))


def test_copies() -> None:
    x = np.zeros(3)
    copied, shared = fj.asarray(x), fj.asarray(x, copy=False)
    x[0] = 1
    assert copied[0].item() == 0
    assert shared[0].item() == 1
