"""Connectionist temporal classification: all alignments written out, and PyTorch's result."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.testing import check_gradients

RNG = np.random.default_rng(0)
LABELS = np.array([[1, 2, 2], [3, 1, 0], [2, 0, 0], [3, 3, 3]])
LABEL_LENGTHS = np.array([3, 2, 1, 0])
LOGITS = RNG.normal(size=(4, 6, 4))
LOGIT_LENGTHS = np.array([6, 4, 6, 5])


def loss(logits: Any) -> Any:
    return fj.nn.ctc_loss(
        labels=LABELS,
        logits=logits,
        label_lengths=LABEL_LENGTHS,
        logit_lengths=LOGIT_LENGTHS,
    )


def read(frames: tuple[int, ...]) -> list[int]:
    """What an alignment says: repeats once, then no blanks."""
    return [key for key, _ in itertools.groupby(frames) if key != 0]


def test_it_is_the_sum_over_all_alignments() -> None:
    found = loss(LOGITS).numpy()
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    for row in range(4):
        time, wanted = LOGIT_LENGTHS[row], LABELS[row, : LABEL_LENGTHS[row]].tolist()
        total = sum(
            np.prod([p[row, t, c] for t, c in enumerate(frames)])
            for frames in itertools.product(range(4), repeat=time)
            if read(frames) == wanted
        )
        assert np.exp(-found[row]) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("blank", [0, 3])
def test_against_torch(blank: int) -> None:
    torch = pytest.importorskip("torch")
    labels = LABELS if blank == 0 else np.where(LABELS == 3, 0, LABELS)
    logits = RNG.normal(size=(4, 9, 4)) * 2
    x = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        torch.log_softmax(x, -1).transpose(0, 1),
        torch.tensor(labels),
        torch.tensor(LOGIT_LENGTHS),
        torch.tensor(LABEL_LENGTHS),
        blank=blank,
        reduction="none",
    )

    def ours(logits: Any) -> Any:
        return fj.nn.ctc_loss(
            labels=labels,
            logits=logits,
            label_lengths=LABEL_LENGTHS,
            logit_lengths=LOGIT_LENGTHS,
            blank=blank,
        )

    np.testing.assert_allclose(ours(logits).numpy(), expected.detach().numpy(), rtol=1e-10)
    (gradient,) = torch.autograd.grad(expected.sum(), x)
    found = fj.gradients_function(ours)(logits)[0].numpy()
    np.testing.assert_allclose(found, gradient.numpy(), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        ours(logits.astype(np.float32)).numpy(), expected.detach().numpy(), rtol=1e-5
    )


def test_gradients() -> None:
    check_gradients(loss, LOGITS, order=1)


def test_decorated() -> None:
    decorated = fj.function(fj.value_and_gradients_function(lambda x: fj.sum(loss(x))))
    x = fj.asarray(LOGITS)
    value, (gradient,) = fj.value_and_gradients_function(lambda x: fj.sum(loss(x)))(x)
    for _ in range(3):
        again, (repeated,) = decorated(x)
        assert float(again) == pytest.approx(float(value), rel=1e-12)
        np.testing.assert_allclose(repeated.numpy(), gradient.numpy(), rtol=1e-9, atol=1e-12)
    assert decorated.num_traces == 1


def test_lengths_default_to_all() -> None:
    whole = fj.nn.ctc_loss(labels=LABELS[:1], logits=LOGITS[:1])
    assert float(whole[0]) == pytest.approx(float(loss(LOGITS)[0]))


def test_labels_that_do_not_fit_into_the_frames() -> None:
    def f(x: Any) -> Any:
        return fj.nn.ctc_loss(labels=[[1, 1]], logits=x)

    assert float(f(np.zeros((1, 2, 2)))[0]) == np.inf  # a blank is needed between
    gradient = fj.gradients_function(f)(np.zeros((1, 2, 2)))[0]
    assert not gradient.numpy().any()


def test_no_overflow_over_many_frames() -> None:
    logits = (np.random.default_rng(1).normal(size=(1, 300, 4)) * 50).astype(np.float32)
    value, (gradient,) = fj.value_and_gradients_function(
        lambda x: fj.nn.ctc_loss(labels=[[1, 2, 3]], logits=x)
    )(logits)
    assert np.isfinite(value.numpy()).all() and np.isfinite(gradient.numpy()).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": [[1.0]]}, fj.DTypeError, "expected integer labels"),
        ({"labels": [1]}, fj.ShapeError, r"labels \[batch, length\].*got labels i64\[1\]"),
        ({"labels": [[1]], "logits": fj.zeros((1, 0, 2))}, fj.ShapeError, "at least one frame"),
        ({"labels": [[1]], "blank": 2}, fj.ShapeError, "blank is 2, but there are 2 classes"),
        ({"labels": [[1]], "label_lengths": [1, 2]}, fj.ShapeError, "label_lengths of i64.1."),
    ],
)
def test_errors(options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fj.nn.ctc_loss(**{"logits": fj.zeros((1, 3, 2)), **options})
