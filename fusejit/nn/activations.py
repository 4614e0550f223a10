"""Activations, softmax and dropout."""

from __future__ import annotations

import math

from ..errors import ShapeError
from ..operators import ArrayLike
from ..ops.arithmetic import abs_
from ..ops.cast import stop_gradient
from ..ops.choose import where
from ..ops.reduce import Axis
from ..ops.reduce import max as _max
from ..ops.reduce import sum as _sum
from ..ops.shape import normalize_axes, squeeze
from ..ops.transcendental import erf, exp, expm1, log, logaddexp
from ..ops.transcendental import sigmoid as sigmoid
from ..ops.trigonometric import tanh as tanh
from ..random import uniform
from ..tensor import Tensor, asarray


def relu(x: ArrayLike, /) -> Tensor:
    """x where it is positive, else 0, where the gradient is 0 as well; NaNs stay."""
    x = asarray(x)
    return where(x <= 0, 0, x)


def leaky_relu(x: ArrayLike, /, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, else `negative_slope` * x."""
    x = asarray(x)
    return where(x > 0, x, x * negative_slope)


def elu(x: ArrayLike, /, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else `alpha` * (exp(x) - 1)."""
    x = asarray(x)
    return where(x > 0, x, alpha * expm1(where(x > 0, 0, x)))


def softplus(x: ArrayLike, /) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    return logaddexp(x, 0)


def silu(x: ArrayLike, /) -> Tensor:
    """x * sigmoid(x)."""
    x = asarray(x)
    return x * sigmoid(x)


def gelu(x: ArrayLike, /, approximate: bool = False) -> Tensor:
    """x times the normal distribution function at x; by tanh if `approximate`."""
    x = asarray(x)
    if approximate:
        return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def _stable_peak(x: Tensor, axis: Axis) -> Tensor:
    """The maximum, to subtract before exp; 0 where it is infinite. A constant for gradients."""
    peak = _max(stop_gradient(x), axis, keepdims=True)
    return where(abs_(peak) == math.inf, 0, peak)


def softmax(x: ArrayLike, /, axis: int | tuple[int, ...] = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`, without overflow.

    Example:
        >>> import fusejit as fj
        >>> fj.nn.softmax([0.0, 0.0]).tolist()
        [0.5, 0.5]
    """
    x = asarray(x)
    powers = exp(x - _stable_peak(x, axis))
    return powers / _sum(powers, axis, keepdims=True)


def log_softmax(x: ArrayLike, /, axis: int | tuple[int, ...] = -1) -> Tensor:
    """log(softmax(x)) along `axis`, accurate where softmax is tiny."""
    x = asarray(x)
    shifted = x - _stable_peak(x, axis)
    return shifted - log(_sum(exp(shifted), axis, keepdims=True))


def logsumexp(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) along `axis` (all axes if None), without overflow."""
    x = asarray(x)
    peak = _stable_peak(x, axis)
    total = log(_sum(exp(x - peak), axis, keepdims=True)) + peak
    return total if keepdims else squeeze(total, normalize_axes("logsumexp", axis, x.ndim))


def dropout(x: ArrayLike, rate: float, training: bool = True) -> Tensor:
    """Each element 0 with probability `rate`, else x / (1 - rate); x itself if not `training`."""
    x = asarray(x)
    if not 0.0 <= rate < 1.0:
        raise ShapeError(f"dropout: expected 0 <= rate < 1, got {rate}.")
    if not training or rate == 0.0:
        return x
    return where(uniform(x.shape) >= rate, x / (1 - rate), 0)
