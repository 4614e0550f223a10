"""Handwritten digits and a convolutional network, trained by `fj.train.fit`."""

from __future__ import annotations

from typing import Any

import numpy as np

import fusejit as fj
from fusejit.data import Dataset, Labelled

from .common import Options, compare, digits, picture, start


def make_network() -> fj.Sequential:
    return fj.Sequential(
        [
            fj.layers.Conv2D(16, 3, padding="same", activation="relu"),
            fj.layers.MaxPool(2),
            fj.layers.Conv2D(32, 3, padding="same", activation="relu"),
            fj.layers.MaxPool(2),
            fj.layers.Flatten(),
            fj.layers.Dropout(0.25),
            fj.layers.Dense(10),
        ]
    )


def loss(network: Any, images: Any, labels: Any, training: bool) -> Any:
    logits = network(images, training=training)
    losses = fj.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return losses, {"accuracy": fj.nn.accuracy(labels=labels, logits=logits)}


def with_channel(images: Any, labels: Any) -> tuple[Any, Any]:
    return images[..., None], labels


def main(options: Options) -> float:
    train, test = digits(options)
    images = Dataset.from_tensor_slices(train).shuffle(60_000, seed=options.seed)
    batches = images.batch(64, drop_remainder=True).map(with_channel)
    held_out = Dataset.from_tensor_slices(test).batch(256).map(with_channel)
    epochs = max(1, options.steps // len(batches))
    network = make_network()
    optimizer = fj.train.AdamWOptimizer(fj.train.CosineDecay(3e-3, epochs * len(batches)))
    progress = fj.train.fit(
        network,
        batches.take(options.steps),
        loss,
        optimizer,
        epochs=epochs,
        validation=held_out,
        patience=10,
    )
    print(network.summary())
    accuracy = draw(network, test, progress, options)
    print(f"{accuracy:.1%} of {len(test.labels):,} digits that it has not seen are recognised.")
    step = fj.train.training_step(network, loss, optimizer)
    batch = next(iter(batches))
    step(*batch)
    compare(step, *batch)
    return accuracy


def draw(
    network: fj.Sequential, test: Labelled, progress: fj.train.Progress, options: Options
) -> float:
    """Which digits are taken for which, and the loss of each epoch."""
    found = fj.argmax(network(test.images[..., None]), axis=1).numpy()
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (test.labels, found), 1)
    with picture(options, 2) as ((left, right),):
        left.imshow(np.log1p(confusion), cmap="Blues")
        for (row, column), count in np.ndenumerate(confusion):
            left.text(column, row, count or "", ha="center", va="center", size=8)
        left.set(xlabel="taken for", ylabel="digit", xticks=range(10), yticks=range(10))
        for name in ("loss", "validation/loss"):
            right.semilogy([epoch[name] for epoch in progress.epochs], label=name)
        right.set(xlabel="epoch")
        right.legend()
    return float(np.mean(found == test.labels))


if __name__ == "__main__":
    start(main, "mnist_cnn", steps=440)
