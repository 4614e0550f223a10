"""Decompositions and solvers: through NumPy (LAPACK), with the textbook gradients.

Notation in the rules: A is the operand, G a gradient, and x.mT the transpose of the last two axes.
Gradients of what depends on complex conjugates (Cholesky, QR, SVD, eigh) are for real arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DTYPES, TensorType
from ..errors import DTypeError, GradientError, ShapeError
from ..op import FLOATING, Opaque, broadcast_shapes, opaque
from ..operators import ArrayLike
from ..scalar import DType
from ..tensor import Tensor, asarray
from .arithmetic import reciprocal
from .cast import astype
from .choose import where
from .compare import equal
from .creation import eye, tril
from .shape import expand_dims, sum_to_shape


def _column(x: Tensor) -> Tensor:
    """A number for each matrix, ready to multiply it."""
    return expand_dims(x, (-2, -1))


def _diagonal(x: Tensor) -> Tensor:
    """A vector as a diagonal matrix."""
    return expand_dims(x, -1) * eye(x.shape[-1], dtype=x.dtype)


def _real_only(name: str, x: Tensor) -> None:
    if x.dtype.kind == "c":
        raise GradientError(f"{name}: no gradient for complex operands, got {x.type}.")


def _real_dtype(dtype: DType) -> DType:
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def _matrices(rng: np.random.Generator) -> Any:
    return rng.normal(size=(2, 3, 3)) + 3 * np.eye(3)


def _definite(rng: np.random.Generator) -> Any:
    x = rng.normal(size=(2, 3, 3))
    return x @ np.swapaxes(x, -1, -2) + 2 * np.eye(3)


def _lower_only(gradient: Tensor) -> Tensor:
    """What a symmetric gradient is to the lower triangle, which alone LAPACK reads."""
    return tril(gradient) + tril(gradient.mT, k=-1)


def _differences(x: Tensor) -> Tensor:
    """1 / (x[j] - x[i]) at [i, j], and 0 on the diagonal."""
    gaps = expand_dims(x, -2) - expand_dims(x, -1)
    diagonal = equal(eye(x.shape[-1]), 1)
    return where(diagonal, 0, reciprocal(where(diagonal, 1, gaps)))


det_ = opaque(
    "det",
    numpy=np.linalg.det,
    inputs=("x",),
    types=lambda x: TensorType(x.dtype, x.shape[:-2]),
    vjp=lambda g, x, y: (_column(g * y) * inv_(x).mT,),
    sample=lambda rng: ([_matrices(rng)], {}),
    doc="The determinant.",
)

slogdet_ = opaque(
    "slogdet",
    numpy=lambda x: tuple(np.linalg.slogdet(x)),
    types=lambda x: (
        TensorType(x.dtype, x.shape[:-2]),
        TensorType(_real_dtype(x.dtype), x.shape[:-2]),
    ),
    vjp=lambda g, x: (_slogdet_gradient(g[1], x),),
    sample=lambda rng: ([_matrices(rng)], {}),
    doc="The sign of the determinant, and the logarithm of its absolute value.",
)

inv_: Opaque = opaque(
    "inv",
    numpy=np.linalg.inv,
    inputs=("x",),
    types=lambda x: x,
    vjp=lambda g, y: (-(y.mT @ g @ y.mT),),
    sample=lambda rng: ([_matrices(rng)], {}),
    doc="The inverse matrix.",
)


def _solved(a: TensorType, b: TensorType) -> TensorType:
    batch = broadcast_shapes("solve", [a.shape[:-2], b.shape[:-2]])
    return TensorType(a.dtype, (*batch, *b.shape[-2:]))


def _solve_gradient(g: Tensor, a: Tensor, b_type: TensorType, y: Tensor) -> tuple[Any, Any]:
    right = solve_(a.mT, g)
    return sum_to_shape(-(right @ y.mT), a.shape), sum_to_shape(right, b_type.shape)


solve_ = opaque(
    "solve",
    numpy=np.linalg.solve,
    inputs=("a", "b"),
    types=_solved,
    vjp=lambda g, a, b_type, y: _solve_gradient(g, a, b_type, y),
    sample=lambda rng: ([_matrices(rng), rng.normal(size=(3, 2))], {}),
    doc="The X with a @ X = b.",
)


def _slogdet_gradient(g: Tensor, x: Tensor) -> Tensor:
    _real_only("slogdet", x)
    inverse: Tensor = inv_(x)
    return _column(g) * inverse.mT


def _cholesky_gradient(g: Tensor, y: Tensor) -> Tensor:
    """L^-T phi(L^T G) L^-1, with phi the lower triangle and half the diagonal."""
    _real_only("cholesky", y)
    product = tril(y.mT @ g)
    half = product - product * eye(y.shape[-1], dtype=y.dtype) / 2
    found = solve_(y.mT, solve_(y.mT, half.mT).mT)
    return _lower_only((found + found.mT) / 2)


cholesky_ = opaque(
    "cholesky",
    numpy=np.linalg.cholesky,
    inputs=("x",),
    types=lambda x: x,
    vjp=lambda g, y: (_cholesky_gradient(g, y),),
    sample=lambda rng: ([_definite(rng)], {}),
    doc="The lower triangular L with L @ L.mT = x, of which the lower triangle is read.",
)


def _eigh_gradient(g: Any, w: Tensor, v: Tensor) -> Tensor:
    """V (diag(Gw) + F o (V^T Gv)) V^T, with F[i, j] = 1 / (w[j] - w[i])."""
    _real_only("eigh", v)
    inner = _diagonal(g[0]) + _differences(w) * (v.mT @ g[1])
    found = v @ inner @ v.mT
    return _lower_only((found + found.mT) / 2)


eigh_: Opaque = opaque(
    "eigh",
    numpy=lambda x: tuple(np.linalg.eigh(x)),
    types=lambda x: (TensorType(_real_dtype(x.dtype), x.shape[:-1]), x),
    vjp=lambda g, x: (_eigh_gradient(g, *eigh_(x)),),
    sample=lambda rng: ([_definite(rng)], {}),
    doc="Eigenvalues in ascending order and eigenvectors; reads the lower triangle.",
)

eig_ = opaque(
    "eig",
    numpy=lambda x: tuple(part.astype(_complex_dtype(x.dtype)) for part in np.linalg.eig(x)),
    types=lambda x: (
        TensorType(_complex_dtype(x.dtype), x.shape[:-1]),
        TensorType(_complex_dtype(x.dtype), x.shape),
    ),
    sample=lambda rng: ([_matrices(rng)], {}),
    doc="Eigenvalues and eigenvectors, complex.",
)


def _complex_dtype(dtype: DType) -> DType:
    return dtype if dtype.kind == "c" else np.dtype(f"c{dtype.itemsize * 2}")


def _svd_types(x: TensorType, *, full_matrices: bool) -> tuple[TensorType, ...]:
    *batch, m, n = x.shape
    k = min(m, n)
    return (
        TensorType(x.dtype, (*batch, m, m if full_matrices else k)),
        TensorType(_real_dtype(x.dtype), (*batch, k)),
        TensorType(x.dtype, (*batch, n if full_matrices else k, n)),
    )


def _svd_gradient(g: Any, x: Tensor, full_matrices: bool) -> Tensor:
    """U ((F o U^T Gu + its transpose) S + S (F o V^T Gv + its transpose) + diag(Gs)) V^T, and what
    leaves the spaces of U and V, with F[i, j] = 1 / (s[j]**2 - s[i]**2)."""
    _real_only("svd", x)
    if full_matrices and x.shape[-1] != x.shape[-2]:
        raise GradientError(
            f"svd: no gradient of full matrices, got {x.type}; full_matrices=False."
        )
    u, s, vh = svd_(x, full_matrices=full_matrices)
    gu, gs, gv = g[0], g[1], g[2].mT
    v, f = vh.mT, _differences(s * s)
    left, right = f * (u.mT @ gu), f * (v.mT @ gv)
    rows, columns = expand_dims(s, -1), expand_dims(s, -2)
    inner = (left + left.mT) * columns + rows * (right + right.mT) + _diagonal(gs)
    outside = (gu - u @ (u.mT @ gu)) / columns @ vh
    across = u @ ((gv - v @ (v.mT @ gv)) / columns).mT
    found: Tensor = u @ inner @ vh + outside + across
    return found


svd_ = opaque(
    "svd",
    numpy=lambda x, *, full_matrices: tuple(np.linalg.svd(x, full_matrices=full_matrices)),
    types=_svd_types,
    vjp=lambda g, x, *, full_matrices: (_svd_gradient(g, x, full_matrices),),
    sample=lambda rng: ([_matrices(rng)[..., :2]], {"full_matrices": False}),
    doc="U, S and V^H with x = (U * S) @ V^H.",
)


def _qr_types(x: TensorType, *, mode: str) -> tuple[TensorType, ...]:
    *batch, m, n = x.shape
    k = m if mode == "complete" else min(m, n)
    return TensorType(x.dtype, (*batch, m, k)), TensorType(x.dtype, (*batch, k, n))


def _qr_gradient(g: Any, x: Tensor, mode: str) -> Tensor:
    """(Gq + Q sym(M)) R^-T with M = R Gr^T - Gq^T Q, and sym its lower triangle made symmetric."""
    _real_only("qr", x)
    m, n = x.shape[-2:]
    if m < n or (mode == "complete" and m != n):
        raise GradientError(f"qr: no gradient of mode {mode!r} for more columns or rows: {x.type}.")
    q, r = qr_(x, mode=mode)
    inner = r @ g[1].mT - g[0].mT @ q
    symmetric = tril(inner) + tril(inner, k=-1).mT
    return solve_(r, (g[0] + q @ symmetric).mT).mT  # type: ignore[no-any-return]


qr_ = opaque(
    "qr",
    numpy=lambda x, *, mode: tuple(np.linalg.qr(x, mode=mode)),
    types=_qr_types,
    vjp=lambda g, x, *, mode: (_qr_gradient(g, x, mode),),
    sample=lambda rng: ([_matrices(rng)[..., :2]], {"mode": "reduced"}),
    doc="Q with orthonormal columns and upper triangular R, with x = Q @ R.",
)


def _pinv_gradient(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Golub and Pereyra, 1973: the derivative of the pseudoinverse at constant rank."""
    _real_only("pinv", x)
    rows = eye(x.shape[-2], dtype=x.dtype) - x @ y
    columns = eye(x.shape[-1], dtype=x.dtype) - y @ x
    inner = -(y @ g.mT @ y) + y @ y.mT @ g @ rows + columns @ g @ y.mT @ y
    return inner.mT


pinv_: Opaque = opaque(
    "pinv",
    numpy=lambda x, *, rtol: np.linalg.pinv(x, rtol=rtol),
    types=lambda x, *, rtol: TensorType(x.dtype, (*x.shape[:-2], x.shape[-1], x.shape[-2])),
    vjp=lambda g, x, y, *, rtol: (_pinv_gradient(g, x, y),),
    sample=lambda rng: ([_matrices(rng)[..., :2]], {"rtol": None}),
    doc="The Moore-Penrose pseudoinverse.",
)


def as_matrices(name: str, x: ArrayLike, *, square: bool = True) -> Tensor:
    """x as floats, with the last two axes a matrix; ShapeError or DTypeError if it is none."""
    x = asarray(x)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ShapeError(f"{name}: expected {'square ' * square}matrices, got {x.type}.")
    dtype = FLOATING.common(name, x.dtype)
    if dtype == DTYPES["float16"]:
        raise DTypeError(f"{name}: expected float32, float64 or complex, got {x.type}.")
    return astype(x, dtype)
