"""Training steps made of fusejit's own layers and optimizers: decorated beside undecorated.

python bench/training.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import fusejit as fj

TARGETS = {"mlp 64x784x128x10": 2.0, "lstm 32x32x128": 4.0}


def mlp() -> tuple[fj.Network, list[fj.Tensor]]:
    network = fj.Sequential([fj.layers.Dense(128, activation="relu"), fj.layers.Dense(10)])
    return network, [fj.random.normal((64, 784)), fj.one_hot(fj.random.randint(10, shape=64), 10)]


def lstm() -> tuple[fj.Network, list[fj.Tensor]]:
    """[batch, time, units]: 32 sequences of 32 steps."""
    network = fj.Sequential([fj.layers.LSTM(128), fj.layers.Dense(10)])
    labels = fj.one_hot(fj.random.randint(10, shape=(32, 32)), 10)
    return network, [fj.random.normal((32, 32, 128)), labels]


def loss(network: fj.Network, x: fj.Tensor, y: fj.Tensor) -> fj.Tensor:
    return fj.mean(fj.nn.softmax_cross_entropy_with_logits(labels=y, logits=network(x)))


def measure(name: str, make: Callable[[], tuple[fj.Network, list[fj.Tensor]]]) -> None:
    for optimizer in (
        fj.train.GradientDescentOptimizer(0.01),
        fj.train.AdamOptimizer(1e-3),
        fj.train.AdamWOptimizer(1e-3, clip_norm=1.0),
    ):
        network, batch = make()
        network.build(*batch[:1])
        optimizer.build(network.trainable_variables)
        step = fj.train.training_step(network, loss, optimizer)
        for _ in range(20):
            step(*batch)
        step.benchmark(*batch)  # eager ops get kernels of their own meanwhile
        found = step.benchmark(*batch)
        faster = found.eager / found.fused
        met = "meets" if faster >= TARGETS[name] else "MISSES"
        title = type(optimizer).__name__.removesuffix("Optimizer")
        print(
            f"{name:20}{title:17}eager {found.eager * 1e3:7.3f} ms  fused {found.fused * 1e3:6.3f} "
            f"ms  {faster:5.1f} times as fast, {met} {TARGETS[name]:g}; "
            f"{found.kernels_before} ops in {found.kernels_after} kernels, recorded "
            f"{step.num_traces} time"
        )


def updates() -> None:
    """How many kernels the update of a network of many variables takes."""
    print("\nupdates alone, of a network of 20 layers 64x64 (40 variables):")
    for make in (
        fj.train.GradientDescentOptimizer,
        fj.train.MomentumOptimizer,
        fj.train.AdamOptimizer,
    ):
        optimizer = make(1e-3)
        variables = [fj.Variable(np.ones(s, np.float32)) for s in [(64, 64), (64,)] * 20]
        gradients = [fj.ones(v.shape) for v in variables]
        optimizer.build(variables)

        @fj.function
        def step(*gradients: fj.Tensor) -> None:
            optimizer.apply_gradients(zip(gradients, variables, strict=True))  # noqa: B023

        for _ in range(20):
            step(*gradients)
        step.benchmark(*gradients)
        found = step.benchmark(*gradients)
        print(
            f"{make.__name__:27}eager {found.eager * 1e6:6.0f} us fused {found.fused * 1e6:4.0f} us"
            f"  {found.kernels_before} ops in {found.kernels_after} kernels"
        )


if __name__ == "__main__":
    fj.random.seed(0)
    measure("mlp 64x784x128x10", mlp)
    measure("lstm 32x32x128", lstm)
    updates()
