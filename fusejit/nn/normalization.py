"""Numbers shifted and scaled to mean 0 and variance 1."""

from __future__ import annotations

from ..operators import ArrayLike
from ..ops.arithmetic import sqrt, square
from ..ops.reduce import Axis, mean
from ..tensor import Tensor, asarray


def normalize(x: ArrayLike, /, axis: Axis = -1, *, epsilon: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon), both over `axis`.

    Example:
        >>> import fusejit as fj
        >>> fj.nn.normalize([1.0, 3.0], epsilon=0.0).tolist()
        [-1.0, 1.0]
    """
    x = asarray(x)
    centered = x - mean(x, axis, keepdims=True)
    return centered / sqrt(mean(square(centered), axis, keepdims=True) + epsilon)


def layer_norm(
    x: ArrayLike,
    scale: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    /,
    axis: Axis = -1,
    *,
    epsilon: float = 1e-5,
) -> Tensor:
    """`normalize(x) * scale + bias`, for each example by itself (Ba, Kiros and Hinton, 2016).

    Example:
        >>> import fusejit as fj
        >>> fj.nn.layer_norm([1.0, 3.0], [2.0, 2.0], [1.0, 1.0], epsilon=0.0).tolist()
        [-1.0, 3.0]
    """
    y = normalize(x, axis, epsilon=epsilon)
    if scale is not None:
        y = y * scale
    return y if bias is None else y + bias


def moments(x: ArrayLike, /, axis: Axis = None) -> tuple[Tensor, Tensor]:
    """(mean, variance) over `axis`, whose axes are kept with extent 1.

    Example:
        >>> import fusejit as fj
        >>> [m.tolist() for m in fj.nn.moments([1.0, 3.0])]
        [[2.0], [1.0]]
    """
    x = asarray(x)
    middle = mean(x, axis, keepdims=True)
    return middle, mean(square(x - middle), axis, keepdims=True)
