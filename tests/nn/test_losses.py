"""Losses and metrics: their definitions, PyTorch's results, gradients, and what errors say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.testing import check_gradients

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4)) * 3
OTHERS = RNG.normal(size=(6, 4)) * 3
CLASSES = RNG.integers(0, 4, 6)
P = np.exp(LOGITS / 4) / np.exp(LOGITS / 4).sum(-1, keepdims=True)
Q = np.exp(OTHERS) / np.exp(OTHERS).sum(-1, keepdims=True)

# (ours, of what is predicted; the same in PyTorch; where)
LOSSES: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any], Any]] = {
    "softmax": (
        lambda x: fj.nn.softmax_cross_entropy_with_logits(labels=Q, logits=x),
        lambda t, x: t.nn.functional.cross_entropy(x, t.tensor(Q), reduction="none"),
        LOGITS,
    ),
    "sparse softmax": (
        lambda x: fj.nn.sparse_softmax_cross_entropy_with_logits(labels=CLASSES, logits=x),
        lambda t, x: t.nn.functional.cross_entropy(x, t.tensor(CLASSES), reduction="none"),
        LOGITS,
    ),
    "sigmoid": (
        lambda x: fj.nn.sigmoid_cross_entropy_with_logits(labels=Q, logits=x),
        lambda t, x: t.nn.functional.binary_cross_entropy_with_logits(
            x, t.tensor(Q), reduction="none"
        ),
        LOGITS,
    ),
    "squared": (
        lambda x: fj.nn.mean_squared_error(labels=OTHERS, predictions=x),
        lambda t, x: t.nn.functional.mse_loss(x, t.tensor(OTHERS)),
        LOGITS,
    ),
    "absolute": (
        lambda x: fj.nn.mean_absolute_error(labels=OTHERS, predictions=x),
        lambda t, x: t.nn.functional.l1_loss(x, t.tensor(OTHERS)),
        LOGITS,
    ),
    "huber": (
        lambda x: fj.nn.huber_loss(labels=OTHERS, predictions=x, delta=1.5),
        lambda t, x: t.nn.functional.huber_loss(x, t.tensor(OTHERS), delta=1.5),
        LOGITS,
    ),
    "kl": (
        lambda x: fj.nn.kl_divergence(labels=Q, predictions=x),
        lambda t, x: t.nn.functional.kl_div(t.log(x), t.tensor(Q), reduction="none").sum(-1),
        P,  # not too small: the second derivative is 1 / p**2
    ),
}
EACH = pytest.mark.parametrize("name", LOSSES)


@EACH
def test_against_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs, at = LOSSES[name]
    x = torch.tensor(at, requires_grad=True)
    expected = theirs(torch, x)
    np.testing.assert_allclose(ours(at).numpy(), expected.detach().numpy(), rtol=1e-10)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    found = fj.gradients_function(ours)(at)[0]
    np.testing.assert_allclose(found.numpy(), gradient.numpy(), rtol=1e-9, atol=1e-12)
    single = ours(at.astype(np.float32))
    np.testing.assert_allclose(single.numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)


@EACH
def test_gradients(name: str) -> None:
    ours, _, at = LOSSES[name]
    check_gradients(ours, at)


@EACH
def test_decorated(name: str) -> None:
    ours, _, at = LOSSES[name]
    x = fj.asarray(at.astype(np.float32))
    decorated = fj.function(ours)
    for _ in range(3):
        np.testing.assert_allclose(decorated(x).numpy(), ours(x).numpy(), rtol=1e-6)
    assert decorated.num_traces == 1


def test_the_axis_of_errors() -> None:
    labels, predictions = np.zeros((2, 3)), np.arange(6.0).reshape(2, 3)
    for loss in (fj.nn.mean_squared_error, fj.nn.mean_absolute_error, fj.nn.huber_loss):
        assert loss(labels=labels, predictions=predictions).shape == ()
        assert loss(labels=labels, predictions=predictions, axis=-1).shape == (2,)
        assert loss(labels=labels, predictions=predictions, axis=()).shape == (2, 3)
    rows = fj.nn.mean_squared_error(labels=labels, predictions=predictions, axis=1)
    np.testing.assert_allclose(rows.numpy(), np.mean(predictions**2, 1))


def test_divergence_where_probabilities_are_zero() -> None:
    labels, predictions = fj.constant([0.0, 1.0]), fj.constant([0.0, 1.0])
    f = lambda x: fj.nn.kl_divergence(labels=labels, predictions=x)  # noqa: E731
    assert float(f(predictions)) == 0.0
    assert fj.gradients_function(f)(predictions)[0].tolist() == [0.0, -1.0]
    assert float(fj.nn.kl_divergence(labels=[1.0, 0.0], predictions=[0.0, 1.0])) == np.inf


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: fj.nn.mean_squared_error(labels=[[1.0]], predictions=[1.0]),
         r"mean_squared_error: expected one shape, got labels f32\[1,1\] and predictions f32\[1\]"),
        (lambda: fj.nn.huber_loss(labels=[1.0, 2.0], predictions=[1.0]), "huber_loss: expect"),
        (lambda: fj.nn.kl_divergence(labels=[1.0, 2.0], predictions=[1.0]), "kl_divergence: expe"),
        (lambda: fj.nn.accuracy(labels=[1, 2], logits=[[1.0]]), "accuracy: expected labels of"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(run: Any, message: str) -> None:
    with pytest.raises(fj.ShapeError, match=message):
        run()


def test_accuracy_of_class_numbers_and_of_distributions() -> None:
    expected = np.mean(LOGITS.argmax(-1) == CLASSES)
    assert float(fj.nn.accuracy(labels=CLASSES, logits=LOGITS)) == pytest.approx(expected)
    dense = np.eye(4)[CLASSES]
    assert float(fj.nn.accuracy(labels=dense, logits=LOGITS)) == pytest.approx(expected)


def test_metrics_over_batches() -> None:
    mean, accuracy, perplexity = fj.nn.Mean(), fj.nn.Accuracy(), fj.nn.Perplexity()
    assert np.isnan(float(mean.result()))
    losses = fj.nn.sparse_softmax_cross_entropy_with_logits(labels=CLASSES, logits=LOGITS)
    for part in (slice(0, 4), slice(4, 6)):  # batches of two sizes
        mean.update(losses[part])
        perplexity.update(losses[part])
        accuracy.update(labels=CLASSES[part], logits=LOGITS[part])
    assert float(mean.result()) == pytest.approx(float(fj.mean(losses)))
    assert float(perplexity.result()) == pytest.approx(float(fj.exp(fj.mean(losses))))
    assert float(accuracy.result()) == pytest.approx(np.mean(LOGITS.argmax(-1) == CLASSES))
    mean.reset()
    mean.update(losses, weights=np.array([1, 0, 0, 0, 0, 3.0]))
    assert float(mean.result()) == pytest.approx((float(losses[0]) + 3 * float(losses[5])) / 4)
    assert list(mean.named_variables()) == ["total", "weight"]
    assert not any(variable.trainable for variable in mean.named_variables().values())


def test_a_metric_of_ones_own() -> None:
    class Largest(fj.nn.Metric):
        def values(self, x: Any) -> Any:
            return fj.max(x, axis=-1)

    metric = Largest()
    metric.update([[1.0, 2.0], [6.0, 3.0]])
    assert float(metric.result()) == 4.0
    with pytest.raises(NotImplementedError):
        fj.nn.Metric().update(1.0)


def test_updating_metrics_is_part_of_a_plan() -> None:
    mean, accuracy = fj.nn.Mean(), fj.nn.Accuracy()

    @fj.function
    def step(labels: Any, logits: Any) -> Any:
        losses = fj.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        mean.update(losses)
        accuracy.update(labels=labels, logits=logits)
        return fj.mean(losses)

    labels, logits = fj.asarray(CLASSES), fj.asarray(LOGITS)
    found = [float(step(labels, logits)) for _ in range(5)]
    assert step.num_traces == 1
    assert float(mean.result()) == pytest.approx(found[0])
    assert float(mean.weight) == 30.0
    assert float(accuracy.result()) == pytest.approx(np.mean(LOGITS.argmax(-1) == CLASSES))
