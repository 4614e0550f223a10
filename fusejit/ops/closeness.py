"""Comparisons that allow for rounding, of whole arrays, and with all of an array."""

from __future__ import annotations

from ..operators import ArrayLike
from ..tensor import Tensor, asarray
from .arithmetic import abs_
from .compare import equal, isfinite, isnan, logical_and, logical_or
from .reduce import all, any
from .shape import expand_dims, flatten


def isclose(
    a: ArrayLike,
    b: ArrayLike,
    /,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    *,
    equal_nan: bool = False,
) -> Tensor:
    """Whether abs(a - b) <= atol + rtol * abs(b), or both are the same infinity."""
    a, b = asarray(a), asarray(b)
    near = logical_and(abs_(a - b) <= atol + rtol * abs_(b), isfinite(b))
    found = logical_or(near, equal(a, b))
    return logical_or(found, logical_and(isnan(a), isnan(b))) if equal_nan else found


def allclose(
    a: ArrayLike,
    b: ArrayLike,
    /,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    *,
    equal_nan: bool = False,
) -> Tensor:
    """Whether `isclose` holds everywhere.

    Example:
        >>> import fusejit as fj
        >>> bool(fj.allclose([1.0, 2.0], [1.0, 2.000001]))
        True
    """
    return all(isclose(a, b, rtol, atol, equal_nan=equal_nan))


def array_equal(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """Whether the shapes are the same and all elements equal."""
    a, b = asarray(a), asarray(b)
    return all(equal(a, b)) if a.shape == b.shape else asarray(False)


def isin(a: ArrayLike, b: ArrayLike, /, *, invert: bool = False) -> Tensor:
    """Whether each element of a is among those of b; compares every pair.

    Example:
        >>> import fusejit as fj
        >>> fj.isin([1, 2, 3], [3, 1]).tolist()
        [True, False, True]
    """
    found = any(equal(expand_dims(a, -1), flatten(b)), -1)
    return ~found if invert else found
