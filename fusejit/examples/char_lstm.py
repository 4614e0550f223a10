"""An LSTM learns to write: each character from those before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.data import Alphabet, text, windows

from .common import Bar, Options, compare, picture, smooth, start

LENGTH, BATCH, UNITS = 32, 32, 128


class Writer(fj.Network):
    """Characters [batch, time] to logits of the next ones [batch, time, alphabet], and a state."""

    def __init__(self, alphabet: int) -> None:
        super().__init__()
        self.embedding = fj.layers.Embedding(alphabet, UNITS)
        self.lstm = fj.layers.LSTM(UNITS, return_state=True)
        self.output = fj.layers.Dense(alphabet)

    def call(self, characters: Any, state: Any = None) -> Any:
        outputs, state = self.lstm(self.embedding(characters), state)
        return self.output(outputs), state


def bits(model: Writer, x: Any, y: Any) -> Any:
    """Mean bits that a character takes."""
    logits, _ = model(x)
    losses = fj.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
    return fj.mean(losses) / math.log(2)


def main(options: Options) -> float:
    corpus = text()
    alphabet = Alphabet(corpus)
    dataset = windows(alphabet.encode(corpus), LENGTH).shuffle(50_000, seed=options.seed)
    batches = dataset.repeat().batch(BATCH).prefetch()
    model = Writer(len(alphabet))
    optimizer = fj.train.AdamOptimizer(3e-3, clip_norm=1.0)

    @fj.function
    def step(x: Any, y: Any) -> Any:
        return optimizer.minimize(lambda: bits(model, x, y))

    history = []
    steps = Bar(fj.Iterator(batches), options.steps)
    for x, y in steps:
        history.append(float(step(x, y)))
        steps.note(f"{smooth(history[-100:])[-1]:.2f} bits a character")
    print("It now writes:\n" + write(model, alphabet, options.seed))
    with picture(options, 1) as ((ax,),):
        ax.plot(history, color="lightgray")
        ax.plot(smooth(history))
        ax.set(xlabel="step", ylabel="bits a character")
    compare(step, x, y)
    return smooth(history)[-1]


def write(model: Writer, alphabet: Alphabet, seed: int, length: int = 300) -> str:
    """Text that the model makes up: each character a draw from what it thinks likely."""
    generator = np.random.default_rng(seed)
    read = fj.function(lambda ids, state: model(ids, state))
    state, ids = model.lstm.initial_state(1), [int(alphabet.encode("\n")[0])]
    for _ in range(length):
        logits, state = read(fj.constant([[ids[-1]]]), state)
        likely = logits.numpy()[0, 0] / 0.7  # below 1 prefers what is likely anyway
        ids.append(int(np.argmax(likely + generator.gumbel(size=likely.shape))))
    return alphabet.decode(np.array(ids))


if __name__ == "__main__":
    start(main, "char_lstm", steps=2000)
