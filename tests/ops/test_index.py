"""Indexing means what it means in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fusejit as fj
from fusejit.testing import check_gradients


def numbered(shape: tuple[int, ...]) -> Any:
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


def assert_same(key: Any, x: Any) -> None:
    expected = x[key]
    found = fj.constant(x)[key]
    assert found.shape == expected.shape
    assert np.array_equal(found.numpy(), expected)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_basic_keys(data: Any) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    assert_same(key, numbered(shape))


@st.composite
def mixed_keys(draw: Any, shape: tuple[int, ...]) -> Any:
    """Ints, slices, None, ..., masks and integer arrays that broadcast together."""
    together = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    items: list[Any] = []
    axis = 0
    while axis < len(shape):
        kind = draw(st.sampled_from(["slice", "int", "array", "array", "none", "ellipsis", "mask"]))
        extent = shape[axis]
        if kind == "none":
            items.append(None)
            continue
        if kind == "ellipsis" and not any(item is Ellipsis for item in items):
            items.append(Ellipsis)
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        if kind == "int":
            items.append(draw(st.integers(-extent, extent - 1)))
        elif kind == "array":
            array = draw(hnp.arrays(int, together, elements=st.integers(-extent, extent - 1)))
            items.append(array)
        elif kind == "mask" and together == ():
            items.append(draw(hnp.arrays(bool, (extent,))))
        else:
            items.append(draw(st.slices(extent)))
        axis += 1
    return tuple(items)


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_mixed_keys(data: Any) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    key = data.draw(mixed_keys(shape))
    x = numbered(shape)
    try:
        x[key]
    except IndexError:  # masks with different counts
        with pytest.raises(fj.FuseJitError):
            fj.constant(x)[key]
        return
    assert_same(key, x)
    tensors = tuple(fj.constant(k) if isinstance(k, np.ndarray) else k for k in key)
    assert np.array_equal(fj.constant(x)[tensors].numpy(), x[key])


@pytest.mark.parametrize(
    "key",
    [
        [],
        [1, 0],
        [True, False, True],
        True,
        False,
        np.array(True),
        np.int8(-1),
        (np.array(1), slice(None)),
        ([0, 1], slice(None), [1, 0]),
        ([0, 1], [[1], [0]]),
        (0, slice(None), [1, 0]),
        (slice(None), 0, [1, 0]),
        (..., [1, 0]),
        (None, [1, 0], None),
        (slice(None), [True, False, True, False]),
        ([0], ..., [1]),
    ],
    ids=str,
)
def test_keys_that_are_easily_wrong(key: Any) -> None:
    assert_same(key, numbered((3, 4, 2)))


def test_a_mask_of_two_axes() -> None:
    x = numbered((3, 4, 2))
    assert_same(x[..., 0] % 3 == 0, x)
    assert np.array_equal(fj.constant(x)[fj.constant(x) > 7].numpy(), x[x > 7])


def test_variables_and_nested_lists_of_indices() -> None:
    v = fj.Variable([[1.0, 2.0], [3.0, 4.0]])
    assert v[0].tolist() == [1.0, 2.0]
    assert v[[0, 1], [1, 0]].tolist() == [2.0, 3.0]
    assert [row.tolist() for row in v] == [[1.0, 2.0], [3.0, 4.0]]


def test_a_tensor_as_an_index_stays_on_the_device() -> None:
    x = fj.constant([10, 20, 30])
    assert x[fj.constant(2)].item() == 30
    assert x[fj.constant([0, -1])].tolist() == [10, 30]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, "index: 3 is out of range for axis 0, extent 3"),
        ((0, -5), "index: -5 is out of range for axis 1, extent 4"),
        ((0, 0, 0), "index: 3 indices for an operand of 2 axes"),
        ((..., ...), "at most one ellipsis"),
        (1.5, "expected integers, bools, slices"),
        ("a", "expected a number, a list"),
        ([0, 7], "index: index 7 is out of bounds"),
        ([True, False], r"the mask is bool\[2\], but the axes from 0 on are \[3\]"),
        (([0, 1], [0, 1, 2]), "cannot broadcast|could not be broadcast"),
    ],
)
def test_keys_that_do_not_fit(key: Any, message: str) -> None:
    with pytest.raises(fj.FuseJitError, match=message):
        fj.constant(numbered((3, 4)))[key]


def test_tensors_are_immutable() -> None:
    x: Any = fj.zeros(3)
    with pytest.raises(fj.FuseJitError, match="immutable"):
        x[0] = 1.0


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_and_take_along_axis(axis: int) -> None:
    x = numbered((3, 4))
    indices = np.array([[2, 0], [1, 1]])
    assert np.array_equal(fj.take(x, indices, axis).numpy(), np.take(x, indices, axis))
    order = np.argsort(-x, axis)
    found = fj.take_along_axis(x, order, axis)
    assert np.array_equal(found.numpy(), np.take_along_axis(x, order, axis))


def test_take_along_axis_broadcasts() -> None:
    x, indices = numbered((3, 1, 4)), np.array([[[0], [3]]])
    expected = np.take_along_axis(
        np.broadcast_to(x, (3, 2, 4)), np.broadcast_to(indices, (3, 2, 1)), 2
    )
    assert np.array_equal(fj.take_along_axis(x, indices).numpy(), expected)


def test_nonzero_and_repeat() -> None:
    x = np.array([[0, 3], [4, 0]])
    assert [a.tolist() for a in fj.nonzero(x)] == [a.tolist() for a in np.nonzero(x)]
    assert [a.tolist() for a in fj.nonzero([0, 1])] == [[1]]
    for repeats in (2, [0, 3]):
        for axis in (0, 1):
            expected = np.repeat(x, repeats, axis)
            assert np.array_equal(fj.repeat(x, repeats, axis).numpy(), expected)
    assert fj.repeat(x, 2).tolist() == np.repeat(x, 2).tolist()
    assert fj.constant([1, 2]).repeat(2).tolist() == [1, 1, 2, 2]


def test_gradients_of_gathers_add_up(rng: np.random.Generator) -> None:
    for shape, keys in [
        ((5,), ([0, -1, 0],)),
        ((3, 4, 2), ([[0], [-1]], [1, 1, 0])),
        ((0, 2), ([],)),
    ]:
        x, indices = rng.normal(size=shape), tuple(np.array(k, int) for k in keys)
        weights = rng.normal(size=x[indices].shape)
        grad = fj.gradients_function(lambda x, i=indices, w=weights: fj.sum(x[i] * w))
        expected = np.zeros_like(x)
        np.add.at(expected, indices, weights)
        np.testing.assert_array_equal(grad(x)[0].numpy(), expected)


def test_gradients_of_indexing(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 4))
    check_gradients(lambda x: x[1:, ::-2] * x[0, 1], x)
    check_gradients(lambda x: x[[0, 0, 2]] * x[:, [1]], x)
    check_gradients(lambda x: x[x > 0] ** 3, x)
    check_gradients(lambda x: fj.sort(x, axis=0) * fj.constant(x[0]), x)
