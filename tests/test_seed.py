"""What the post that started this shows, as it shows it: every snippet must work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj


def test_ops_run_at_once_and_results_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    x = [[2.0]]
    m = fj.matmul(x, x)
    print(m)
    assert capsys.readouterr().out == "[[4.]]\n"


def test_control_flow_is_python() -> None:
    a = fj.constant(12)
    counter = 0
    while not fj.equal(a, 1):
        if fj.equal(a % 2, 0):  # noqa: SIM108 - as the post has it
            a = a / 2
        else:
            a = 3 * a + 1
        counter += 1
    assert counter == 9
    assert isinstance(a, fj.Tensor)


def square(x: Any) -> Any:
    return fj.multiply(x, x)


def test_gradients_function() -> None:
    grad = fj.gradients_function(square)
    assert float(square(3.0)) == 9.0
    assert [float(g) for g in grad(3.0)] == [6.0]
    gradgrad = fj.gradients_function(lambda x: grad(x)[0])
    assert [float(g) for g in gradgrad(3.0)] == [2.0]


@pytest.mark.parametrize("params", [["b"], [1]])
def test_gradients_function_by_name_and_position(params: list[Any]) -> None:
    grad = fj.gradients_function(lambda a, b: a * b * b, params)
    assert [float(g) for g in grad(2.0, 3.0)] == [12.0]


def test_gradients_follow_control_flow() -> None:
    def abs(x: Any) -> Any:
        return x if x > 0.0 else -x

    grad = fj.gradients_function(abs)
    assert [float(g) for g in grad(2.0)] == [1.0]
    assert [float(g) for g in grad(-2.0)] == [-1.0]


def test_a_naive_gradient_can_be_unstable() -> None:
    def log1pexp(x: Any) -> Any:
        return fj.log(1 + fj.exp(x))

    grad_log1pexp = fj.gradients_function(log1pexp)
    assert float(grad_log1pexp(0.0)[0]) == 0.5
    assert np.isnan(float(grad_log1pexp(100.0)[0]))


def test_a_custom_gradient_makes_it_stable() -> None:
    @fj.custom_gradient
    def log1pexp(x: Any) -> Any:
        e = fj.exp(x)

        def grad(dy: Any) -> Any:
            return dy * (1 - 1 / (1 + e))

        return fj.log(1 + e), grad

    grad_log1pexp = fj.gradients_function(log1pexp)
    assert float(grad_log1pexp(0.0)[0]) == 0.5
    assert float(grad_log1pexp(100.0)[0]) == 1.0


class Dense:
    """A layer whose parameters take their shapes from its first input."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.built = False

    def __call__(self, x: Any) -> Any:
        if not self.built:
            rng = np.random.default_rng(self.units)
            weights = rng.normal(size=(x.shape[-1], self.units)) / np.sqrt(x.shape[-1])
            self.w = fj.Variable(weights.astype(np.float32), name="w")
            self.b = fj.Variable(fj.zeros([self.units]), name="b")
            self.built = True
        return fj.matmul(x, self.w) + self.b


class MNISTModel:
    def __init__(self) -> None:
        self.layer1 = Dense(units=10)
        self.layer2 = Dense(units=10)

    def __call__(self, input: Any) -> Any:
        return self.layer2(self.layer1(input))


def loss_function(model: MNISTModel, x: Any, y: Any) -> Any:
    """Softmax cross-entropy, by hand."""
    logits = model(x)
    shifted = logits - fj.max(logits, axis=-1, keepdims=True)
    log_sum = fj.log(fj.sum(fj.exp(shifted), axis=-1, keepdims=True))
    return fj.mean(fj.sum(y * (log_sum - shifted), axis=-1))


def test_a_model_can_be_called_on_a_blank_image() -> None:
    model = MNISTModel()
    batch = fj.zeros([1, 1, 784])
    assert batch.shape == (1, 1, 784)
    result = model(batch)
    assert (result.shape, result.dtype) == ((1, 1, 10), np.float32)
    assert not result.numpy().any()


@pytest.mark.parametrize("device", [None, "/cpu:0"])
def test_a_model_can_be_trained(device: str | None, rng: np.random.Generator) -> None:
    def train() -> list[float]:
        model = MNISTModel()
        x = rng.normal(size=(32, 784)).astype(np.float32)
        y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 32)]
        losses = []
        for _ in range(10):
            losses.append(float(loss_function(model, x, y)))
            grads = fj.implicit_gradients(loss_function)(model, x, y)
            assert [v.name for _, v in grads] == ["w", "b", "w", "b"]
            for gradient, variable in grads:
                variable.assign_sub(0.05 * gradient)
        return losses

    if device is None:
        losses = train()
    else:
        with fj.device(device):
            losses = train()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.5 * losses[0]


def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(fj.DeviceError, match="/gpu:99"), fj.device("/gpu:99"):
        pass
