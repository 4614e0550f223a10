"""The training loops of the post that started this, on real digits."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import fusejit as fj


class MNISTModel(fj.Network):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = self.track_layer(fj.layers.Dense(units=10))
        self.layer2 = self.track_layer(fj.layers.Dense(units=10))

    def call(self, input: Any) -> Any:
        """Actually runs the model."""
        result = self.layer1(input)
        result = self.layer2(result)
        return result  # noqa: RET504 - as the post has it


def loss_function(model: MNISTModel, x: Any, y: Any) -> Any:
    y_ = model(x)
    return fj.nn.softmax_cross_entropy_with_logits(labels=y, logits=y_)


def rows(images: Any, labels: Any) -> tuple[Any, Any]:
    return images.reshape(len(images), -1), np.eye(10, dtype=np.float32)[labels]


def test_inspect_the_output_of_a_blank_image() -> None:
    model = MNISTModel()
    result = model(fj.zeros([1, 1, 784]))
    assert (result.shape, result.dtype) == ((1, 1, 10), np.float32)
    assert not result.numpy().any()


@pytest.mark.parametrize("decorate", [False, True], ids=["eager", "decorated"])
@pytest.mark.parametrize("minimize", [False, True], ids=["apply_gradients", "minimize"])
def test_digits_are_learned_in_seconds(minimize: bool, decorate: bool) -> None:
    pytest.importorskip("sklearn")
    fj.random.seed(0)
    train, test = fj.data.digits()
    dataset = fj.data.Dataset.from_tensor_slices(train).shuffle(2000, seed=0).batch(64).map(rows)
    model = MNISTModel()
    optimizer = fj.train.GradientDescentOptimizer(learning_rate=0.001)

    def step(x: Any, y: Any) -> None:
        if minimize:
            optimizer.minimize(lambda: loss_function(model, x, y))
        else:
            grads = fj.implicit_gradients(loss_function)(model, x, y)
            optimizer.apply_gradients(grads)

    run = fj.function(step) if decorate else step
    began = time.perf_counter()
    with fj.device("/cpu:0"):
        for _ in range(80):
            for x, y in fj.Iterator(dataset):
                run(x, y)
    assert time.perf_counter() - began < 30
    found = fj.argmax(model(rows(*test)[0]), axis=1)
    assert float(fj.mean(found == test.labels)) >= 0.95
