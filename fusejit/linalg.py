"""Linear algebra: products, norms, decompositions and solvers, on stacks of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .dtypes import promote
from .errors import ShapeError
from .operators import ArrayLike
from .ops.arithmetic import abs_, sqrt
from .ops.cast import astype, conj
from .ops.choose import where
from .ops.creation import eye
from .ops.linalg import (
    as_matrices,
    cholesky_,
    det_,
    eig_,
    eigh_,
    inv_,
    pinv_,
    qr_,
    slogdet_,
    solve_,
    svd_,
)
from .ops.matmul import cross as cross
from .ops.matmul import diagonal as diagonal
from .ops.matmul import matmul as matmul
from .ops.matmul import outer as outer
from .ops.matmul import tensordot as tensordot
from .ops.matmul import trace as trace
from .ops.matmul import vecdot as vecdot
from .ops.reduce import Axis, count_nonzero
from .ops.reduce import max as _max
from .ops.reduce import min as _min
from .ops.reduce import sum as _sum
from .ops.shape import expand_dims, moveaxis, normalize_axes, normalized_list, squeeze
from .ops.shape import matrix_transpose as matrix_transpose
from .ops.transcendental import pow as _pow
from .scalar import F64
from .tensor import Tensor, asarray


class SlogdetResult(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class EighResult(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


def det(x: ArrayLike, /) -> Tensor:
    """The determinant of square matrices. Its gradient needs an inverse: x must not be singular."""
    found: Tensor = det_(as_matrices("det", x))
    return found


def slogdet(x: ArrayLike, /) -> SlogdetResult:
    """(sign, logabsdet): the sign of the determinant and the logarithm of its absolute value."""
    return SlogdetResult(*slogdet_(as_matrices("slogdet", x)))


def inv(x: ArrayLike, /) -> Tensor:
    """The inverse of square matrices; numpy.linalg.LinAlgError if one is singular.

    Example:
        >>> import fusejit as fj
        >>> fj.linalg.inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
        [[0.5, 0.0], [0.0, 0.25]]
    """
    found: Tensor = inv_(as_matrices("inv", x))
    return found


def solve(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """The X with a @ X = b, for square matrices a; b is a vector if it has one axis.

    Example:
        >>> import fusejit as fj
        >>> fj.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0]).tolist()
        [1.0, 0.5]
    """
    a, b = as_matrices("solve", a), asarray(b)
    if not b.ndim or b.shape[0 if b.ndim == 1 else -2] != a.shape[-1]:
        raise ShapeError(f"solve: expected as many rows as {a.type} has, got {b.type}.")
    dtype = promote([a.dtype, b.dtype])
    column = expand_dims(b, -1) if b.ndim == 1 else b
    found: Tensor = solve_(astype(a, dtype), astype(column, dtype))
    return squeeze(found, -1) if b.ndim == 1 else found


def _symmetric(x: Tensor) -> Tensor:
    """LAPACK reads one triangle; gradients are to go to both."""
    return (x + conj(x.mT)) / 2


def cholesky(x: ArrayLike, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L @ L.mT = x, for symmetric positive definite x; or L.mT."""
    found: Tensor = cholesky_(_symmetric(as_matrices("cholesky", x)))
    return conj(found.mT) if upper else found


def eigh(x: ArrayLike, /) -> EighResult:
    """(eigenvalues, eigenvectors) of symmetric matrices; eigenvalues in ascending order.

    The gradient of eigenvectors exists only where no two eigenvalues are equal.
    """
    return EighResult(*eigh_(_symmetric(as_matrices("eigh", x))))


def eigvalsh(x: ArrayLike, /) -> Tensor:
    """The eigenvalues of symmetric matrices in ascending order."""
    return eigh(x).eigenvalues


def eig(x: ArrayLike, /) -> EighResult:
    """(eigenvalues, eigenvectors) of square matrices, as complex numbers; no gradient."""
    return EighResult(*eig_(as_matrices("eig", x)))


def eigvals(x: ArrayLike, /) -> Tensor:
    """The eigenvalues of square matrices, as complex numbers; no gradient."""
    return eig(x).eigenvalues


def qr(x: ArrayLike, /, *, mode: str = "reduced") -> QRResult:
    """(Q, R) with x = Q @ R, orthonormal columns Q and upper triangular R.

    Args:
        x: matrices; for a gradient, with no more columns than rows.
        mode: "reduced", or "complete" for a square Q.
    """
    if mode not in ("reduced", "complete"):
        raise ShapeError(f'qr: expected mode "reduced" or "complete", got {mode!r}.')
    return QRResult(*qr_(as_matrices("qr", x, square=False), mode=mode))


def svd(x: ArrayLike, /, *, full_matrices: bool = True) -> SVDResult:
    """(U, S, Vh) with x = (U * S) @ Vh; singular values S in descending order.

    Gradients need full_matrices=False, or square x, and different singular values.
    """
    return SVDResult(*svd_(as_matrices("svd", x, square=False), full_matrices=full_matrices))


