"""A variational autoencoder of digits with two latent numbers (Kingma and Welling, 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

import fusejit as fj
from fusejit.data import Dataset, Labelled

from .common import Bar, Options, compare, digits, picture, smooth, start


class VAE(fj.Network):
    """Images [batch, pixels] to logits of their pixels, by way of two numbers."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.encoder = fj.Sequential(
            [fj.layers.Dense(256, activation="gelu"), fj.layers.Dense(2 + 2)]
        )
        self.decoder = fj.Sequential(
            [
                fj.layers.Dense(256, activation="gelu"),
                fj.layers.Dense(256, activation="gelu"),
                fj.layers.Dense(pixels),
            ]
        )

    def call(self, images: Any) -> Any:
        """(logits, mean, logarithm of the variance of the latent numbers)."""
        mean, log_variance = fj.split(self.encoder(images), 2, axis=1)
        noise = fj.random.normal(mean.shape)
        return self.decoder(mean + fj.exp(0.5 * log_variance) * noise), mean, log_variance


def loss(model: VAE, images: Any) -> Any:
    """What the pixels take, and the divergence from a normal distribution: a bound, in nats."""
    logits, mean, log_variance = model(images)
    pixels = fj.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits)
    divergence = 0.5 * (mean * mean + fj.exp(log_variance) - log_variance - 1.0)
    return fj.mean(fj.sum(pixels, axis=1) + fj.sum(divergence, axis=1))


def main(options: Options) -> float:
    train, test = digits(options)
    pixels = train.images[0].size
    dataset = Dataset.from_tensor_slices(train.images.reshape(-1, pixels))
    batches = dataset.shuffle(60_000, seed=options.seed).repeat().batch(128).prefetch()
    model = VAE(pixels)
    optimizer = fj.train.AdamOptimizer(fj.train.CosineDecay(2e-3, options.steps))

    @fj.function
    def step(images: Any) -> Any:
        return optimizer.minimize(lambda: loss(model, images))

    history = []
    steps = Bar(fj.Iterator(batches), options.steps)
    for images in steps:
        history.append(float(step(images)))
        steps.note(f"{smooth(history[-100:])[-1]:.1f} nats")
    draw(model, test, options)
    compare(step, images)
    return smooth(history)[-1]


def draw(model: VAE, test: Labelled, options: Options, n: int = 16) -> None:
    """Where the held-out digits lie, and what the decoder makes of a grid of latent numbers."""
    size = test.images.shape[1]
    places = model(test.images.reshape(len(test.images), -1))[1].numpy()
    line = np.linspace(-2, 2, n, dtype=np.float32)
    grid = np.stack(np.meshgrid(line, -line), axis=-1).reshape(-1, 2)
    tiles = fj.sigmoid(model.decoder(grid)).numpy().reshape(n, n, size, size)
    with picture(options, 2) as ((left, right),):
        shown = left.scatter(*places.T, c=test.labels, cmap="tab10", s=8)
        left.figure.colorbar(shown, ax=left)
        right.imshow(tiles.swapaxes(1, 2).reshape(n * size, n * size), cmap="gray_r")
        right.axis("off")


if __name__ == "__main__":
    start(main, "vae", steps=4000)
