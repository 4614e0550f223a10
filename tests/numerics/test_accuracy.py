"""The transcendental functions against the true values: errors in ulps, special values exactly.

The truth is NumPy's float64 for float32 results (its error is a billionth of their ulp), and mpmath
for float64. Bounds leave a little room over the greatest error found in millions of points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import mpmath
import numpy as np
import pytest

from fusejit.numerics import exponential, logarithm, power, special, trigonometric
from fusejit.numerics.evaluate import evaluate
from fusejit.scalar import F32, F64, trace

MODULES = (exponential, logarithm, power, special, trigonometric)
Array = np.ndarray[Any, Any]
FORMATS = [F32, F64]


@dataclass(frozen=True)
class Case:
    """Bounds in ulps and the independent implementations of one function."""

    float32: float
    float64: float
    numpy: Callable[..., Array]
    mpmath: Callable[..., Any]
    domain: tuple[float, float]  # where it is interesting: half of the points lie there


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _logaddexp(a: Any, b: Any) -> Any:
    return max(a, b) + mpmath.log1p(mpmath.exp(-abs(a - b)))


_erf = np.vectorize(math.erf, otypes=[np.float64])

# exp, log: two ulps are the promise and one is reached. sigmoid, tanh, sinh end in a quotient or a
# product of rounded sums. Where float32 works in float64 inside, its result is nearly the true
# value rounded. log and sin take their argument apart exactly, so they stay below one ulp.
CASES = {
    "exp": Case(1.1, 1.1, np.exp, mpmath.exp, (-105, 90)),
    "expm1": Case(1.5, 2.0, np.expm1, mpmath.expm1, (-5, 5)),
    "sigmoid": Case(2.5, 2.5, _sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), (-105, 20)),
    "tanh": Case(2.5, 2.6, np.tanh, mpmath.tanh, (-10, 10)),
    "sinh": Case(2.6, 2.7, np.sinh, mpmath.sinh, (-5, 5)),
    "cosh": Case(1.5, 1.5, np.cosh, mpmath.cosh, (-5, 5)),
    "log": Case(1.0, 1.0, np.log, mpmath.log, (0, 4)),
    "log1p": Case(1.5, 1.5, np.log1p, mpmath.log1p, (-1, 4)),
    "log2": Case(1.1, 1.1, np.log2, lambda x: mpmath.log(x, 2), (0, 4)),
    "log10": Case(1.0, 1.0, np.log10, mpmath.log10, (0, 4)),
    "asinh": Case(0.6, 1.8, np.arcsinh, mpmath.asinh, (-5, 5)),
    "acosh": Case(0.6, 2.6, np.arccosh, mpmath.acosh, (1, 5)),
    "atanh": Case(0.6, 2.0, np.arctanh, mpmath.atanh, (-1, 1)),
    "sin": Case(0.6, 0.9, np.sin, mpmath.sin, (-20, 20)),
    "cos": Case(0.6, 0.9, np.cos, mpmath.cos, (-20, 20)),
    "tan": Case(0.6, 2.3, np.tan, mpmath.tan, (-20, 20)),
    "asin": Case(0.6, 1.3, np.arcsin, mpmath.asin, (-1, 1)),
    "acos": Case(0.6, 1.3, np.arccos, mpmath.acos, (-1, 1)),
    "atan": Case(0.6, 2.0, np.arctan, mpmath.atan, (-5, 5)),
    "erf": Case(1.2, 1.1, _erf, mpmath.erf, (-6, 6)),
    "pow": Case(0.6, 2.0, np.power, mpmath.power, (-9, 9)),
    "hypot": Case(0.6, 1.3, np.hypot, mpmath.hypot, (-9, 9)),
    "atan2": Case(0.6, 2.0, np.arctan2, mpmath.atan2, (-9, 9)),
    # Of the greater of result and arguments, as they may cancel; the rounding of a - b counts too.
    "logaddexp": Case(6.0, 6.0, np.logaddexp, _logaddexp, (-9, 40)),
}
BINARY = {"pow", "hypot", "atan2", "logaddexp"}


def _function(name: str) -> Any:
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


def _run(name: str, arguments: tuple[Array, ...]) -> Array:
    program = trace(_function(name), [a.dtype for a in arguments])
    return evaluate(program, *arguments)[0]


def _specials(dtype: np.dtype[Any]) -> Array:
    """Zeros, infinities, NaN, denormals, the ends of the range and where algorithms change."""
    info = np.finfo(dtype)
    ends = [info.max, info.tiny, info.smallest_subnormal, 3 * info.smallest_subnormal, info.eps]
    borders = [0.5, 1.0, 2.0, 3.0, 2.5, 1e10, 2.0**28, math.log(2) / 2, math.log(2), math.pi]
    borders += [math.pi / 4, math.pi / 2, math.sqrt(0.5), math.sqrt(2), math.tan(math.pi / 8)]
    borders += [math.tan(3 * math.pi / 8), 0.927734375, math.log(info.max), -math.log(info.tiny)]
    sizes = np.array([0.0, np.inf, np.nan, *ends, *borders], dtype)
    return np.concatenate([sizes, -sizes])


@cache
def _points(name: str, dtype: np.dtype[Any], count: int) -> tuple[Array, ...]:
    """Arguments at every exponent and in the interesting domain, and special values."""
    rng = np.random.default_rng(len(name))
    low, high = CASES[name].domain
    integer = np.dtype(f"i{dtype.itemsize}")

    def column() -> Array:
        top = np.iinfo(integer).max
        bits = rng.integers(0, top, count // 2, integer, endpoint=True).view(dtype)
        bits = np.copysign(bits, rng.uniform(-1, 1, count // 2).astype(dtype))
        return np.concatenate([bits, rng.uniform(low, high, count // 2).astype(dtype)])

    specials = _specials(dtype)
    if name not in BINARY:
        with np.errstate(all="ignore"):
            near = [np.nextafter(specials, dtype.type(end)) for end in (-np.inf, np.inf)]
        return (np.concatenate([column(), specials, *near]),)
    pairs = (grid.ravel() for grid in np.meshgrid(specials, specials))
    columns = [np.concatenate([column(), pair]) for pair in pairs]
    if name == "pow":  # results over the whole range, bases near 1 above all
        info = np.finfo(dtype)
        base = 1 + rng.uniform(-1, 1, count) * 2.0 ** rng.uniform(-10, 0, count)
        exponent = rng.uniform(-1, 1, count) * math.log(info.max) / np.log(base)
        columns = [
            np.append(c, extra.astype(dtype))
            for c, extra in zip(columns, (base, exponent), strict=True)
        ]
    return tuple(columns)


def _ulp(true: Array, dtype: np.dtype[Any]) -> Array:
    """The distance between the floats of `dtype` around a finite `true` (float64)."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(true)
    least = int(np.log2(float(info.smallest_subnormal)))
    return np.ldexp(1.0, np.maximum(exponent - 1 - info.nmant, least))


