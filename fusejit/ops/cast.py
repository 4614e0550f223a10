"""Changes of dtype, and the real and imaginary parts of complex arrays."""

from __future__ import annotations

import numpy as np

from ..device import beside
from ..dtypes import as_dtype
from ..errors import DTypeError
from ..numerics.evaluate import evaluate
from ..op import COMPLEX, COMPLEX_PART, SAME, Array, elementwise, view
from ..operators import ArrayLike
from ..scalar import F32, DType, cast, trace
from ..tensor import Operators, Tensor, asarray
from .shape import broadcast_to


def _cast_array(x: Array, *, dtype: DType) -> Array:
    """NumPy's astype; a float out of an integer's range, undefined in C, has x86's result."""
    if x.dtype.kind != "f" or dtype.kind not in "iu":
        return x.astype(dtype)
    x = x.astype(F32) if x.dtype.itemsize == 2 else x
    return evaluate(trace(cast, [x.dtype], dtype=dtype), x)[0]


astype_ = elementwise(
    "astype",
    numpy=_cast_array,
    scalar=lambda x, *, dtype: cast(x, dtype),
    vjp=lambda g, x_type: (cast_gradient(g, x_type.dtype),),
    dtype=SAME,
    doc="x as another dtype.",
)

# Only complex arrays get here, and only NumPy runs those: there is no scalar program.
real_ = elementwise(
    "real",
    numpy=lambda x: x.real.copy(),
    scalar=None,
    vjp=lambda g, x_type: (astype(g, x_type.dtype),),
    dtype=COMPLEX_PART,
    doc="The real part.",
)

imag_ = elementwise(
    "imag",
    numpy=lambda x: x.imag.copy(),
    scalar=None,
    vjp=lambda g: (g * -1j,),
    dtype=COMPLEX_PART,
    doc="The imaginary part.",
)

conj_ = elementwise(
    "conj",
    numpy=np.conjugate,
    scalar=None,
    inputs=("x",),
    vjp=lambda g: (conj(g),),
    dtype=COMPLEX,
    doc="The complex conjugate.",
)

stop_gradient = view(
    "stop_gradient",
    numpy=lambda x: x[...],
    shape=lambda given: given,
    index=lambda place, given: place,
    vjp=lambda g: (None,),
    doc="x itself, as a constant for differentiation.",
)


def cast_gradient(g: Tensor, dtype: DType) -> Tensor:
    """A gradient as the dtype of what it is the gradient of."""
    return astype(real(g) if g.dtype.kind == "c" and dtype.kind != "c" else g, dtype)


def astype(x: ArrayLike, dtype: object, /, *, copy: bool = True) -> Tensor:
    """x as another dtype; floats become integers by truncation.

    Args:
        x: an array.
        dtype: a dtype or its name.
        copy: accepted for the array API standard; Tensors are immutable and need no copies.
    Raises:
        DTypeError: no such dtype, or a complex array would lose its imaginary part.
    Example:
        >>> import fusejit as fj
        >>> fj.astype([1.9, -1.9], "int32").tolist()
        [1, -1]
    """
    x, wanted = asarray(x), as_dtype(dtype)
    if x.dtype == wanted:
        return x
    if x.dtype.kind == "c" and wanted.kind in "iuf":
        raise DTypeError(
            f"astype: {x.type} would lose its imaginary part as {wanted.name}; "
            "use real(x) or abs(x)."
        )
    return astype_(x, dtype=wanted)


def real(x: ArrayLike, /) -> Tensor:
    """The real part, a float array; real arrays are returned as they are."""
    x = asarray(x)
    return real_(x) if x.dtype.kind == "c" else x


def imag(x: ArrayLike, /) -> Tensor:
    """The imaginary part, a float array; zeros for real arrays."""
    x = asarray(x)
    if x.dtype.kind == "c":
        return imag_(x)
    with beside(x):
        return broadcast_to(astype(0, x.dtype), x.shape)


def conj(x: ArrayLike, /) -> Tensor:
    """The complex conjugate; real arrays are returned as they are."""
    x = asarray(x)
    return conj_(x) if x.dtype.kind == "c" else x


Operators.install("astype", astype)
Operators.install("conj", conj)
Operators.install("real", property(real))
Operators.install("imag", property(imag))
