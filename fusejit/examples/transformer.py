"""A small transformer learns to write: each character from the 64 before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.data import Alphabet, text, windows

from .common import Bar, Options, compare, picture, smooth, start

LENGTH, BATCH, UNITS = 64, 16, 96


class Block(fj.Network):
    """Attention, then a layer of its own for each place; both are added to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = fj.layers.LayerNorm(), fj.layers.LayerNorm()
        self.attention = fj.layers.MultiHeadAttention(heads=4)
        self.wide = fj.layers.Dense(4 * UNITS, activation="gelu")
        self.narrow = fj.layers.Dense(UNITS)

    def call(self, x: Any) -> Any:
        x = x + self.attention(self.norm1(x), causal=True)
        return x + self.narrow(self.wide(self.norm2(x)))


class Transformer(fj.Network):
    """Characters [batch, time] to logits of the next ones [batch, time, alphabet]."""

    def __init__(self, alphabet: int, blocks: int = 2) -> None:
        super().__init__()
        self.characters = fj.layers.Embedding(alphabet, UNITS)
        self.places = fj.layers.Embedding(LENGTH, UNITS)
        self.blocks = [Block() for _ in range(blocks)]
        self.norm = fj.layers.LayerNorm()
        self.output = fj.layers.Dense(alphabet)

    def call(self, ids: Any) -> Any:
        x = self.characters(ids) + self.places(fj.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x))


def bits(model: Transformer, x: Any, y: Any) -> Any:
    losses = fj.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=model(x))
    return fj.mean(losses) / math.log(2)


def main(options: Options) -> float:
    corpus = text()
    alphabet = Alphabet(corpus)
    dataset = windows(alphabet.encode(corpus), LENGTH, stride=16)
    batches = dataset.shuffle(50_000, seed=options.seed).repeat().batch(BATCH).prefetch()
    model = Transformer(len(alphabet))
    rate = fj.train.WarmUp(100, fj.train.CosineDecay(2e-3, options.steps))
    optimizer = fj.train.AdamWOptimizer(rate, clip_norm=1.0, decays=lambda v: v.ndim > 1)

    @fj.function
    def step(x: Any, y: Any) -> Any:
        return optimizer.minimize(lambda: bits(model, x, y))

    history = []
    steps = Bar(fj.Iterator(batches), options.steps)
    for x, y in steps:
        history.append(float(step(x, y)))
        steps.note(f"{smooth(history[-100:])[-1]:.2f} bits a character")
    print("It now writes:\n" + write(model, alphabet, corpus[:LENGTH], options.seed))
    with picture(options, 1) as ((ax,),):
        ax.plot(history, color="lightgray")
        ax.plot(smooth(history))
        ax.set(xlabel="step", ylabel="bits a character")
    compare(step, x, y)
    return smooth(history)[-1]


def write(model: Transformer, alphabet: Alphabet, begun: str, seed: int, length: int = 300) -> str:
    """How the model goes on; it is shown as many characters as it was trained with."""
    generator = np.random.default_rng(seed)
    read = fj.function(lambda ids: model(ids))
    ids = alphabet.encode(begun).tolist()
    for _ in range(length):
        likely = read(fj.constant([ids[-LENGTH:]])).numpy()[0, -1] / 0.7
        ids.append(int(np.argmax(likely + generator.gumbel(size=likely.shape))))
    return alphabet.decode(np.array(ids[LENGTH:]))


if __name__ == "__main__":
    start(main, "transformer", steps=2000)
