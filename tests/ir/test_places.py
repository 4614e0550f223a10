"""Where views find their elements: affine places against NumPy's own indexing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fusejit as fj
from fusejit.dtypes import TensorType
from fusejit.ir.affine import Affine, identity, linear
from fusejit.ir.builder import Builder
from fusejit.ir.graph import Value
from fusejit.ir.places import Expansion, NotAffine, align
from fusejit.numerics.evaluate import evaluate

I64 = np.dtype(np.int64)
extents = st.integers(1, 4)
shapes = st.lists(extents, min_size=1, max_size=4).map(tuple)


@st.composite
def chains(draw: Any) -> tuple[tuple[int, ...], list[tuple[str, dict[str, Any]]]]:
    """A shape, and views to apply one after another."""
    first = shape = draw(shapes)
    steps: list[tuple[str, dict[str, Any]]] = []
    for _ in range(draw(st.integers(1, 5))):
        name = draw(st.sampled_from(["slice", "permute_dims", "broadcast_to", "reshape"]))
        if name == "slice":
            ranges = tuple(draw(_range(n)) for n in shape)
            params: dict[str, Any] = {"ranges": ranges}
            shape = tuple(length for _, _, length in ranges)
        elif name == "permute_dims":
            params = {"axes": tuple(draw(st.permutations(range(len(shape)))))}
            shape = tuple(shape[a] for a in params["axes"])
        elif name == "broadcast_to":
            shape = tuple(draw(st.sampled_from((2, 3))) if n == 1 else n for n in shape)
            shape = (draw(extents), *shape) if len(shape) < 4 else shape
            params = {"shape": shape}
        else:
            shape = draw(_factors(math.prod(shape)))
            params = {"shape": shape}
        steps.append((name, params))
    return first, steps


@st.composite
def _range(draw: Any, extent: int) -> tuple[int, int, int]:
    start, step = draw(st.integers(0, extent - 1)), draw(st.sampled_from((1, -1, 2, -2)))
    room = (extent - 1 - start) // step if step > 0 else start // -step
    return start, step, draw(st.integers(1, room + 1))


@st.composite
def _factors(draw: Any, size: int) -> tuple[int, ...]:
    found = []
    while size > 1:
        found.append(draw(st.sampled_from([n for n in range(2, size + 1) if size % n == 0])))
        size //= found[-1]
    found.insert(draw(st.integers(0, len(found))), 1)
    return tuple(found)


def addresses(expansion: Expansion) -> Any:
    """The number of the element that each iteration reads."""
    ((_, address),) = expansion.reads
    grid = np.indices(expansion.shape) if expansion.shape else ()
    moved = sum(c * g for c, g in zip(address.coefficients, grid, strict=True))
    return np.broadcast_to(address.constant + moved, expansion.shape)


@given(chains())
def test_chains_of_views_read_what_numpy_reads(chain: Any) -> None:
    shape, steps = chain
    builder = Builder("views")
    value: Value = builder.input(TensorType(I64, shape), "x")
    expected = np.arange(math.prod(shape)).reshape(shape)
    for name, params in steps:
        op = fj.op.OPS[name]
        (value,) = builder.add(op, [value], params)
        expected = op.numpy(expected, **params)
    producers = builder.finish([value]).producers()
    expansion = Expansion(expected.shape, producers.get)
    try:
        expansion.evaluate(value)
    except NotAffine as reason:
        assert "cuts across" in str(reason)
        assert any(name == "reshape" for name, _ in steps[1:])
        return
    assert np.array_equal(addresses(expansion), expected)


@given(shapes, st.data())
def test_a_reshape_that_splits_axes_is_affine(shape: tuple[int, ...], data: Any) -> None:
    """Also of a computed value, seen through another view."""
    parts = [data.draw(_factors(n)) for n in shape]
    split = tuple(n for part in parts for n in part)
    builder = Builder("split")
    x = builder.input(TensorType(I64, shape), "x")
    (y,) = builder.add(fj.op.OPS["permute_dims"], [x], {"axes": tuple(range(len(shape)))[::-1]})
    (y,) = builder.add(fj.op.OPS["permute_dims"], [y], {"axes": tuple(range(len(shape)))[::-1]})
    (z,) = builder.add(fj.op.OPS["reshape"], [y], {"shape": split})
    expansion = Expansion(split, builder.finish([z]).producers().get)
    expansion.evaluate(z)
    assert np.array_equal(addresses(expansion), np.arange(math.prod(shape)).reshape(split))


def test_a_reshape_that_merges_axes_needs_memory() -> None:
    builder = Builder("merge")
    x = builder.input(TensorType(I64, (3, 4)), "x")
    (y,) = builder.add(fj.op.OPS["permute_dims"], [x], {"axes": (1, 0)})
    (merged,) = builder.add(fj.op.OPS["reshape"], [y], {"shape": (12,)})
    (flat,) = builder.add(fj.op.OPS["reshape"], [x], {"shape": (12,)})
    producers = builder.finish([merged, flat]).producers()
    with pytest.raises(NotAffine, match=r"reshape \[4, 3\] to \[12\] cuts across axes"):
        Expansion((12,), producers.get).evaluate(merged)
    expansion = Expansion((12,), producers.get)
    expansion.evaluate(flat)
    assert np.array_equal(addresses(expansion), np.arange(12))


@given(shapes)
def test_identity_is_the_row_major_order(shape: tuple[int, ...]) -> None:
    flat = linear(identity(len(shape)), shape, len(shape))
    numbers = sum(c * g for c, g in zip(flat.coefficients, np.indices(shape), strict=True))
    assert np.array_equal(numbers, np.arange(math.prod(shape)).reshape(shape))


def test_arithmetic_of_indices() -> None:
    i, j = identity(2)
    assert 2 * i - j + 3 == Affine(3, (2, -1))
    assert 1 - i == Affine(1, (-1, 0)) == -(i - 1)
    assert align((i, j), (5,)) == (j,)
    assert align((i, j), (1, 5)) == (Affine(0, (0, 0)), j)


def test_equal_reads_are_one_argument() -> None:
    builder = Builder("square")
    x = builder.input(TensorType(np.dtype("float32"), (3,)), "x")
    (y,) = builder.add(fj.exp, [x], {})
    (z,) = builder.add(fj.multiply, [y, y], {})
    expansion = Expansion((3,), builder.finish([z]).producers().get)
    program = expansion.program([expansion.evaluate(z)])
    assert len(expansion.reads) == 1
    given = np.array([0.5, 1.0, 2.0], np.float32)
    expected = fj.exp(fj.constant(given)).numpy() ** 2
    assert np.array_equal(evaluate(program, given)[0], expected)
