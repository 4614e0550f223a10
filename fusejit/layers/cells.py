"""Recurrent cells: one step in time, from an input and a state to an output and the next state.

A step is cut in two: `project` treats an input without the state, so that a layer over time does it
for all times in one product, and `step` does the rest. Calling a cell does both.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from .. import nn
from ..errors import ShapeError
from ..operators import ArrayLike
from ..ops.creation import zeros
from ..ops.join import concat, split
from ..ops.matmul import matmul
from ..ops.shape import reshape
from ..ops.transcendental import sigmoid
from ..ops.trigonometric import tanh
from ..tensor import Tensor, asarray
from ..variable import Variable
from .activation import Activation, get_activation
from .initializers import Constant, Initializer, Shape, get_initializer
from .layer import Layer

State: TypeAlias = Any
"""What a cell remembers: a Tensor [batch, units], or a tuple of them."""


class Cell(Layer):
    """The base of cells: subclasses define `step`, and `project` if a part of it is about the input
    alone.

    A cell of your own needs `units`, `make_variables` and `step`; `initial_state` if its state is
    not one Tensor [batch, units].

    Example:
        >>> import fusejit as fj
        >>> class Decay(fj.layers.Cell):
        ...     units = 3
        ...
        ...     def step(self, x, state):
        ...         state = 0.5 * state + x
        ...         return state, state
        >>> fj.layers.RNN(Decay())(fj.ones((1, 2, 3)))[0, :, 0].tolist()
        [1.0, 1.5]
    """

    units: int

    def project(self, x: Tensor) -> Tensor:
        """What is computed from inputs [..., features] alone; for subclasses."""
        return x

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """(output, next state) from a projected input [batch, ...]; for subclasses."""
        raise NotImplementedError

    def initial_state(self, batch: int) -> State:
        """The state before the first step: zeros."""
        return zeros((batch, self.units), dtype=self.variable_dtype)

    def call(self, x: ArrayLike, state: State | None = None) -> tuple[Tensor, State]:
        """One step.

        Args:
            x: [batch, features].
            state: as the last step returned it; default `initial_state`.
        Returns:
            (output, state).
        """
        x = self.as_input(x, 2)
        if state is None:
            state = self.initial_state(x.shape[0])
        return self.step(self.project(x), state)


class _MatrixCell(Cell):
    """A cell with a matrix for the input, one for the state and a bias, for `_gates` gates."""

    _gates = 1
    kernel: Variable
    recurrent_kernel: Variable
    bias: Variable

    def __init__(
        self,
        units: int,
        *,
        kernel_initializer: str | Initializer = "glorot_uniform",
        recurrent_initializer: str | Initializer = "orthogonal",
        bias_initializer: str | Initializer = "zeros",
        dtype: object = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self.units = units
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer

    def make_variables(self, shape: Shape, *_: Any) -> None:
        width = self._gates * self.units
        self.add_variable("kernel", (self.features_of(shape), width), self.kernel_initializer)
        # Each gate has a matrix of its own, which is to be orthogonal.
        self.add_variable("recurrent_kernel", (self.units, width), self._recurrent_values)
        self.add_variable("bias", (width,), self.bias_initializer)

    def _recurrent_values(self, shape: Shape, dtype: object) -> Tensor:
        make = get_initializer(self.recurrent_initializer)
        square = (self.units, self.units)
        return concat([make(square, dtype) for _ in range(self._gates)], axis=1)

    def project(self, x: Tensor) -> Tensor:
        self.check_features(x, self.kernel.shape[0])
        rows = reshape(x, (-1, x.shape[-1]))  # one product, whatever the leading axes
        found = matmul(rows, self.kernel) + self.bias
        return reshape(found, (*x.shape[:-1], found.shape[-1]))

    def check_state(self, batch: int, *states: ArrayLike) -> tuple[Tensor, ...]:
        """The parts of a state as Tensors; ShapeError if one is not [batch, units]."""
        found = tuple(self.as_input(state) for state in states)
        for state in found:
            if state.shape != (batch, self.units):
                raise ShapeError(
                    f"{self._label}: expected states [{batch},{self.units}], got {state.type}; "
                    "initial_state(batch) makes one."
                )
        return found


class RNNCell(_MatrixCell):
    """h' = activation(x @ kernel + h @ recurrent_kernel + bias); the output is h' (Elman, 1990).

    Args:
        units: the extent of the state.
        activation: a function, or the name of one in fj.nn.
        kernel_initializer: a name or a function, see `fj.layers.INITIALIZERS`.
        recurrent_initializer: of the square matrix that the state is multiplied with.
        bias_initializer: of the bias.
        dtype: of the variables, which inputs are cast to.
    Shapes:
        x [batch, features], state [batch, units] -> (output [batch, units], state).
    Example:
        >>> import fusejit as fj
        >>> output, state = fj.layers.RNNCell(8)(fj.zeros((2, 4)))
        >>> output.shape, state.shape
        ((2, 8), (2, 8))
    """

    def __init__(self, units: int, activation: Activation | str = "tanh", **options: Any) -> None:
        super().__init__(units, **options)
        self.activation = get_activation(activation) or asarray

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = self.check_state(x.shape[0], state)
        h = self.activation(x + h @ self.recurrent_kernel)
        return h, h


class LSTMCell(_MatrixCell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).

    i, f, g, o = split(x @ kernel + h @ recurrent_kernel + bias)
    c' = sigmoid(f) * c + sigmoid(i) * tanh(g);  h' = sigmoid(o) * tanh(c')

    Arguments as of `RNNCell`, without an activation; and

    Args:
        forget_bias: what the bias of f is at first: 1 keeps the memory open until training has
            learned when to close it (Jozefowicz et al., 2015).
    Shapes:
        x [batch, features], state (h, c), both [batch, units] -> (h', (h', c')).
    Example:
        >>> import fusejit as fj
        >>> output, (h, c) = fj.layers.LSTMCell(8)(fj.zeros((2, 4)))
        >>> output.shape, c.shape
        ((2, 8), (2, 8))
    """

    _gates = 4

    def __init__(self, units: int, *, forget_bias: float = 1.0, **options: Any) -> None:
        super().__init__(units, **options)
        self.forget_bias = forget_bias

    def make_variables(self, shape: Shape, *_: Any) -> None:
        super().make_variables(shape)
        of_each = [0.0, self.forget_bias, 0.0, 0.0]
        self.bias.assign_add(concat([Constant(b)((self.units,), self.bias.dtype) for b in of_each]))

    def initial_state(self, batch: int) -> State:
        """(h, c): zeros."""
        none = super().initial_state(batch)
        return none, none

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = self.check_state(x.shape[0], *state)
        return self._remember(x + h @ self.recurrent_kernel, c)

    def _remember(self, gates: Tensor, c: Tensor) -> tuple[Tensor, State]:
        write, keep, new, show = split(gates, 4, axis=1)
        c = sigmoid(keep) * c + sigmoid(write) * tanh(new)
        h = sigmoid(show) * tanh(self._shown(c))
        return h, (h, c)

    def _shown(self, c: Tensor) -> Tensor:
        return c


