"""One small network of each kind, and an input for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fusejit as fj

layers = fj.layers
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 2))
SEQUENCES = np.random.default_rng(1).normal(size=(4, 5, 3))
ROWS = np.random.default_rng(2).normal(size=(4, 6))
IDS = np.random.default_rng(3).integers(0, 7, (4, 5))
LENGTHS = fj.constant([5, 2, 3, 1])


class Masked(fj.Network):
    """A recurrent network that is told the lengths of its sequences."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.reader = layers.LSTM(4, bidirectional=True, return_sequences=False, dtype=dtype)
        self.judge = layers.Dense(3, dtype=dtype)

    def call(self, x: Any) -> Any:
        return self.judge(self.reader(x, lengths=LENGTHS))


class Transformer(fj.Network):
    """One block of a transformer over numbered words."""

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.words = layers.Embedding(7, 8, dtype=dtype)
        self.attend = layers.MultiHeadAttention(2, dropout=0.1, dtype=dtype)
        self.norms = [layers.LayerNorm(dtype=dtype) for _ in range(2)]
        self.feed = {
            "up": layers.Dense(16, "gelu", dtype=dtype),
            "down": layers.Dense(8, dtype=dtype),
        }
        self.judge = layers.Dense(3, dtype=dtype)

    def call(self, ids: Any, training: bool = False) -> Any:
        h = self.words(ids)
        h = h + self.attend(self.norms[0](h), causal=True, training=training)
        h = h + self.feed["down"](self.feed["up"](self.norms[1](h)))
        return self.judge(fj.mean(h, axis=1))


def stack(*parts: Callable[[str], Any]) -> Callable[[str], fj.Network]:
    return lambda dtype: fj.Sequential([part(dtype) for part in parts])


def dense(dtype: str) -> Any:
    return layers.Dense(3, dtype=dtype)


def recurrent(cell: Any) -> Callable[[str], fj.Network]:
    return stack(lambda d: layers.RNN(cell(4, dtype=d), return_sequences=False), dense)


NETWORKS: dict[str, tuple[Callable[[str], fj.Network], Any]] = {
    "mlp": (stack(lambda d: layers.Dense(5, "tanh", dtype=d), dense), ROWS),
    "layer norm, dropout": (
        stack(
            lambda d: layers.Dense(5, "silu", dtype=d),
            lambda d: layers.LayerNorm(dtype=d),
            lambda d: layers.Dropout(0.3),
            dense,
        ),
        ROWS,
    ),
    "cnn": (
        stack(
            lambda d: layers.Conv2D(4, 3, padding="same", activation="softplus", dtype=d),
            lambda d: layers.MaxPool(2),
            lambda d: layers.Conv2D(6, 3, groups=2, dtype=d),
            lambda d: layers.Flatten(),
            dense,
        ),
        IMAGES,
    ),
    "batch norm": (
        stack(
            lambda d: layers.Conv2D(4, 3, use_bias=False, dtype=d),
            lambda d: layers.BatchNorm(dtype=d),
            lambda d: layers.AveragePool(3),
            lambda d: layers.Flatten(),
            dense,
        ),
        IMAGES,
    ),
    "conv1d": (
        stack(
            lambda d: layers.Conv1D(4, 2, padding="causal", dilations=2, dtype=d),
            lambda d: layers.Flatten(),
            dense,
        ),
        SEQUENCES,
    ),
    "rnn": (recurrent(layers.RNNCell), SEQUENCES),
    "gru": (recurrent(layers.GRUCell), SEQUENCES),
    "lstm": (recurrent(layers.LSTMCell), SEQUENCES),
    "layer norm lstm": (recurrent(layers.LayerNormLSTMCell), SEQUENCES),
    "stacked gru": (
        stack(
            lambda d: layers.GRU(
                4, num_layers=2, bidirectional=True, dropout=0.2, return_sequences=False, dtype=d
            ),
            dense,
        ),
        SEQUENCES,
    ),
    "masked lstm": (Masked, SEQUENCES),
    "transformer": (Transformer, IDS),
}
