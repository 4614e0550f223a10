"""Handwritten digits, two dense layers and plain gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

import fusejit as fj
from fusejit.data import Dataset, Labelled

from .common import Bar, Options, compare, digits, picture, start


class MNISTModel(fj.Network):
    """A two-layer network that classifies images of digits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = self.track_layer(fj.layers.Dense(units=10))
        self.layer2 = self.track_layer(fj.layers.Dense(units=10))

    def call(self, input: Any) -> Any:
        """Actually runs the model."""
        result = self.layer1(input)
        return self.layer2(result)


def loss_function(model: MNISTModel, x: Any, y: Any) -> Any:
    y_ = model(x)
    return fj.nn.softmax_cross_entropy_with_logits(labels=y, logits=y_)


def as_rows(images: Any, labels: Any) -> tuple[Any, Any]:
    """Each image as a row of numbers, and its label as a row with a 1 in its place."""
    return images.reshape(len(images), -1), np.eye(10, dtype=np.float32)[labels]


def main(options: Options) -> float:
    train, test = digits(options)
    dataset = Dataset.from_tensor_slices(train).shuffle(60_000, seed=options.seed).repeat()
    dataset = dataset.batch(64).map(as_rows).prefetch()
    model = MNISTModel()
    optimizer = fj.train.GradientDescentOptimizer(learning_rate=0.001)

    @fj.function
    def step(x: Any, y: Any) -> None:
        grads = fj.implicit_gradients(loss_function)(model, x, y)
        optimizer.apply_gradients(grads)

    for x, y in Bar(fj.Iterator(dataset), options.steps):
        step(x, y)
    accuracy = draw(model, test, options)
    print(f"{accuracy:.1%} of {len(test.labels):,} digits that it has not seen are recognised.")
    compare(step, x, y)
    return accuracy


def draw(model: MNISTModel, test: Labelled, options: Options) -> float:
    """The first digits that were held out, with what the model takes them for."""
    found = fj.argmax(model(test.images.reshape(len(test.images), -1)), axis=1).numpy()
    with picture(options, 6, 3, inches=1.5) as axes:
        for ax, image, guess, label in zip(
            axes.flat, test.images, found, test.labels, strict=False
        ):
            ax.imshow(image, cmap="gray_r")
            ax.set_title(f"{guess}", color="black" if guess == label else "red")
            ax.axis("off")
    return float(np.mean(found == test.labels))


if __name__ == "__main__":
    start(main, "mnist_mlp", steps=4000)
