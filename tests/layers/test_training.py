"""Networks of each kind: gradients, eager against decorated, a training step as one plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.layers.networks import NETWORKS
from tests.layers.peers import check_numerically

LABELS = fj.constant([0, 2, 1, 2])
KINDS = pytest.mark.parametrize("kind", NETWORKS)


def single(x: Any) -> Any:
    return fj.asarray(x.astype(np.float32) if x.dtype.kind == "f" else x)


def training_step(network: fj.Network) -> Callable[[Any], Any]:
    def loss(x: Any) -> Any:
        logits = network(x, training=True)
        losses = fj.nn.sparse_softmax_cross_entropy_with_logits(labels=LABELS, logits=logits)
        return fj.mean(losses)

    def step(x: Any) -> Any:
        value, pairs = fj.implicit_value_and_gradients(loss)(x)
        for gradient, variable in pairs:
            variable.assign_sub(0.1 * gradient)
        return value

    return step


def trained(kind: str, decorated: bool, calls: int) -> tuple[list[float], list[Any], Any]:
    """Losses of the steps, values of the variables after them, and the step."""
    make, x = NETWORKS[kind]
    fj.random.seed(5)
    network = make("float32")
    step = training_step(network)
    taken: Any = fj.function(step) if decorated else step
    losses = [float(taken(single(x))) for _ in range(calls)]
    return losses, [variable.numpy() for variable in network.variables], taken


@KINDS
def test_gradients_are_difference_quotients(kind: str) -> None:
    make, x = NETWORKS[kind]
    network = make("float64")
    check_numerically(network, x)
    assert {variable.dtype for variable in network.variables} == {np.dtype("float64")}


@KINDS
def test_a_decorated_training_step_does_what_the_eager_one_does(kind: str) -> None:
    """From the first call on, which makes the variables; random numbers are the same ones."""
    losses, values, _ = trained(kind, decorated=False, calls=4)
    again, repeated, step = trained(kind, decorated=True, calls=4)
    np.testing.assert_allclose(again, losses, rtol=1e-5)
    for one, other in zip(values, repeated, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
    # The call that makes the variables is not kept; the next one is.
    assert step.num_traces == 2


@KINDS
def test_a_decorated_training_step_is_one_plan(kind: str) -> None:
    make, x = NETWORKS[kind]
    network = make("float32")
    x = single(x)
    network(x)
    step = fj.function(training_step(network))
    first, second, third = (float(step(x)) for _ in range(3))
    assert step.num_traces == 1
    assert len({first, second, third}) == 3
    assert "the call takes the only path" in str(step.explain(x))


@KINDS
def test_a_decorated_network_gives_what_an_eager_one_does(kind: str) -> None:
    make, x = NETWORKS[kind]
    network = make("float32")
    x = single(x)
    expected = network(x).numpy()
    decorated = fj.function(network.__call__)
    for _ in range(3):
        np.testing.assert_allclose(decorated(x).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert decorated.num_traces == 1


def test_a_decorated_call_method_is_recorded_once() -> None:
    class Model(fj.Network):
        def __init__(self) -> None:
            self.layer = fj.layers.Dense(3)

        @fj.function
        def call(self, x: Any) -> Any:
            return fj.nn.softmax(self.layer(x))

    model = Model()
    found = [model(fj.ones((2, 4))).numpy() for _ in range(4)]
    assert all(np.array_equal(found[0], each) for each in found)
    assert list(model.named_variables()) == ["layer/kernel", "layer/bias"]


def test_lengths_are_data() -> None:
    layer = fj.layers.LSTM(4, return_sequences=False)
    x = fj.random.normal((3, 5, 2))
    layer(x)
    decorated = fj.function(lambda x, lengths: layer(x, lengths=lengths))
    for lengths in ([5, 5, 5], [1, 2, 3], [4, 0, 5], [3, 3, 1]):
        ends = fj.constant(lengths)
        found, expected = decorated(x, ends), layer(x, lengths=ends)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert decorated.num_traces == 1


def test_a_batch_of_another_size_compiles_nothing() -> None:
    make, x = NETWORKS["cnn"]
    network = make("float32")
    x = single(x)
    network(x)
    step = fj.function(network.__call__)
    for _ in range(3):
        step(x)
    compiled = step.num_compiles
    for size in (3, 2, 4, 3):
        np.testing.assert_allclose(
            step(x[:size]).numpy(), network(x[:size]).numpy(), rtol=1e-5, atol=1e-6
        )
    assert step.num_traces == 3 and step.num_compiles == compiled


def test_freezing_a_layer_changes_what_a_decorated_step_trains() -> None:
    network = fj.Sequential([fj.layers.Dense(4, "tanh"), fj.layers.Dense(3)])
    x = fj.ones((4, 2))
    network(x)
    step = fj.function(training_step(network))
    step(x)
    step(x)
    first, _ = network.layers
    first.trainable = False
    before = [variable.numpy() for variable in network.variables]
    step(x)
    step(x)
    changed = [
        not np.array_equal(old, variable.numpy())
        for old, variable in zip(before, network.variables, strict=True)
    ]
    assert changed == [False, False, True, True]
    first.trainable = True
    step(x)
    assert not np.array_equal(before[0], first.kernel.numpy())


def test_an_attribute_that_is_set_anew_is_seen() -> None:
    network = fj.Sequential([fj.layers.Dense(2, kernel_initializer="ones"), fj.nn.relu])
    x = -fj.ones((1, 2))
    decorated = fj.function(network.__call__)
    decorated(x)
    decorated(x)
    assert decorated(x).tolist() == [[0.0, 0.0]]
    network.layers[1] = fj.nn.leaky_relu
    assert decorated(x).tolist() == network(x).tolist() != [[0.0, 0.0]]