def _scale(name: str, arguments: tuple[Array, ...], true: Array) -> Array:
    """What the error is measured against."""
    if name != "logaddexp":
        return true
    return np.maximum(np.abs(true), np.abs(np.maximum(*(a.astype(F64) for a in arguments))))


def _errors32(name: str, arguments: tuple[Array, ...]) -> Array:
    """Errors in ulps where the true float32 result is finite."""
    got = _run(name, arguments)
    with np.errstate(all="ignore"):
        true = CASES[name].numpy(*(a.astype(F64) for a in arguments))
        fine = np.isfinite(true.astype(F32))
    arguments, got, true = tuple(a[fine] for a in arguments), got[fine], true[fine]
    return np.abs(got.astype(F64) - true) / _ulp(_scale(name, arguments, true), F32)


@cache
def _truth64(name: str, count: int) -> tuple[tuple[Array, ...], Array, list[Any]]:
    """(arguments, ulps, true values) at the points where the result is finite."""
    arguments = _points(name, F64, count)
    with np.errstate(all="ignore"):
        rough = CASES[name].numpy(*arguments)
    chosen = np.isfinite(rough)
    for a in arguments:
        chosen &= np.isfinite(a) & ((a != 0.0) | ~np.signbit(a))  # mpmath has no -0.0
    arguments = tuple(a[chosen] for a in arguments)
    if len(arguments) == 2:  # of so many pairs of special values some will do
        arguments = tuple(np.append(a[: count // 2], a[count // 2 :: 3]) for a in arguments)
        with np.errstate(all="ignore"):
            rough = CASES[name].numpy(*arguments)[: len(arguments[0])]
    else:
        rough = rough[chosen]
    with mpmath.workprec(140), np.errstate(all="ignore"):
        true = [
            CASES[name].mpmath(*(mpmath.mpf(float(v)) for v in values))
            for values in zip(*arguments, strict=True)
        ]
    return arguments, _ulp(_scale(name, arguments, rough), F64), true


def _errors64(name: str, count: int = 3000) -> Array:
    arguments, ulps, true = _truth64(name, count)
    got = _run(name, arguments)
    with mpmath.workprec(140):
        differences = [abs(mpmath.mpf(float(g)) - t) for g, t in zip(got, true, strict=True)]
        return np.array([float(d / u) for d, u in zip(differences, ulps.tolist(), strict=True)])


@pytest.mark.parametrize("name", CASES)
def test_float32_within_its_bound(name: str) -> None:
    assert _errors32(name, _points(name, F32, 40_000)).max() <= CASES[name].float32


@pytest.mark.parametrize("name", CASES)
def test_float64_within_its_bound(name: str) -> None:
    assert _errors64(name).max() <= CASES[name].float64


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_special_values(name: str, dtype: np.dtype[Any]) -> None:
    """NaN, infinities and signed zeros stand where NumPy has them."""
    arguments = _points(name, dtype, 2000)
    got = _run(name, arguments)
    with np.errstate(all="ignore"):
        want = CASES[name].numpy(*(a.astype(F64) for a in arguments)).astype(dtype)
    assert got.dtype == dtype
    assert (np.isnan(got) == np.isnan(want)).all()
    known = ~np.isnan(want)
    assert (np.isinf(got) == np.isinf(want)).all()
    assert (np.signbit(got) == np.signbit(want))[known & (want == 0.0)].all()
    assert (got == want)[np.isinf(want)].all()


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_exact_results(dtype: np.dtype[Any]) -> None:
    powers = np.array([2.0**k for k in range(-30, 31)], dtype)
    assert (_run("log2", (powers,)) == np.arange(-30, 31)).all()
    tens = np.array([10.0**k for k in range(11)], dtype)
    assert (_run("log10", (tens,)) == np.arange(11)).all()
    base, exponent = np.meshgrid(np.arange(-9, 10), np.arange(7))
    got = _run("pow", (base.ravel().astype(dtype), exponent.ravel().astype(dtype)))
    assert (got == np.power(base, exponent).ravel()).all()


def _closest_to_axes(bits: int, exponents: range) -> list[float]:
    """For each exponent k an m < 2**bits with m 2**k nearest a multiple of pi/2.

    The best m are denominators of the continued fraction of 2**k / (pi/2).
    """
    found = []
    with mpmath.workprec(1300):
        for k in exponents:
            rest = mpmath.ldexp(2 / mpmath.pi, k) % 1
            previous, m = 0, 1
            while m < 2**bits:
                best = m
                rest = 1 / rest
                whole = int(rest)
                rest -= whole
                previous, m = m, whole * m + previous
            found.append(math.ldexp(best, k))
    return found


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_huge_angles_nearest_the_axes(name: str, dtype: np.dtype[Any]) -> None:
    """Where the most leading bits cancel: the reduction must know them all."""
    bits, top = (24, 104) if dtype == F32 else (53, 971)
    x = np.array(_closest_to_axes(bits, range(-bits, top, 1 if dtype == F32 else 7)), dtype)
    case = CASES[name]
    bound = case.float32 if dtype == F32 else case.float64
    with mpmath.workprec(1300):
        for value, got in zip(x, _run(name, (x,)), strict=True):
            true = case.mpmath(mpmath.mpf(float(value)))
            error = abs(mpmath.mpf(float(got)) - true) / float(_ulp(np.float64(true), dtype))
            assert error <= bound, value


def _tables() -> list[Any]:
    """Every coefficient of some tables, as (module, table, place, function, dtype)."""
    owners = [
        (exponential, "_P32", "exp", F32),
        (exponential, "_P64", "expm1", F64),
        (logarithm, "_P32", "log", F32),
        (logarithm, "_R64", "log1p", F64),
        (trigonometric, "_SIN32", "sin", F32),
        (trigonometric, "_COS64", "cos", F64),
        (trigonometric, "_ATAN64", "atan", F64),
        (trigonometric, "_ASIN64", "acos", F64),
        (power, "_LOG2", "pow", F32),
        (power, "_P64", "pow", F64),
        (special, "_R64", "erf", F64),
    ]
    return [
        pytest.param(module, table, place, name, dtype, id=f"{name}-{dtype}-{table}-{place}")
        for module, table, name, dtype in owners
        for place in range(len(getattr(module, table)))
    ]


@pytest.mark.parametrize(("module", "table", "place", "name", "dtype"), _tables())
def test_a_wrong_coefficient_is_caught(
    module: ModuleType,
    table: str,
    place: int,
    name: str,
    dtype: np.dtype[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any coefficient off by one percent (by half in float32) breaks the bound, the last too."""
    coefficients = list(getattr(module, table))
    coefficients[place] *= 1.01 if dtype == F64 else 1.5
    monkeypatch.setattr(module, table, tuple(coefficients))
    if dtype == F32:
        assert _errors32(name, _points(name, F32, 40_000)).max() > CASES[name].float32
    else:
        assert _errors64(name).max() > CASES[name].float64
