"""Discrete Fourier transforms of one axis, through NumPy.

The matrix of the transform is symmetric, so the gradient of a transform is the same transform.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import TensorType
from ..op import Opaque, opaque
from ..scalar import DType
from ..tensor import Tensor
from .cast import cast_gradient, real
from .join import pad


def _complex(dtype: DType) -> DType:
    return dtype if dtype.kind == "c" else np.dtype(f"c{2 * dtype.itemsize}")


def _sample(rng: np.random.Generator) -> Any:
    return [rng.normal(size=(2, 5))], {"axis": 1, "norm": "ortho"}


fft_: Opaque = opaque(
    "fft",
    numpy=lambda x, *, axis, norm: np.fft.fft(x, axis=axis, norm=norm),
    types=lambda x, *, axis, norm: TensorType(_complex(x.dtype), x.shape),
    vjp=lambda g, x_type, *, axis, norm: (
        cast_gradient(fft_(g, axis=axis, norm=norm), x_type.dtype),
    ),
    sample=_sample,
    doc="The discrete Fourier transform of an array along an axis.",
)

ifft_: Opaque = opaque(
    "ifft",
    numpy=lambda x, *, axis, norm: np.fft.ifft(x, axis=axis, norm=norm),
    types=lambda x, *, axis, norm: TensorType(_complex(x.dtype), x.shape),
    vjp=lambda g, x_type, *, axis, norm: (
        cast_gradient(ifft_(g, axis=axis, norm=norm), x_type.dtype),
    ),
    sample=_sample,
    doc="The inverse of the discrete Fourier transform of an array along an axis.",
)


def _half(x: TensorType, *, axis: int, norm: str) -> TensorType:
    shape = (*x.shape[:axis], x.shape[axis] // 2 + 1, *x.shape[axis + 1 :])
    return TensorType(_complex(x.dtype), shape)


def _half_gradient(g: Tensor, extent: int, axis: int, norm: str) -> Tensor:
    """The frequencies that the half leaves out have no gradient: zeros in their place."""
    after = [(0, extent - n if i == axis else 0) for i, n in enumerate(g.shape)]
    return real(fft_(pad(g, after), axis=axis, norm=norm))


rfft_ = opaque(
    "rfft",
    numpy=lambda x, *, axis, norm: np.fft.rfft(x, axis=axis, norm=norm),
    types=_half,
    vjp=lambda g, x_type, *, axis, norm: (_half_gradient(g, x_type.shape[axis], axis, norm),),
    sample=lambda rng: ([rng.normal(size=(2, 5))], {"axis": 1, "norm": "backward"}),
    doc="The non-negative frequencies of the Fourier transform of a real array along an axis.",
)
