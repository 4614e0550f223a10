"""Recurrent layers: a cell over all times of a sequence, several such layers, both directions.

The loop over time is a Python loop. A decorated function records it written out, and its plan has
the same few kernels for 500 steps as for 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..errors import ShapeError
from ..operators import ArrayLike
from ..ops.choose import where
from ..ops.creation import arange, zeros_like
from ..ops.join import concat, stack
from ..ops.shape import expand_dims, moveaxis
from ..tensor import Tensor, asarray
from .cells import Cell, GRUCell, LSTMCell, State
from .initializers import Shape
from .network import Network


class RNN(Network):
    """Applies a cell at one time after the other.

    Args:
        cell: what is applied: a `Cell`.
        backward: another cell, which reads from the end to the beginning: the layer is
            bidirectional, and its outputs are those of both, side by side.
        return_sequences: whether the result is the outputs at all times, or the last one of each
            sequence (of `backward` that at the first time, which it comes to last).
        return_state: whether to return (outputs, state).
    Shapes:
        [batch, time, features] -> [batch, time, units] or [batch, units]; the state is that of the
        cell, or a pair of them if there is `backward`.
    Raises:
        ShapeError: the input, mask or lengths do not fit.
    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.RNN(fj.layers.GRUCell(8), return_state=True)
        >>> outputs, state = layer(fj.zeros((2, 5, 3)), lengths=[5, 2])
        >>> outputs.shape, state.shape
        ((2, 5, 8), (2, 8))
    """

    def __init__(
        self,
        cell: Cell,
        *,
        backward: Cell | None = None,
        return_sequences: bool = True,
        return_state: bool = False,
    ) -> None:
        super().__init__(dtype=cell.dtype)
        self.cell = cell
        self.backward = backward
        self.return_sequences = return_sequences
        self.return_state = return_state

    def make_variables(self, shape: Shape, *_: Any) -> None:
        for cell in (self.cell, self.backward):
            if cell is not None:
                cell.build((shape[0], shape[-1]))

    def initial_state(self, batch: int) -> State:
        """The state before the first step."""
        if self.backward is None:
            return self.cell.initial_state(batch)
        return self.cell.initial_state(batch), self.backward.initial_state(batch)

    def call(
        self,
        x: ArrayLike,
        state: State | None = None,
        *,
        mask: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
    ) -> Any:
        """Outputs, or (outputs, state) if `return_state`.

        Args:
            x: [batch, time, features].
            state: as returned by the last call; default zeros.
            mask: bool[batch, time]: at times that are False the state stays as it was, and outputs
                are 0.
            lengths: int[batch]: the same as a mask that is True before them.
        """
        x = self.as_input(x, 3)
        if state is None:
            state = self.initial_state(x.shape[0])
        seen = self._seen(x, mask, lengths)
        if self.backward is None:
            outputs, last, state = _run(self.cell, x, state, seen)
        else:
            ahead = _run(self.cell, x, state[0], seen)
            back = _run(self.backward, x, state[1], seen, reverse=True)
            outputs, last = (
                concat(pair, axis=-1) for pair in zip(ahead[:2], back[:2], strict=True)
            )
            state = (ahead[2], back[2])
        result = outputs if self.return_sequences else last
        return (result, state) if self.return_state else result

    def _seen(self, x: Tensor, mask: ArrayLike | None, lengths: ArrayLike | None) -> Tensor | None:
        """bool[time, batch, 1] of which steps count, or None for all."""
        batch, time = x.shape[:2]
        seen = None if mask is None else asarray(mask)
        if lengths is not None:
            ends = asarray(lengths)
            if ends.shape != (batch,) or ends.dtype.kind not in "iu":
                raise ShapeError(f"{self._label}: expected lengths i64[{batch}], got {ends.type}.")
            within = expand_dims(arange(time), 0) < expand_dims(ends, 1)
            seen = within if seen is None else seen & within
        if seen is None:
            return None
        if seen.shape != (batch, time) or seen.dtype.kind != "b":
            raise ShapeError(
                f"{self._label}: expected a mask bool[{batch},{time}], got {seen.type}; compare "
                "with what stands for padding, as in ids != 0."
            )
        return expand_dims(moveaxis(seen, 0, 1), 2)


def _run(
    cell: Cell, x: Tensor, state: State, seen: Tensor | None, *, reverse: bool = False
) -> tuple[Tensor, Tensor, State]:
    """(outputs [batch, time, units], output of the last step that counts, state after it)."""
    inputs = cell.project(moveaxis(x, 0, 1))  # time first: a step's part lies in one piece
    times = range(x.shape[1])
    if not times:
        raise ShapeError(f"{cell._label}: expected at least one step in time, got {x.type}.")
    outputs: list[Tensor] = []
    last: Tensor | None = None
    for t in reversed(times) if reverse else times:
        output, new = cell.step(inputs[t], state)
        if seen is None:
            state, last = new, output
        else:
            state = _chosen(seen[t], new, state)
            last = where(seen[t], output, zeros_like(output) if last is None else last)
            output = where(seen[t], output, 0)
        outputs.append(output)
    assert last is not None
    if reverse:
        outputs.reverse()
    return moveaxis(stack(outputs), 0, 1), last, state


def _chosen(seen: Tensor, new: State, old: State) -> State:
    """The new state where the step counts, part by part."""
    if isinstance(new, (tuple, list)):
        return type(new)(_chosen(seen, n, o) for n, o in zip(new, old, strict=True))
    return where(seen, new, old)


class _Stack(Network):
    """Recurrent layers on top of each other, of one kind of cell that subclasses make."""

    def __init__(
        self,
        units: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        return_sequences: bool = True,
        return_state: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(dtype=options.get("dtype"))
        self.units = units
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.levels = [
            RNN(
                self._cell(units, **options),
                backward=self._cell(units, **options) if bidirectional else None,
                return_sequences=return_sequences or level + 1 < num_layers,
                return_state=True,
            )
            for level in range(num_layers)
        ]

    def _cell(self, units: int, **options: Any) -> Cell:
        raise NotImplementedError

    def initial_state(self, batch: int) -> tuple[State, ...]:
        """The state before the first step: one for each level."""
        return tuple(level.initial_state(batch) for level in self.levels)

    def call(
        self,
        x: ArrayLike,
        state: Sequence[State] | None = None,
        *,
        mask: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        training: bool = False,
    ) -> Any:
        """As of `RNN`; `training` switches dropout on."""
        y: Any = self.as_input(x, 3)
        states = []
        for number, level in enumerate(self.levels):
            if number and training:
                y = nn.dropout(y, self.dropout)
            before = None if state is None else state[number]
            y, after = level(y, before, mask=mask, lengths=lengths)
            states.append(after)
        return (y, tuple(states)) if self.return_state else y


class LSTM(_Stack):
    """Layers of `LSTMCell` over time.

    Args:
        units: the extent of the state of each cell.
        num_layers: how many layers, each of which reads the outputs of the one below.
        bidirectional: whether each reads in both directions: outputs have 2 * units.
        dropout: rate at which outputs of all layers but the last are dropped in training.
        return_sequences: whether the result is the outputs at all times, or the last ones.
        return_state: whether to return (outputs, state); the state is a tuple of one a layer.
        options: those of the cell, such as `kernel_initializer` and `dtype`.
    Shapes:
        [batch, time, features] -> [batch, time, units] or [batch, units].
    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.LSTM(8, num_layers=2, return_state=True)
        >>> outputs, state = layer(fj.zeros((2, 5, 3)))
        >>> outputs, state = layer(fj.zeros((2, 5, 3)), state)  # goes on from there
        >>> outputs.shape, len(state)
        ((2, 5, 8), 2)
    """

    def _cell(self, units: int, **options: Any) -> Cell:
        return LSTMCell(units, **options)


class GRU(_Stack):
    """Layers of `GRUCell` over time; arguments as of `LSTM`.

    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.GRU(8, bidirectional=True, return_sequences=False)
        >>> layer(fj.zeros((2, 5, 3)), lengths=[5, 2]).shape
        (2, 16)
    """

    def _cell(self, units: int, **options: Any) -> Cell:
        return GRUCell(units, **options)
