"""Metrics: what is averaged over many batches. Their state is in Variables, so that updating one
inside a decorated training step is part of its plan."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..operators import ArrayLike
from ..ops.cast import astype
from ..ops.compare import equal
from ..ops.reduce import mean
from ..ops.reduce import sum as _sum
from ..ops.shape import broadcast_to
from ..ops.sorting import argmax
from ..ops.transcendental import exp
from ..tensor import Tensor, asarray
from ..variable import Variable


def accuracy(*, labels: ArrayLike, logits: ArrayLike) -> Tensor:
    """The fraction of places where the greatest of `logits`, along the last axis, is the label.

    Args:
        labels: class numbers, of the shape of `logits` without its last axis; or probabilities of
            the shape of `logits`, whose greatest is meant.
        logits: any scores; the last axis is the classes'.
    Raises:
        ShapeError: the shapes do not fit.
    Example:
        >>> import fusejit as fj
        >>> float(fj.nn.accuracy(labels=[1, 1], logits=[[0.0, 1.0], [1.0, 0.0]]))
        0.5
    """
    return mean(astype(_hits(labels, logits), "float32"))


def _hits(labels: ArrayLike, logits: ArrayLike) -> Tensor:
    labels, logits = asarray(labels), asarray(logits)
    if labels.shape == logits.shape and labels.ndim and labels.dtype.kind == "f":
        labels = argmax(labels, axis=-1)
    if labels.shape != logits.shape[:-1]:
        raise ShapeError(
            "accuracy: expected labels of the shape of logits without its last axis, got labels "
            f"{labels.type} and logits {logits.type}."
        )
    return equal(argmax(logits, axis=-1), labels)


class Metric:
    """A weighted mean over all that it is updated with: the base of metrics.

    A subclass says in `values` what one batch contributes, and may change `result`. The sums are
    float64: float32 would stop to count at 16,777,216.
    """

    def __init__(self) -> None:
        self.total = Variable(0.0, name="total", trainable=False, dtype="float64")
        self.weight = Variable(0.0, name="weight", trainable=False, dtype="float64")

    def values(self, *args: Any, **kwargs: Any) -> ArrayLike:
        """One number for each example in the batch, of any shape."""
        raise NotImplementedError

    def update(self, *args: Any, weights: ArrayLike = 1.0, **kwargs: Any) -> None:
        """Count a batch; arguments as those of `values`.

        Args:
            weights: how much each example counts, of a shape that broadcasts to the values': a mask
                of what is padding, for example.
        """
        values = astype(self.values(*args, **kwargs), "float64")
        weights = broadcast_to(astype(asarray(weights), "float64"), values.shape)
        self.total.assign_add(_sum(values * weights))
        self.weight.assign_add(_sum(weights))

    def result(self) -> Tensor:
        """The mean so far; NaN before the first update."""
        return self.total.read() / self.weight

    def reset(self) -> None:
        """Start anew, as at the beginning of an epoch."""
        self.total.assign(0.0)
        self.weight.assign(0.0)

    def named_variables(self) -> dict[str, Variable]:
        """What a checkpoint keeps."""
        return {"total": self.total, "weight": self.weight}


class Mean(Metric):
    """The mean of numbers, of losses for example.

    Example:
        >>> import fusejit as fj
        >>> mean = fj.nn.Mean()
        >>> mean.update([1.0, 2.0])
        >>> mean.update(6.0)
        >>> float(mean.result())
        3.0
    """

    def values(self, values: ArrayLike) -> ArrayLike:
        """The numbers themselves."""
        return values


class Accuracy(Metric):
    """The fraction of examples whose greatest logit is that of the label; see `accuracy`.

    Example:
        >>> import fusejit as fj
        >>> metric = fj.nn.Accuracy()
        >>> metric.update(labels=[1, 1], logits=[[0.0, 1.0], [1.0, 0.0]])
        >>> float(metric.result())
        0.5
    """

    def values(self, *, labels: ArrayLike, logits: ArrayLike) -> ArrayLike:
        """1 for each example that is right, 0 for the others."""
        return _hits(labels, logits)


class Perplexity(Metric):
    """exp of the mean of losses in nats: among how many equally likely words a model is left.

    Example:
        >>> import fusejit as fj
        >>> metric = fj.nn.Perplexity()
        >>> logits = fj.zeros((2, 8))
        >>> metric.update(
        ...     fj.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 5], logits=logits)
        ... )
        >>> round(float(metric.result()), 4)
        8.0
    """

    def values(self, losses: ArrayLike) -> ArrayLike:
        """The losses, one for each word."""
        return losses

    def result(self) -> Tensor:
        """exp of the mean loss so far."""
        return exp(super().result())