def svdvals(x: ArrayLike, /) -> Tensor:
    """The singular values in descending order."""
    return svd(x, full_matrices=False).S


def pinv(x: ArrayLike, /, *, rtol: float | None = None) -> Tensor:
    """The pseudoinverse; singular values below rtol * the greatest count as zero."""
    found: Tensor = pinv_(as_matrices("pinv", x, square=False), rtol=rtol)
    return found


def matrix_rank(x: ArrayLike, /, *, rtol: float | None = None) -> Tensor:
    """How many singular values exceed rtol * the greatest (default: rows or columns * epsilon)."""
    x = as_matrices("matrix_rank", x, square=False)
    values = svdvals(x)
    if rtol is None:
        rtol = max(x.shape[-2:]) * float(np.finfo(values.dtype.name).eps)
    return count_nonzero(values > _max(values, -1, keepdims=True) * rtol, -1)


def matrix_power(x: ArrayLike, n: int, /) -> Tensor:
    """The product of n factors x; of the inverse if n is negative.

    Example:
        >>> import fusejit as fj
        >>> fj.linalg.matrix_power(fj.constant([[1, 1], [0, 1]]), 5).tolist()
        [[1, 5], [0, 1]]
    """
    x = asarray(x)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power: expected square matrices, got {x.type}.")
    if n < 0:
        x, n = inv(x), -n
    result: Tensor | None = None
    while n:
        if n & 1:
            result = x if result is None else result @ x
        n >>= 1
        x = x @ x if n else x
    if result is None:
        return eye(x.shape[-1], dtype=x.dtype) + x * 0
    return result


def _floats(x: ArrayLike) -> Tensor:
    x = asarray(x)
    return x if x.dtype.kind in "fc" else astype(x, F64)


def _root(total: Tensor) -> Tensor:
    """The square root, with gradient 0 at 0."""
    return where(total == 0, 0, sqrt(where(total == 0, 1, total)))


def vector_norm(
    x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2
) -> Tensor:
    """sum(abs(x)**ord)**(1 / ord) along `axis`; inf and -inf are max and min, 0 counts non-zeros.

    Example:
        >>> import fusejit as fj
        >>> fj.linalg.vector_norm([3.0, 4.0]).item()
        5.0
    """
    size = abs_(_floats(x))
    axis = normalize_axes("vector_norm", axis, size.ndim)
    if ord == math.inf:
        return _max(size, axis, keepdims=keepdims)
    if ord == -math.inf:
        return _min(size, axis, keepdims=keepdims)
    if ord == 0:
        return astype(count_nonzero(size, axis, keepdims=keepdims), size.dtype)
    if ord == 1:
        return _sum(size, axis, keepdims=keepdims)
    if ord == 2:
        return _root(_sum(size * size, axis, keepdims=keepdims))
    return _pow(_sum(_pow(size, ord), axis, keepdims=keepdims), 1 / ord)


def matrix_norm(x: ArrayLike, /, *, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """A norm of the matrices in the last two axes.

    Args:
        x: matrices.
        keepdims: whether the two axes stay, with extent 1.
        ord: "fro" (root of the sum of squares), "nuc" (sum of the singular values), 2 or -2 (the
            greatest or least singular value), 1 or -1 (greatest or least sum of a column), inf or
            -inf (of a row).
    """
    x = _floats(x)
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    values = _singular_norm(x, ord) if ord in ("nuc", 2, -2) else _line_norm(x, ord)
    return expand_dims(values, (-2, -1)) if keepdims else values


def _singular_norm(x: Tensor, ord: float | str) -> Tensor:
    values = svdvals(x)
    return _sum(values, -1) if ord == "nuc" else values[..., 0 if ord == 2 else -1]


def _line_norm(x: Tensor, ord: float | str) -> Tensor:
    if ord not in (1, -1, math.inf, -math.inf):
        raise ShapeError(f"matrix_norm: expected fro, nuc, 1, 2, inf or a negative, got {ord!r}.")
    lines = _sum(abs_(x), -2 if abs(float(ord)) == 1 else -1)
    return (_max if float(ord) > 0 else _min)(lines, -1)


def norm(
    x: ArrayLike,
    /,
    ord: float | str | None = None,
    axis: int | Sequence[int] | None = None,
    *,
    keepdims: bool = False,
) -> Tensor:
    """NumPy's norm: of vectors along one axis, of matrices along two, of all elements if neither
    `ord` nor `axis` is given."""
    x = _floats(x)
    if axis is None and ord is None:
        return vector_norm(x, keepdims=keepdims)
    axes = list(range(x.ndim)) if axis is None else normalized_list("norm", axis, x.ndim)
    if len(axes) == 1 and not isinstance(ord, str):
        order = 2 if ord is None else ord
        return vector_norm(x, axis=axes[0], keepdims=keepdims, ord=order)
    if len(axes) != 2:
        raise ShapeError(f"norm: expected one or two axes for ord={ord!r}, got {x.type}.")
    found = matrix_norm(moveaxis(x, axes, (-2, -1)), ord="fro" if ord is None else ord)
    return expand_dims(found, sorted(axes)) if keepdims else found
