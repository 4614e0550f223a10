"""The model: an LSTM cell in plain Python, and the loss of a sequence of characters."""

from __future__ import annotations

import math
from typing import TypeAlias

import fusejit as fj

State: TypeAlias = tuple[fj.Tensor, fj.Tensor]


@fj.function
def lstm_cell(
    x: fj.Tensor,
    h: fj.Tensor,
    c: fj.Tensor,
    input_weights: fj.Tensor,
    state_weights: fj.Tensor,
    bias: fj.Tensor,
) -> State:
    """One step of an LSTM. Two matrix products; all the rest becomes one kernel."""
    gates = x @ input_weights + h @ state_weights + bias
    keep, write, show, new = fj.split(gates, 4, axis=1)
    # The 1 keeps the memory open until training has learned when to close it.
    c = fj.sigmoid(keep + 1.0) * c + fj.sigmoid(write) * fj.tanh(new)
    return fj.sigmoid(show) * fj.tanh(c), c


class CharLSTM:
    """Reads characters one by one and says how likely each character is to come next."""

    def __init__(self, alphabet_size: int, hidden: int) -> None:
        self.alphabet_size = alphabet_size
        self.hidden = hidden
        self.input_weights = _weights("input weights", alphabet_size, 4 * hidden)
        self.state_weights = _weights("state weights", hidden, 4 * hidden)
        self.bias = fj.Variable(fj.zeros(4 * hidden), name="bias")
        self.output_weights = _weights("output weights", hidden, alphabet_size)
        self.output_bias = fj.Variable(fj.zeros(alphabet_size), name="output bias")
        self.variables = [
            self.input_weights,
            self.state_weights,
            self.bias,
            self.output_weights,
            self.output_bias,
        ]

    def initial_state(self, lanes: int) -> State:
        zeros = fj.zeros((lanes, self.hidden))
        return zeros, zeros

    def read(self, ids: fj.Tensor, state: State) -> State:
        """The state after one more character in each lane."""
        x = fj.one_hot(ids, self.alphabet_size)
        h, c = lstm_cell(x, *state, self.input_weights, self.state_weights, self.bias)
        return h, c

    def logits(self, h: fj.Tensor) -> fj.Tensor:
        return h @ self.output_weights + self.output_bias

    def loss(self, inputs: fj.Tensor, targets: fj.Tensor, state: State) -> tuple[fj.Tensor, State]:
        """Mean bits a character of `targets`, both [length, lanes], and the state at the end."""
        outputs = []
        for t in range(inputs.shape[0]):
            state = self.read(inputs[t], state)
            outputs.append(state[0])
        labels = fj.one_hot(fj.reshape(targets, (-1,)), self.alphabet_size)
        losses = fj.nn.softmax_cross_entropy_with_logits(
            labels=labels, logits=self.logits(fj.concat(outputs))
        )
        return fj.mean(losses) / math.log(2), state


def _weights(name: str, rows: int, columns: int) -> fj.Variable:
    return fj.Variable(fj.random.normal((rows, columns)) / math.sqrt(rows), name=name)
