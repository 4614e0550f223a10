"""Neural-network functions: their definitions in float64, stability at the extremes, gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.testing import check_gradients

X = np.array([-30.0, -3.0, -0.5, 0.25, 2.0, 30.0])
LOGITS = np.random.default_rng(5).normal(size=(4, 3)) * 3


def erf(x: Any) -> Any:
    return np.array([math.erf(v) for v in x])


DEFINITIONS: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (fj.nn.relu, lambda x: np.maximum(x, 0)),
    (fj.nn.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    (lambda x: fj.nn.elu(x, 2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0)))),
    (fj.nn.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    (fj.nn.tanh, np.tanh),
    (fj.nn.softplus, lambda x: np.log1p(np.exp(x))),
    (fj.nn.silu, lambda x: x / (1 + np.exp(-x))),
    (fj.nn.gelu, lambda x: x * (1 + erf(x / math.sqrt(2))) / 2),
    (lambda x: fj.nn.gelu(x, approximate=True),
     lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "definition"), DEFINITIONS)
def test_activations(ours: Callable[[Any], Any], definition: Callable[[Any], Any]) -> None:
    np.testing.assert_allclose(ours(X).numpy(), definition(X), rtol=1e-12, atol=1e-15)
    found = ours(X.astype("float32"))
    assert found.dtype == np.dtype("float32")
    np.testing.assert_allclose(found.numpy(), definition(X), rtol=2e-6, atol=1e-6)
    check_gradients(ours, X[1:-1])
    for extreme in (-1e4, 1e4):  # neither the value nor the gradient overflows
        assert np.isfinite(fj.gradients_function(ours)(extreme)[0].item())
    assert np.isnan(ours(np.array([np.nan])).item())


def test_relu_has_no_gradient_at_zero() -> None:
    assert fj.gradients_function(fj.nn.relu)(0.0)[0].item() == 0.0


def definition_of_softmax(x: Any, axis: Any) -> Any:
    powers = np.exp(x - np.max(x, axis, keepdims=True))
    return powers / np.sum(powers, axis, keepdims=True)


@pytest.mark.parametrize("axis", [0, -1, (0, 1)])
def test_softmax(axis: Any) -> None:
    expected = definition_of_softmax(LOGITS, axis)
    np.testing.assert_allclose(fj.nn.softmax(LOGITS, axis).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(
        fj.nn.log_softmax(LOGITS, axis).numpy(), np.log(expected), rtol=1e-12
    )
    total = np.log(np.sum(np.exp(LOGITS), axis))
    np.testing.assert_allclose(fj.nn.logsumexp(LOGITS, axis).numpy(), total, rtol=1e-12)
    for f in (fj.nn.softmax, fj.nn.log_softmax, fj.nn.logsumexp):
        check_gradients(lambda x, f=f: f(x, axis), LOGITS)


def test_softmax_at_the_extremes() -> None:
    assert fj.nn.softmax([1e4, 0.0, -np.inf]).tolist() == [1.0, 0.0, 0.0]
    assert fj.nn.log_softmax([1e4, 0.0]).tolist() == [0.0, -1e4]
    assert fj.nn.logsumexp([-np.inf, -np.inf]).item() == -np.inf
    assert fj.nn.logsumexp([1e4, np.inf]).item() == np.inf
    assert fj.nn.logsumexp(LOGITS, 0, keepdims=True).shape == (1, 3)


def test_cross_entropies() -> None:
    labels = np.array([0, 2, 1, 1])
    dense = np.eye(3)[labels]
    expected = -np.log(definition_of_softmax(LOGITS, -1))[np.arange(4), labels]
    losses = [
        fj.nn.softmax_cross_entropy_with_logits(labels=dense, logits=LOGITS),
        fj.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=LOGITS),
    ]
    for loss in losses:
        np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)
    grad = fj.gradients_function(
        lambda x: fj.sum(fj.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x))
    )
    difference = definition_of_softmax(LOGITS, -1) - dense
    np.testing.assert_allclose(grad(LOGITS)[0].numpy(), difference, atol=1e-14)


def test_sigmoid_cross_entropy() -> None:
    p = 1 / (1 + np.exp(-LOGITS))
    labels = np.random.default_rng(0).uniform(size=LOGITS.shape)
    expected = -labels * np.log(p) - (1 - labels) * np.log(1 - p)
    found = fj.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=LOGITS)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    extreme = fj.nn.sigmoid_cross_entropy_with_logits(labels=[1.0, 0.0], logits=[1e4, -1e4])
    assert extreme.tolist() == [0.0, 0.0]
