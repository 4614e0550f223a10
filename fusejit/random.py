"""Random numbers: Philox4x32-10, whose state is an ordinary Variable.

A draw of n elements reads (key, counter) from `state`, computes element i from counter + i alone,
and assigns counter + n. All of that is ops, so a decorated function draws the stream of eager code.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from .device import CPU, at, beside, nowhere
from .dtypes import as_dtype, default_float
from .errors import DTypeError, ShapeError
from .op import size_of
from .operators import ArrayLike, Operators
from .ops.arithmetic import add, multiply, sqrt, subtract
from .ops.cast import astype
from .ops.creation import arange, iota
from .ops.join import stack
from .ops.pick import take
from .ops.randomness import random_bits
from .ops.shape import as_shape
from .ops.sorting import argsort
from .ops.transcendental import log
from .ops.trigonometric import cos
from .scalar import F32, F64, I64, U64, DType
from .tensor import Tensor, asarray
from .variable import Variable

Shape = tuple[int, ...]

with at(CPU):
    state = Variable(
        np.array([int.from_bytes(os.urandom(8)), 0], np.uint64),
        name="random.state",
        trainable=False,
    )
"""uint64[2]: the key that `seed` sets, and how many elements have been drawn. It is on the CPU, and
numbers that are drawn for a GPU are computed there from key and counter: they are the same."""


def seed(n: int, /) -> None:
    """Start the stream that belongs to `n`; until the first call it is another one in each process.

    Example:
        >>> import fusejit as fj
        >>> fj.random.seed(7)
        >>> first = fj.random.normal(3)
        >>> fj.random.seed(7)
        >>> bool(fj.all(first == fj.random.normal(3)))
        True
    """
    with at(CPU):
        state.assign(np.array([int(n) % 2**64, 0], np.uint64))


def get_state() -> list[int]:
    """Where the stream is, as plain numbers: what `set_state` takes.

    Example:
        >>> import fusejit as fj
        >>> before = fj.random.get_state()
        >>> first = fj.random.normal(3)
        >>> fj.random.set_state(before)
        >>> bool(fj.all(first == fj.random.normal(3)))
        True
    """
    return [int(number) for number in state.numpy()]


def set_state(numbers: Sequence[int], /) -> None:
    """Go on from where `get_state` was asked, in this process or another."""
    key, counter = (int(number) % 2**64 for number in numbers)
    state.assign(np.array([key, counter], np.uint64))


def _draw(shape: Shape) -> tuple[Tensor, Tensor]:
    """(counters of `shape`, key), which no later draw meets again."""
    now = state.read()
    key, counter = now[0], now[1]
    state.assign(stack([key, counter + size_of(shape)]))
    return astype(iota(shape), U64) + counter, key


def _bits(shape: Shape) -> Tensor:
    counters, key = _draw(shape)
    return random_bits(counters, key, half=0)


def _unit(bits: Tensor, dtype: DType) -> Tensor:
    """The upper 24 (float32) or 53 (float64) bits as a float in [0, 1): every value is exact."""
    kept = 24 if dtype == F32 else 53
    return astype(bits >> (64 - kept), dtype) * 2.0**-kept


def _float_dtype(name: str, dtype: object) -> DType:
    found = default_float() if dtype is None else as_dtype(dtype)
    if found not in (F32, F64):
        raise DTypeError(f"random.{name}: expected float32 or float64, got {found.name}.")
    return found


def _is_plain(value: object, default: float) -> bool:
    return type(value) is float and value == default


def uniform(
    shape: int | Sequence[int] = (),
    low: ArrayLike = 0.0,
    high: ArrayLike = 1.0,
    *,
    dtype: object = None,
) -> Tensor:
    """Numbers equally likely anywhere in [low, high); float32 unless `dtype` says otherwise."""
    unit = _unit(_bits(as_shape("random.uniform", shape)), _float_dtype("uniform", dtype))
    if _is_plain(low, 0.0) and _is_plain(high, 1.0):
        return unit
    return add(multiply(subtract(high, low), unit), low)


def normal(
    shape: int | Sequence[int] = (),
    mean: ArrayLike = 0.0,
    std: ArrayLike = 1.0,
    *,
    dtype: object = None,
) -> Tensor:
    """Normally distributed numbers; float32 unless `dtype` says otherwise.

    Example:
        >>> import fusejit as fj
        >>> fj.random.normal((2, 3)).shape
        (2, 3)
    """
    wanted = _float_dtype("normal", dtype)
    counters, key = _draw(as_shape("random.normal", shape))
    # Box and Muller: the radius from one half of the block, the angle from the other.
    away = 1.0 - _unit(random_bits(counters, key, half=0), wanted)
    angle = _unit(random_bits(counters, key, half=1), wanted) * (2 * math.pi)
    found = sqrt(log(away) * -2.0) * cos(angle)
    if _is_plain(mean, 0.0) and _is_plain(std, 1.0):
        return found
    return add(multiply(found, std), mean)


def bernoulli(p: ArrayLike = 0.5, shape: int | Sequence[int] | None = None) -> Tensor:
    """bools that are True with probability `p`, of the shape of p unless `shape` is given."""
    wanted = asarray(p).shape if shape is None else as_shape("random.bernoulli", shape)
    with beside(p) if isinstance(p, Operators) else nowhere:
        return uniform(wanted) < p


def randint(
    low: int, high: int | None = None, shape: int | Sequence[int] = (), *, dtype: object = "int64"
) -> Tensor:
    """Integers equally likely in [low, high), or in [0, low) if only one bound is given.

    The bias is below (high - low) / 2**64.
    """
    first, last = (0, low) if high is None else (low, high)
    if last <= first:
        raise ShapeError(f"random.randint: expected low < high, got {first} and {last}.")
    bits = _bits(as_shape("random.randint", shape))
    return astype(astype(bits % (last - first), I64) + first, dtype)


def permutation(x: ArrayLike, /) -> Tensor:
    """0, ..., x - 1 in random order for an int x; else x with its first axis in random order."""
    if isinstance(x, (int, np.integer)):
        return argsort(_bits((int(x),)))
    x = asarray(x)
    if not x.ndim:
        raise ShapeError("random.permutation: expected an int or an array with an axis.")
    with beside(x):
        order = argsort(_bits((x.shape[0],)))
    return take(x, order, axis=0)


def choice(x: ArrayLike, shape: int | Sequence[int] = (), *, replace: bool = True) -> Tensor:
    """Elements of x (or of range(x) for an int) along its first axis, each equally likely.

    Raises:
        ShapeError: x is empty, or has too few elements to choose without replacement.
    """
    pool = arange(int(x)) if isinstance(x, (int, np.integer)) else asarray(x)
    wanted = as_shape("random.choice", shape)
    count = pool.shape[0] if pool.ndim else 0
    if replace:
        with beside(pool):
            places = randint(0, count, wanted)
        return take(pool, places, axis=0)
    if size_of(wanted) > count:
        raise ShapeError(
            f"random.choice: {size_of(wanted)} of {count} elements without replacement."
        )
    with beside(pool):
        places = permutation(count)[: size_of(wanted)].reshape(wanted)
    return take(pool, places, axis=0)
