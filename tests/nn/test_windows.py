"""Convolution, pooling, normalisation and attention as functions: definitions and gradients."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.testing import check_gradients

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(2, 6, 5, 4))


def definition(x: Any, kernel: Any, strides: Any, dilations: Any, pads: Any, groups: int) -> Any:
    """The convolution, one number at a time."""
    x = np.pad(x, [(0, 0), *pads, (0, 0)])
    *window, inner, filters = kernel.shape
    spans = [(w - 1) * d + 1 for w, d in zip(window, dilations, strict=True)]
    counts = [(n - s) // step + 1 for n, s, step in zip(x.shape[1:-1], spans, strides, strict=True)]
    y = np.zeros((x.shape[0], *counts, filters))
    for place in itertools.product(*map(range, counts)):
        for w in itertools.product(*map(range, window)):
            at = [p * s + i * d for p, s, i, d in zip(place, strides, w, dilations, strict=True)]
            seen = x[(slice(None), *at)]
            for f in range(filters):
                first = f // (filters // groups) * inner
                y[(slice(None), *place, f)] += seen[:, first : first + inner] @ kernel[w][:, f]
    return y


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("padding", ["valid", "same", "causal", ((1, 0), (0, 2))])
@pytest.mark.parametrize(("strides", "dilations"), [((1, 1), (1, 1)), ((2, 1), (1, 2))])
def test_convolution(groups: int, padding: Any, strides: Any, dilations: Any) -> None:
    kernel = RNG.normal(size=(3, 2, 4 // groups, 8))
    spans = [(w - 1) * d + 1 for w, d in zip((3, 2), dilations, strict=True)]
    pads: Any = {"valid": [(0, 0)] * 2, "causal": [(s - 1, 0) for s in spans]}
    if padding == "same":
        totals = [
            max((-(-n // step) - 1) * step + span - n, 0)
            for n, step, span in zip((6, 5), strides, spans, strict=True)
        ]
        pads = [(total // 2, total - total // 2) for total in totals]
    else:
        pads = pads[padding] if isinstance(padding, str) else padding
    found = fj.nn.convolution(
        IMAGE, kernel, strides=strides, padding=padding, dilations=dilations, groups=groups
    )
    expected = definition(IMAGE, kernel, strides, dilations, pads, groups)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    if padding == "same":
        assert found.shape[1:3] == tuple(-(-n // s) for n, s in zip((6, 5), strides, strict=True))


@pytest.mark.parametrize("rank", [1, 3])
def test_convolution_over_other_numbers_of_axes(rank: int) -> None:
    x = RNG.normal(size=(2, *[4] * rank, 3))
    kernel = RNG.normal(size=(*[2] * rank, 3, 2))
    expected = definition(x, kernel, [1] * rank, [1] * rank, [(0, 0)] * rank, 1)
    np.testing.assert_allclose(fj.nn.convolution(x, kernel).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gradients_of_convolution(groups: int) -> None:
    kernel = RNG.normal(size=(3, 2, 4 // groups, 4))
    check_gradients(
        lambda x, k: fj.nn.convolution(x, k, strides=2, padding="same", groups=groups),
        IMAGE,
        kernel,
    )


def test_gradients_of_pooling() -> None:
    for pool in (fj.nn.max_pool, fj.nn.average_pool):
        check_gradients(lambda x, pool=pool: pool(x, 3, strides=2, padding="same"), IMAGE)


def test_pooling_at_the_edges() -> None:
    x = np.array([1.0, -2.0, np.nan, -3.0, -4.0]).reshape(1, 5, 1)
    found = fj.nn.max_pool(x, 2, padding="same")[0, :, 0].tolist()
    assert found[0] == 1.0 and np.isnan(found[1]) and found[2] == -4.0
    mean = fj.nn.average_pool(np.arange(5.0).reshape(1, 5, 1), 2, padding="same")
    assert mean[0, :, 0].tolist() == [0.5, 2.5, 4.0]


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: fj.nn.convolution(IMAGE, np.ones((3, 3, 3, 1))), fj.ShapeError,
         r"convolution: expected x .*got f64\[2,6,5,4\] and f64\[3,3,3,1\] with groups 1"),
        (lambda: fj.nn.convolution(IMAGE, np.ones((4, 1))), fj.ShapeError, "a kernel"),
        (lambda: fj.nn.convolution(IMAGE, np.ones((7, 1, 4, 1))), fj.ShapeError,
         r"a window over \[7, 1\] places does not fit into \[6, 5\] with padding 'valid'"),
        (lambda: fj.nn.convolution(IMAGE, np.ones((1, 1, 4, 1)), padding=(1,)), fj.ShapeError,
         "expected padding for 2 axes"),
        (lambda: fj.nn.max_pool(IMAGE.astype(int), 2), fj.DTypeError, "max_pool: expected floats"),
        (lambda: fj.nn.max_pool([[1.0]], 2), fj.ShapeError, r"expected \[batch, \*extents"),
        (lambda: fj.nn.attention([1.0], [1.0], [1.0]), fj.ShapeError, "attention: expected query"),
    ],
)  # fmt: skip
def test_errors(run: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        run()


def test_normalize_and_moments() -> None:
    y = fj.nn.normalize(IMAGE, (1, 2), epsilon=0.0).numpy()
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var((1, 2)), 1, rtol=1e-12)
    mean, variance = fj.nn.moments(IMAGE, 0)
    np.testing.assert_allclose(mean.numpy(), IMAGE.mean(0, keepdims=True))
    np.testing.assert_allclose(variance.numpy(), IMAGE.var(0, keepdims=True))
    check_gradients(lambda x, s, b: fj.nn.layer_norm(x, s, b), IMAGE, np.ones(4), np.ones(4))


def test_attention() -> None:
    q, k, v = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 5, 4)), RNG.normal(size=(2, 5, 6))
    scores = q @ k.transpose(0, 2, 1) / 2
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(fj.nn.attention(q, k, v).numpy(), weights @ v, atol=1e-12)
    check_gradients(lambda q, k, v: fj.nn.attention(q, k, v, causal=True), q, k, v)


def test_a_query_that_may_see_nothing() -> None:
    x = RNG.normal(size=(2, 4))
    mask = np.array([[False, False], [True, True]])
    f = lambda x: fj.nn.attention(x, x, x, mask=mask)  # noqa: E731
    assert f(x)[0].tolist() == [0.0] * 4
    assert np.isfinite(fj.gradients_function(f)(x)[0].numpy()).all()