class LayerNormLSTMCell(LSTMCell):
    """An LSTM whose sums are normalised (Ba, Kiros and Hinton, 2016, equations 20 to 22).

    i, f, g, o = split(norm(x @ kernel) + norm(h @ recurrent_kernel) + bias)
    c' as of `LSTMCell`;  h' = sigmoid(o) * tanh(norm(c')), where each norm has its own scale and
    the last a bias too.

    Arguments as of `LSTMCell`; and

    Args:
        epsilon: is added to variances.
    Shapes:
        as of `LSTMCell`.
    Example:
        >>> import fusejit as fj
        >>> output, (h, c) = fj.layers.LayerNormLSTMCell(8)(fj.zeros((2, 4)))
        >>> output.shape
        (2, 8)
    """

    input_scale: Variable
    recurrent_scale: Variable
    memory_scale: Variable
    memory_bias: Variable

    def __init__(self, units: int, *, epsilon: float = 1e-5, **options: Any) -> None:
        super().__init__(units, **options)
        self.epsilon = epsilon

    def make_variables(self, shape: Shape, *_: Any) -> None:
        super().make_variables(shape)
        self.add_variable("input_scale", (4 * self.units,), "ones")
        self.add_variable("recurrent_scale", (4 * self.units,), "ones")
        self.add_variable("memory_scale", (self.units,), "ones")
        self.add_variable("memory_bias", (self.units,), "zeros")

    def project(self, x: Tensor) -> Tensor:
        self.check_features(x, self.kernel.shape[0])
        rows = reshape(x, (-1, x.shape[-1]))
        found = nn.layer_norm(
            matmul(rows, self.kernel), self.input_scale, self.bias, epsilon=self.epsilon
        )
        return reshape(found, (*x.shape[:-1], found.shape[-1]))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = self.check_state(x.shape[0], *state)
        recurrent = h @ self.recurrent_kernel
        gates = x + nn.layer_norm(recurrent, self.recurrent_scale, epsilon=self.epsilon)
        return self._remember(gates, c)

    def _shown(self, c: Tensor) -> Tensor:
        return nn.layer_norm(c, self.memory_scale, self.memory_bias, epsilon=self.epsilon)


class GRUCell(_MatrixCell):
    """A gated recurrent unit (Cho et al., 2014), reset after the product, as cuDNN has it.

    r, z, n = split(x @ kernel + bias);  p, q, s = split(h @ recurrent_kernel)
    r = sigmoid(r + p);  z = sigmoid(z + q);  n = tanh(n + r * (s + recurrent_bias))
    h' = (1 - z) * n + z * h

    Arguments as of `RNNCell`, without an activation.

    Shapes:
        x [batch, features], state [batch, units] -> (output [batch, units], state).
    Example:
        >>> import fusejit as fj
        >>> output, state = fj.layers.GRUCell(8)(fj.zeros((2, 4)))
        >>> output.shape
        (2, 8)
    """

    _gates = 3
    recurrent_bias: Variable

    def make_variables(self, shape: Shape, *_: Any) -> None:
        super().make_variables(shape)
        self.add_variable("recurrent_bias", (self.units,), self.bias_initializer)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = self.check_state(x.shape[0], state)
        reset, update, new = split(x, 3, axis=1)
        by_h = split(h @ self.recurrent_kernel, 3, axis=1)
        reset, update = sigmoid(reset + by_h[0]), sigmoid(update + by_h[1])
        new = tanh(new + reset * (by_h[2] + self.recurrent_bias))
        h = (1.0 - update) * new + update * h
        return h, h
