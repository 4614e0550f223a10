"""LayerNorm and BatchNorm: inputs of mean 0 and variance 1, times a scale, plus a bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..errors import ShapeError
from ..operators import ArrayLike
from ..ops.arithmetic import sqrt
from ..ops.cast import stop_gradient
from ..tensor import Tensor
from ..variable import Variable
from .initializers import Shape
from .layer import Layer


class LayerNorm(Layer):
    """Each example's features normalised by themselves (Ba, Kiros and Hinton, 2016).

    Args:
        axis: the axes of the features, which mean and variance are taken over.
        epsilon: is added to the variance.
        use_scale: whether there is a scale, which is 1 at first.
        use_bias: whether there is a bias, which is 0 at first.
        dtype: of the variables, which inputs are cast to.
    Shapes:
        any; scale and bias have the extents along `axis`.
    Raises:
        ShapeError: when called with other features than at first.
    Example:
        >>> import fusejit as fj
        >>> fj.layers.LayerNorm(epsilon=0.0)([[1.0, 3.0], [10.0, 30.0]]).tolist()
        [[-1.0, 1.0], [-1.0, 1.0]]
    """

    scale: Variable
    bias: Variable

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        *,
        epsilon: float = 1e-5,
        use_scale: bool = True,
        use_bias: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self.axis = axis if isinstance(axis, int) else tuple(axis)
        self.epsilon = epsilon
        self.use_scale = use_scale
        self.use_bias = use_bias

    def make_variables(self, shape: Shape, *_: Any) -> None:
        self.features_of(shape)
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        kept = {axis % len(shape) for axis in axes}
        first = min(kept)
        # Extents of 1 between the features, so that scale and bias broadcast over the rest.
        features = [n if i in kept else 1 for i, n in enumerate(shape)][first:]
        if self.use_scale:
            self.add_variable("scale", features, "ones")
        if self.use_bias:
            self.add_variable("bias", features, "zeros")

    def call(self, x: ArrayLike) -> Tensor:
        x = self.as_input(x)
        scale = self.scale if self.use_scale else None
        bias = self.bias if self.use_bias else None
        known = scale if scale is not None else bias
        if known is not None:
            self._check(x, known.shape)
        return nn.layer_norm(x, scale, bias, self.axis, epsilon=self.epsilon)

    def _check(self, x: Tensor, features: Shape) -> None:
        found = x.shape[x.ndim - len(features) :]
        if len(found) != len(features) or any(
            n not in (1, m) for n, m in zip(features, found, strict=True)
        ):
            raise ShapeError(
                f"{self._label}: expected an input whose last axes are "
                f"{[n if n != 1 else 'any' for n in features]}, which the variables were made for, "
                f"got {x.type}; reshape it, or make a new layer."
            )


class BatchNorm(Layer):
    """Each feature normalised over the batch (Ioffe and Szegedy, 2015).

    In training by the mean and variance of the batch, of which moving averages are kept; otherwise
    by these averages. That of the variance has Bessel's correction, as everyone's has.

    Args:
        momentum: how much of the moving averages a batch leaves as it was.
        epsilon: is added to the variance.
        use_scale: whether there is a scale, which is 1 at first.
        use_bias: whether there is a bias, which is 0 at first.
        dtype: of the variables, which inputs are cast to.
    Shapes:
        [..., features] -> the same; the mean is over all axes but the last.
    Raises:
        ShapeError: when called with other features than at first.
    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.BatchNorm(epsilon=0.0)
        >>> layer([[1.0], [3.0]], training=True).tolist()
        [[-1.0], [1.0]]
        >>> layer.moving_mean.tolist()
        [0.20000000298023224]
    """

    scale: Variable
    bias: Variable
    moving_mean: Variable
    moving_variance: Variable

    def __init__(
        self,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        use_scale: bool = True,
        use_bias: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self.momentum = momentum
        self.epsilon = epsilon
        self.use_scale = use_scale
        self.use_bias = use_bias

    def make_variables(self, shape: Shape, *_: Any) -> None:
        features = (self.features_of(shape),)
        if self.use_scale:
            self.add_variable("scale", features, "ones")
        if self.use_bias:
            self.add_variable("bias", features, "zeros")
        self.add_variable("moving_mean", features, "zeros", trainable=False)
        self.add_variable("moving_variance", features, "ones", trainable=False)

    def call(self, x: ArrayLike, training: bool = False) -> Tensor:
        x = self.as_input(x)
        self.check_features(x, self.moving_mean.shape[0])
        if training:
            mean, variance = nn.moments(x, tuple(range(x.ndim - 1)))
            count = x.size // max(x.shape[-1], 1)
            self._follow(self.moving_mean, mean)
            self._follow(self.moving_variance, variance * (count / max(count - 1, 1)))
        else:
            mean, variance = self.moving_mean.read(), self.moving_variance.read()
        y = (x - mean) / sqrt(variance + self.epsilon)
        if self.use_scale:
            y = y * self.scale
        return y + self.bias if self.use_bias else y

    def _follow(self, average: Variable, found: Tensor) -> None:
        step = (1.0 - self.momentum) * (stop_gradient(found).reshape(average.shape) - average)
        average.assign_add(step)
