"""Dense: every output is a weighted sum of every input."""

from __future__ import annotations

from typing import Any

from ..operators import ArrayLike
from ..ops.shape import reshape
from ..tensor import Tensor
from ..variable import Variable
from .activation import Activation, get_activation
from .initializers import Initializer, Shape
from .layer import Layer
from .regularizers import Regularizer


class Dense(Layer):
    """activation(x @ kernel + bias), over the last axis of x.

    Args:
        units: the extent of the last axis of the result.
        activation: a function, or the name of one in fj.nn; None for none.
        use_bias: whether there is a bias.
        kernel_initializer: a name or a function, see `fj.layers.INITIALIZERS`.
        bias_initializer: the same for the bias.
        kernel_regularizer: a penalty, such as `fj.layers.L2(1e-4)`.
        bias_regularizer: the same for the bias.
        dtype: of the variables, which inputs are cast to.
    Shapes:
        [..., features] -> [..., units]; kernel [features, units], bias [units].
    Raises:
        ShapeError: when called with other features than at first.
    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.Dense(units=10)
        >>> layer(fj.zeros([1, 1, 784])).shape
        (1, 1, 10)
    """

    kernel: Variable
    bias: Variable

    def __init__(
        self,
        units: int,
        activation: Activation | str | None = None,
        *,
        use_bias: bool = True,
        kernel_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        kernel_regularizer: Regularizer | None = None,
        bias_regularizer: Regularizer | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self.units = units
        self.activation = get_activation(activation)
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer

    def make_variables(self, shape: Shape, *_: Any) -> None:
        features = self.features_of(shape)
        self.add_variable(
            "kernel",
            (features, self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            self.add_variable(
                "bias", (self.units,), self.bias_initializer, regularizer=self.bias_regularizer
            )

    def call(self, x: ArrayLike) -> Tensor:
        x = self.as_input(x)
        self.check_features(x, self.kernel.shape[0])
        # One product of two matrices: that of a stack would be one for each, in gradients as well.
        rows = reshape(x, (-1, x.shape[-1])) if x.ndim > 2 else x
        y = rows @ self.kernel
        if self.use_bias:
            y = y + self.bias
        if self.activation is not None:
            y = self.activation(y)
        return reshape(y, (*x.shape[:-1], self.units)) if x.ndim > 2 else y
