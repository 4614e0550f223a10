"""Connectionist temporal classification (Graves et al., 2006), in the log domain."""

from __future__ import annotations

import math

from ..errors import DTypeError, ShapeError
from ..operators import ArrayLike
from ..ops.choose import where
from ..ops.compare import not_equal
from ..ops.creation import arange, full, full_like
from ..ops.index import take_along_axis
from ..ops.join import concat, stack
from ..ops.shape import expand_dims, reshape
from ..ops.transcendental import logaddexp
from ..tensor import Tensor, asarray
from .activations import log_softmax, logsumexp

# The logarithm of a probability of nothing. Not -inf, whose differences are NaN in gradients.
_NEVER = -1e30
_IMPOSSIBLE = -1e29  # below this an alignment has met _NEVER


def ctc_loss(
    *,
    labels: ArrayLike,
    logits: ArrayLike,
    label_lengths: ArrayLike | None = None,
    logit_lengths: ArrayLike | None = None,
    blank: int = 0,
) -> Tensor:
    """-log of the probability that `labels` is what is read off `logits`: one loss for each row.

    A label is read where consecutive frames say it; repeats count once, unless a blank is between.
    The sum over all such alignments takes time * labels steps of work; each frame is one step of
    Python when recorded, and none when replayed.

    Args:
        labels: class numbers, int[batch, length]; what lies beyond a row's length is ignored.
        logits: float[batch, time, classes], unnormalised.
        label_lengths: int[batch]; default all of `length`.
        logit_lengths: int[batch], at least 1; default all of `time`.
        blank: the class that stands for no label.
    Returns:
        float[batch]; infinite, with a gradient of 0, where the labels do not fit into the frames.
    Raises:
        DTypeError: labels are no integers.
        ShapeError: the shapes do not fit.
    Example:
        >>> import fusejit as fj
        >>> loss = fj.nn.ctc_loss(labels=[[1]], logits=fj.zeros((1, 2, 2)))
        >>> round(float(fj.exp(-loss)[0]), 4)  # 11, 1-, -1 of four
        0.75
    """
    labels, logits = asarray(labels), asarray(logits)
    _check(labels, logits, blank)
    batch, length = labels.shape
    time = logits.shape[1]
    count = _lengths("label_lengths", label_lengths, batch, length)
    frames = _lengths("logit_lengths", logit_lengths, batch, time)
    labels = where(expand_dims(arange(length), 0) < expand_dims(count, 1), labels, blank)
    states = _with_blanks(labels, blank)
    # A label may follow another without a blank between, unless it is the same one.
    skips = concat([full((batch, 2), False), not_equal(states[:, 2:], states[:, :-2])], axis=1)
    skips = skips & not_equal(states, blank)
    scores = take_along_axis(log_softmax(logits), expand_dims(states, 1), axis=2)

    places = expand_dims(arange(2 * length + 1), 0)
    alpha = where(places < 2, scores[:, 0], _NEVER)
    for t in range(1, time):
        alpha = where(expand_dims(frames, 1) > t, _step(alpha, skips) + scores[:, t], alpha)
    # The last frame says the last label, or the blank after it.
    last = expand_dims(2 * count, 1)
    ends = where((places == last) | (places == last - 1), alpha, _NEVER)
    total = logsumexp(ends, 1)
    return where(total < _IMPOSSIBLE, math.inf, -total)


def _step(alpha: Tensor, skips: Tensor) -> Tensor:
    """Log probabilities of having come to each state: from itself, its neighbour or the next."""
    found = logaddexp(alpha, _shifted(alpha, 1))
    return logaddexp(found, where(skips, _shifted(alpha, 2), _NEVER))


def _shifted(x: Tensor, by: int) -> Tensor:
    by = min(by, x.shape[1])
    return concat([full_like(x[:, :by], _NEVER), x[:, : x.shape[1] - by]], axis=1)


def _with_blanks(labels: Tensor, blank: int) -> Tensor:
    """blank, first label, blank, second label, ..., blank: [batch, 2 * length + 1]."""
    batch, length = labels.shape
    blanks = full_like(labels, blank)
    pairs = reshape(stack([blanks, labels], axis=2), (batch, 2 * length))
    return concat([pairs, full((batch, 1), blank, dtype=labels.dtype)], axis=1)


def _lengths(name: str, given: ArrayLike | None, batch: int, default: int) -> Tensor:
    if given is None:
        return full((batch,), default)
    lengths = asarray(given)
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise ShapeError(f"ctc_loss: expected {name} of i64[{batch}], got {lengths.type}.")
    return lengths


def _check(labels: Tensor, logits: Tensor, blank: int) -> None:
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"ctc_loss: expected integer labels, got {labels.type}.")
    if labels.ndim != 2 or logits.ndim != 3 or labels.shape[0] != logits.shape[0]:
        raise ShapeError(
            "ctc_loss: expected labels [batch, length] and logits [batch, time, classes], got "
            f"labels {labels.type} and logits {logits.type}; for time first, transpose the logits."
        )
    if not logits.shape[1]:
        raise ShapeError(f"ctc_loss: expected at least one frame, got logits {logits.type}.")
    if not 0 <= blank < logits.shape[2]:
        raise ShapeError(f"ctc_loss: blank is {blank}, but there are {logits.shape[2]} classes.")
