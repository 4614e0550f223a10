"""Convolution and pooling layers; `fj.nn.convolution` says how they are computed."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from .. import nn
from ..errors import ShapeError
from ..nn.convolution import Padding, Sizes
from ..operators import ArrayLike
from ..ops.shape import reshape
from ..tensor import Tensor, asarray
from ..variable import Variable
from .activation import Activation, get_activation
from .initializers import Initializer, Shape
from .layer import Layer
from .regularizers import Regularizer


class _Convolution(Layer):
    """A convolution over `_rank` axes, which subclasses set."""

    _rank: ClassVar[int]
    kernel: Variable
    bias: Variable

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        *,
        strides: Sizes = 1,
        padding: Padding = "valid",
        dilations: Sizes = 1,
        groups: int = 1,
        activation: Activation | str | None = None,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        kernel_regularizer: Regularizer | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(dtype=dtype)
        if filters % groups:
            raise ShapeError(
                f"{self._label}: {filters} filters cannot be cut into {groups} equal groups."
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.dilations = dilations
        self.groups = groups
        self.activation = get_activation(activation)
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer

    def make_variables(self, shape: Shape, *_: Any) -> None:
        channels = self.features_of(shape)
        size = self.kernel_size
        window = (size,) * self._rank if isinstance(size, int) else tuple(size)
        if len(window) != self._rank:
            raise ShapeError(
                f"{self._label}: expected a kernel_size of {self._rank} numbers, got {size}."
            )
        if channels % self.groups:
            raise ShapeError(
                f"{self._label}: {channels} channels cannot be cut into {self.groups} equal groups."
            )
        self.add_variable(
            "kernel",
            (*window, channels // self.groups, self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            self.add_variable("bias", (self.filters,), self.bias_initializer)

    def call(self, x: ArrayLike) -> Tensor:
        x = self.as_input(x, self._rank + 2)
        self.check_features(x, self.kernel.shape[-2] * self.groups)
        y = nn.convolution(
            x,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            dilations=self.dilations,
            groups=self.groups,
        )
        if self.use_bias:
            y = y + self.bias
        return y if self.activation is None else self.activation(y)


class Conv1D(_Convolution):
    """activation(convolution over one axis + bias): for sequences.

    Args:
        filters: channels of the result.
        kernel_size: the extent of the window.
        strides: by how much windows are apart.
        padding: "valid", "same", "causal", or numbers; see `fj.nn.convolution`.
        dilations: by how much the places within a window are apart.
        groups: channels and filters in so many groups that do not see each other.
        activation: a function, or the name of one in fj.nn; None for none.
        use_bias: whether there is a bias.
        kernel_initializer: a name or a function, see `fj.layers.INITIALIZERS`.
        bias_initializer: the same for the bias.
        kernel_regularizer: a penalty, such as `fj.layers.L2(1e-4)`.
        dtype: of the variables, which inputs are cast to.
    Shapes:
        [batch, length, channels] -> [batch, places, filters];
        kernel [kernel_size, channels / groups, filters], bias [filters].
    Raises:
        ShapeError: when called with another rank, or other channels than at first.
    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.Conv1D(8, 3, padding="causal")
        >>> layer(fj.zeros((2, 10, 4))).shape
        (2, 10, 8)
    """

    _rank = 1


class Conv2D(_Convolution):
    """activation(convolution over two axes + bias): for images, whose channels are the last axis.

    Arguments as of `Conv1D`; sizes, strides and dilations are a number for both axes or two.

    Shapes:
        [batch, height, width, channels] -> [batch, rows, columns, filters];
        kernel [height, width, channels / groups, filters], bias [filters].
    Raises:
        ShapeError: when called with another rank, or other channels than at first.
    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.Conv2D(16, 3, padding="same", activation="relu")
        >>> layer(fj.zeros((2, 28, 28, 1))).shape
        (2, 28, 28, 16)
    """

    _rank = 2


class _Pool(Layer):
    def __init__(
        self, pool_size: Sizes = 2, *, strides: Sizes | None = None, padding: Padding = "valid"
    ) -> None:
        super().__init__()
        self.pool_size = pool_size
        self.strides = strides
        self.padding = padding

    def _seen(self, x: ArrayLike) -> Tensor:
        tensor = asarray(x)
        if tensor.ndim < 3 or tensor.dtype.kind != "f":
            raise ShapeError(
                f"{self._label}: expected floats [batch, *extents, channels], got {tensor.type}; "
                "reshape or cast it."
            )
        return tensor


class MaxPool(_Pool):
    """The greatest number in each window; for sequences and images alike.

    Args:
        pool_size: of the window; a number for all axes between batch and channels, or one for each.
        strides: by how much windows are apart; default `pool_size`.
        padding: see `fj.nn.convolution`; what is added never is the greatest.
    Shapes:
        [batch, *extents, channels] -> [batch, *places, channels].
    Example:
        >>> import fusejit as fj
        >>> fj.layers.MaxPool(2)(fj.zeros((2, 28, 28, 16))).shape
        (2, 14, 14, 16)
    """

    def call(self, x: ArrayLike) -> Tensor:
        return nn.max_pool(
            self._seen(x), self.pool_size, strides=self.strides, padding=self.padding
        )


class AveragePool(_Pool):
    """The mean of each window, in which padding does not count; arguments as of `MaxPool`.

    Example:
        >>> import fusejit as fj
        >>> fj.layers.AveragePool((2, 4))(fj.zeros((2, 28, 28, 16))).shape
        (2, 14, 7, 16)
    """

    def call(self, x: ArrayLike) -> Tensor:
        return nn.average_pool(
            self._seen(x), self.pool_size, strides=self.strides, padding=self.padding
        )


class Flatten(Layer):
    """All axes but the first in one.

    Example:
        >>> import fusejit as fj
        >>> fj.layers.Flatten()(fj.zeros((2, 7, 7, 16))).shape
        (2, 784)
    """

    def call(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        if not x.ndim:
            raise ShapeError(f"{self._label}: expected a batch, got {x.type}.")
        return reshape(x, (x.shape[0], math.prod(x.shape[1:])))
