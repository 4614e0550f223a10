"""The reference evaluator: every primitive is total and has the documented value at its corners."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fusejit import scalar
from fusejit.numerics.evaluate import evaluate
from fusejit.scalar import F32, F64, Expr, bitcast, cast, fma, mulhi, select, trace

Array = np.ndarray[Any, Any]
SIGNED = [np.dtype(f"i{n}") for n in (1, 2, 4, 8)]
UNSIGNED = [np.dtype(f"u{n}") for n in (1, 2, 4, 8)]
INTEGERS = SIGNED + UNSIGNED


def _run(function: Callable[..., Any], *arrays: Array) -> Array:
    """The one result, computed with warnings as errors."""
    program = trace(function, [a.dtype for a in arrays])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return evaluate(program, *arrays)[0]


def _corners(dtype: np.dtype[Any]) -> Array:
    info = np.iinfo(dtype)
    numbers = [info.min, info.min + 1, 0, 1, 2, 3, 7, info.max // 2, info.max - 1, info.max]
    if dtype.kind == "i":
        numbers += [-1, -2, -3, -7]
    return np.array(numbers, dtype)


def _pairs(dtype: np.dtype[Any]) -> tuple[Array, Array]:
    a, b = np.meshgrid(_corners(dtype), _corners(dtype))
    return a.ravel(), b.ravel()


def _wrapped(value: int, dtype: np.dtype[Any]) -> int:
    """value modulo 2**width, in the range of dtype."""
    width = 8 * dtype.itemsize
    value %= 1 << width
    return value - (1 << width) if dtype.kind == "i" and value >> (width - 1) else value


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (operator.add, operator.add),
        (operator.sub, operator.sub),
        (operator.mul, operator.mul),
        (operator.truediv, lambda a, b: a // b if b else 0),
        (operator.mod, lambda a, b: a % b if b else 0),
        (operator.and_, operator.and_),
        (operator.or_, operator.or_),
        (operator.xor, operator.xor),
        (operator.lt, operator.lt),
        (operator.le, operator.le),
        (Expr.eq, operator.eq),
    ],
)
def test_integer_operators(
    function: Callable[..., Any], exact: Callable[[int, int], int], dtype: np.dtype[Any]
) -> None:
    """Exact integers, wrapped; x // 0 and x % 0 are 0; MIN // -1 is MIN."""
    a, b = _pairs(dtype)
    got = _run(function, a, b)
    want = [exact(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    if got.dtype != np.bool_:
        want = [_wrapped(w, dtype) for w in want]
        assert got.dtype == dtype
    assert got.tolist() == want


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("function", [operator.truediv, operator.mod])
def test_integer_division_is_numpys(function: Callable[..., Any], dtype: np.dtype[Any]) -> None:
    a, b = _pairs(dtype)
    numpy = np.floor_divide if function is operator.truediv else np.remainder
    with np.errstate(all="ignore"):
        assert (_run(function, a, b) == numpy(a, b)).all()


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_unary_integers(dtype: np.dtype[Any]) -> None:
    x = _corners(dtype)
    for function in (operator.neg, operator.invert, abs):
        want = [_wrapped(function(v), dtype) for v in x.tolist()]
        assert _run(function, x).tolist() == want


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_shifts_by_any_amount(dtype: np.dtype[Any]) -> None:
    """By the width or more, or by a negative amount: 0, but -1 for negative >> n."""
    width = 8 * dtype.itemsize
    amounts = np.array([0, 1, width - 1, width, width + 1, 127], dtype)
    amounts = np.append(amounts, np.array([-1], SIGNED[0]).astype(dtype))
    x, amount = (grid.ravel() for grid in np.meshgrid(_corners(dtype), amounts))
    left, right = _run(operator.lshift, x, amount), _run(operator.rshift, x, amount)
    for v, n, shl, shr in zip(*(z.tolist() for z in (x, amount, left, right)), strict=True):
        inside = 0 <= n < width
        assert shl == (_wrapped(v << n, dtype) if inside else 0)
        assert shr == (v >> n if inside else -1 if v < 0 else 0)


@pytest.mark.parametrize("dtype", UNSIGNED, ids=str)
def test_mulhi(dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(0)
    some = rng.integers(0, np.iinfo(dtype).max, 200, dtype, endpoint=True)
    a, b = np.append(_pairs(dtype)[0], some), np.append(_pairs(dtype)[1], some[::-1])
    want = [x * y >> 8 * dtype.itemsize for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert _run(mulhi, a, b).tolist() == want


@pytest.mark.parametrize("source", INTEGERS, ids=str)
@pytest.mark.parametrize("dtype", [*INTEGERS, F32, F64, np.dtype(bool)], ids=str)
def test_casts_from_integers_are_astype(source: np.dtype[Any], dtype: np.dtype[Any]) -> None:
    x = _corners(source)
    got = _run(lambda x: cast(x, dtype), x)
    assert got.dtype == dtype
    assert (got == x.astype(dtype)).all()


# What x86-64 gives outside the range: (value, int32, int64, uint8, int16, uint32, uint64).
_MIN32, _MIN64 = -(2**31), -(2**63)
_CONVERSIONS = [
    (math.nan, _MIN32, _MIN64, 0, 0, 0, 2**63),
    (math.inf, _MIN32, _MIN64, 0, 0, 0, 0),
    (-math.inf, _MIN32, _MIN64, 0, 0, 0, 2**63),
    (-1.5, -1, -1, 255, -1, 2**32 - 1, 2**64 - 1),
    (300.7, 300, 300, 44, 300, 300, 300),
    (70000.0, 70000, 70000, 112, 4464, 70000, 70000),
    (2.0**31, _MIN32, 2**31, 0, 0, 2**31, 2**31),
    (-(2.0**31), _MIN32, -(2**31), 0, 0, 2**31, 2**64 - 2**31),
    (2.0**32, _MIN32, 2**32, 0, 0, 0, 2**32),
    (2.0**40 + 2.0**20, _MIN32, 2**40 + 2**20, 0, 0, 2**20, 2**40 + 2**20),
    (2.0**63, _MIN32, _MIN64, 0, 0, 0, 2**63),
    (-(2.0**63), _MIN32, _MIN64, 0, 0, 0, 2**63),
    (2.0**63 + 2.0**41, _MIN32, _MIN64, 0, 0, 0, 2**63 + 2**41),
    (2.0**64, _MIN32, _MIN64, 0, 0, 0, 0),
    (-1e30, _MIN32, _MIN64, 0, 0, 0, 2**63),
]


@pytest.mark.parametrize("source", [F32, F64], ids=str)
def test_casts_from_floats(source: np.dtype[Any]) -> None:
    value, *wants = map(list, zip(*_CONVERSIONS, strict=True))
    x = np.array(value, source)
    for name, want in zip(("i4", "i8", "u1", "i2", "u4", "u8"), wants, strict=True):
        to = np.dtype(name)
        assert _run(lambda x, to=to: cast(x, to), x).tolist() == want, name


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_casts_of_floats_in_range_are_astype(dtype: np.dtype[Any]) -> None:
    info = np.iinfo(dtype)
    x = np.array([-0.0, 0.99, 1.5, 100.7, float(info.max // 2)])
    if dtype.kind == "i":
        x = np.append(x, [-0.99, -1.5, -100.7, float(info.min)])
    assert (_run(lambda x: cast(x, dtype), x) == x.astype(dtype)).all()


def test_casts_between_floats_and_to_bool() -> None:
    x = np.array([0.0, -0.0, 1e300, -1e300, 1e-300, 0.1, math.inf, math.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(_run(lambda x: cast(x, F32), x), x.astype(np.float32))
    truth = [False, False] + [True] * 6
    assert _run(lambda x: cast(x, scalar.BOOL), x).tolist() == truth


def _round_to_float(exact: Fraction, dtype: np.dtype[Any]) -> float:
    """The nearest float, ties to even: the quotient of integers at the spacing of the result."""
    info = np.finfo(dtype)
    least = int(np.log2(float(info.smallest_subnormal)))
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    spacing = Fraction(2) ** max(exponent - info.nmant, least)
    rounded = round(exact / spacing) * spacing  # Python rounds half to even
    if abs(rounded) > Fraction(float(info.max)):
        return math.inf if exact > 0 else -math.inf
    return float(rounded)


def _fma_operands(dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
    """All bits, cancellation, halfway cases that round twice wrongly, and denormal results."""
    rng = np.random.default_rng(0)
    n, info, integer = 2000, np.finfo(dtype), np.dtype(f"i{dtype.itemsize}")
    wild = [rng.integers(0, np.iinfo(integer).max, n, integer).view(dtype) for _ in range(3)]
    a, b = (rng.standard_normal(n).astype(dtype) for _ in range(2))
    near = -a * b * (1 + rng.integers(-2, 3, n) * info.eps).astype(dtype)
    far = (rng.standard_normal(n) * 2.0 ** rng.integers(-60, 60, n)).astype(dtype)
    # 1 + eps/2 is a tie; a tiny product of either sign decides it.
    ties = (1 + rng.integers(0, 8, n) * info.eps).astype(dtype)
    half = np.full(n, float(info.eps) / 2, dtype)
    factor = (1 + rng.integers(-3, 4, n) * info.eps).astype(dtype)
    least = np.sqrt(float(info.tiny))
    small_a, small_b = (a * least).astype(dtype), (b * least).astype(dtype)
    denormal = rng.integers(0, 50, n).astype(dtype) * info.smallest_subnormal
    top = np.full(n, info.max, dtype)
    columns = [
        (*wild,),
        (a, b, near),
        (a, b, far),
        (half, factor, ties),
        (small_a, small_b * info.eps, denormal),
        (top, factor, near),
        (top, factor, -top),
        (top, 0 * factor, far),
    ]
    return tuple(np.concatenate(c) for c in zip(*columns, strict=True))  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_fma_rounds_once(dtype: np.dtype[Any]) -> None:
    operands = _fma_operands(dtype)
    finite = np.logical_and.reduce([np.isfinite(x) for x in operands])
    operands = (operands[0][finite], operands[1][finite], operands[2][finite])
    got = _run(fma, *operands)
    assert got.dtype == dtype
    for values in zip(*operands, got, strict=True):
        a, b, c, result = map(float, values)
        exact = Fraction(a) * Fraction(b) + Fraction(c)
        if exact:
            want = _round_to_float(exact, dtype)
            assert (result, math.copysign(1, result) > 0) == (want, exact > 0), (a, b, c)
        else:
            assert result == 0


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_fma_of_zeros_and_infinities(dtype: np.dtype[Any]) -> None:
    numbers = np.array([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan], dtype)
    a, b, c = (grid.ravel() for grid in np.meshgrid(numbers, numbers, numbers))
    with np.errstate(all="ignore"):
        want = a * b + c
    got = _run(fma, a, b, c)
    np.testing.assert_array_equal(got, want)
    known = ~np.isnan(want)
    assert (np.signbit(got) == np.signbit(want))[known].all()
    top = np.array(np.finfo(dtype).max, dtype)  # the product alone would overflow
    assert _run(fma, top, top, -np.array(math.inf, dtype)) == -math.inf


def test_float_operators_are_ieee() -> None:
    numbers = np.array([0.0, -0.0, 1.5, -2.5, 0.5, 5e-324, 1e308, math.inf, -math.inf, math.nan])
    a, b = (grid.ravel() for grid in np.meshgrid(numbers, numbers))
    table: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
        (operator.add, np.add),
        (operator.truediv, np.true_divide),
        (operator.mod, np.remainder),
        (scalar.copysign, np.copysign),
        (operator.lt, np.less),
        (operator.le, np.less_equal),
        (lambda a, b: select(a < b, a, b), lambda a, b: np.where(a < b, a, b)),
        (lambda a, b: scalar.rint(a), lambda a, b: np.rint(a)),
        (lambda a, b: scalar.floor(a), lambda a, b: np.floor(a)),
        (lambda a, b: scalar.ceil(a), lambda a, b: np.ceil(a)),
        (lambda a, b: scalar.trunc(a), lambda a, b: np.trunc(a)),
        (lambda a, b: scalar.sqrt(a), lambda a, b: np.sqrt(a)),
        (lambda a, b: -a, lambda a, b: -a),
        (lambda a, b: abs(a), lambda a, b: np.abs(a)),
    ]
    for function, numpy in table:
        with np.errstate(all="ignore"):
            want = numpy(a, b)
        got = _run(function, a, b)
        np.testing.assert_array_equal(got, want)
        known = ~np.isnan(want)
        assert (np.signbit(got) == np.signbit(want))[known].all() if got.dtype == F64 else True


def test_bool_logic_and_bitcast() -> None:
    x = np.array([1.0, -1.0, math.nan])
    both = _run(lambda x: ~(x < 0.0) & (x.eq(x) ^ (x > 2.0)) | (x < -5.0), x)
    assert both.tolist() == [True, False, False]
    bits = _run(lambda x: bitcast(x, scalar.U64), x)
    assert bits.tolist() == x.view(np.uint64).tolist()
    strided = np.arange(6.0)[::2]
    assert (_run(lambda x: bitcast(bitcast(x, scalar.I64), F64), strided) == strided).all()


def test_shapes_broadcast_and_constants_fill() -> None:
    a, b = np.ones((3, 1), F32), np.ones(4, F32)
    program = trace(lambda a, b: (a + b, scalar.constant(a, 7.0)), [F32, F32])
    total, seven = evaluate(program, a, b)
    assert total.shape == seven.shape == (3, 4)
    assert (seven == 7).all()
    assert seven.flags.writeable
    empty = evaluate(program, np.ones((0, 1), F32), b)
    assert empty[0].shape == (0, 4)
    scalars = evaluate(program, np.array(1, F32), np.array(2, F32))
    assert scalars[0].shape == ()
    assert scalars[0] == 3


def test_a_result_may_be_an_argument_and_is_a_copy() -> None:
    x = np.ones(3, F32)
    same, twice = evaluate(trace(lambda x: (x, x + x), [F32]), x)
    same[0] = 5
    assert x[0] == 1
    assert twice[0] == 2


def test_a_wrong_dtype_is_refused() -> None:
    with pytest.raises(TypeError, match="argument 0 is float64, not float32"):
        evaluate(trace(abs, [F32]), np.ones(3))


def test_every_primitive_is_covered() -> None:
    from fusejit.numerics import evaluate as module

    handled = set(module._FUNCTIONS) | {"arg", "const", "cast", "bitcast"}
    assert handled == set(scalar.PRIMS)
