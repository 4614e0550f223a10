"""Losses. What they compare is given by keyword, so that labels and predictions are not mixed up.

Cross entropies and divergences give one loss for each distribution. Errors give the mean over
`axis`: over everything by default, over nothing for `axis=()`.
"""

from __future__ import annotations

from ..errors import DTypeError, ShapeError
from ..operators import ArrayLike
from ..ops.arithmetic import abs_, square
from ..ops.choose import where
from ..ops.index import take_along_axis
from ..ops.reduce import Axis, mean
from ..ops.reduce import sum as _sum
from ..ops.shape import expand_dims, squeeze
from ..ops.transcendental import log
from ..tensor import Tensor, asarray
from .activations import log_softmax, softplus


def softmax_cross_entropy_with_logits(
    *, labels: ArrayLike, logits: ArrayLike, axis: int = -1
) -> Tensor:
    """-sum(labels * log_softmax(logits)) along `axis`: one loss for each distribution of `labels`.

    Args:
        labels: probabilities that sum to 1 along `axis`, of the shape of `logits`.
        logits: unnormalised logarithms of probabilities.
        axis: the axis of the classes.
    Raises:
        ShapeError: the shapes differ.
    Example:
        >>> import fusejit as fj
        >>> loss = fj.nn.softmax_cross_entropy_with_logits(labels=[0.0, 1.0], logits=[0.0, 0.0])
        >>> round(float(loss), 4)
        0.6931
    """
    labels, logits = asarray(labels), asarray(logits)
    if labels.shape != logits.shape:
        raise ShapeError(
            f"softmax_cross_entropy_with_logits: expected one shape, got labels {labels.type} and "
            f"logits {logits.type}; for class numbers use sparse_softmax_cross_entropy_with_logits."
        )
    return -_sum(labels * log_softmax(logits, axis), axis)


def sparse_softmax_cross_entropy_with_logits(*, labels: ArrayLike, logits: ArrayLike) -> Tensor:
    """-log_softmax(logits)[..., label]: one loss for each class number in `labels`.

    Args:
        labels: integers from 0 to classes - 1, of the shape of `logits` without its last axis.
        logits: unnormalised logarithms of probabilities; the last axis is the classes'.
    Raises:
        DTypeError: the labels are no integers.
        ShapeError: the shapes do not fit.
    Example:
        >>> import fusejit as fj
        >>> loss = fj.nn.sparse_softmax_cross_entropy_with_logits(labels=[1], logits=[[0.0, 0.0]])
        >>> loss.shape
        (1,)
    """
    labels, logits = asarray(labels), asarray(logits)
    if labels.dtype.kind not in "iu":
        raise DTypeError(
            "sparse_softmax_cross_entropy_with_logits: expected integer labels, got "
            f"{labels.type}; for probabilities use softmax_cross_entropy_with_logits."
        )
    if labels.shape != logits.shape[:-1]:
        raise ShapeError(
            "sparse_softmax_cross_entropy_with_logits: expected labels of the shape of logits "
            f"without its last axis, got labels {labels.type} and logits {logits.type}."
        )
    picked = take_along_axis(log_softmax(logits), expand_dims(labels, -1), axis=-1)
    return -squeeze(picked, -1)


def sigmoid_cross_entropy_with_logits(*, labels: ArrayLike, logits: ArrayLike) -> Tensor:
    """-labels log(sigmoid(logits)) - (1 - labels) log(1 - sigmoid(logits)), element by element.

    Example:
        >>> import fusejit as fj
        >>> fj.nn.sigmoid_cross_entropy_with_logits(labels=[1.0], logits=[1e4]).tolist()
        [0.0]
    """
    labels, logits = asarray(labels), asarray(logits)
    return softplus(logits) - labels * logits


def mean_squared_error(*, labels: ArrayLike, predictions: ArrayLike, axis: Axis = None) -> Tensor:
    """The mean of (predictions - labels)**2 over `axis`.

    Args:
        labels: what was to be predicted.
        predictions: of the shape of `labels`.
        axis: the axes of the mean: all if None, () for one number for each element.
    Raises:
        ShapeError: the shapes differ; they are not broadcast, which here is nearly always a slip.
    Example:
        >>> import fusejit as fj
        >>> float(fj.nn.mean_squared_error(labels=[1.0, 2.0], predictions=[1.0, 4.0]))
        2.0
    """
    return mean(square(_difference("mean_squared_error", labels, predictions)), axis)


def mean_absolute_error(*, labels: ArrayLike, predictions: ArrayLike, axis: Axis = None) -> Tensor:
    """The mean of |predictions - labels| over `axis`; arguments as for `mean_squared_error`.

    Example:
        >>> import fusejit as fj
        >>> float(fj.nn.mean_absolute_error(labels=[1.0, 2.0], predictions=[1.0, 4.0]))
        1.0
    """
    return mean(abs_(_difference("mean_absolute_error", labels, predictions)), axis)


def huber_loss(
    *, labels: ArrayLike, predictions: ArrayLike, delta: float = 1.0, axis: Axis = None
) -> Tensor:
    """The mean over `axis` of d**2 / 2 where |d| <= delta, else delta * (|d| - delta / 2).

    d is predictions - labels: a square near zero, and straight lines, which outliers do not bend
    (Huber, 1964). Arguments as for `mean_squared_error`.

    Example:
        >>> import fusejit as fj
        >>> fj.nn.huber_loss(labels=[0.0, 0.0], predictions=[1.0, 3.0], axis=()).tolist()
        [0.5, 2.5]
    """
    size = abs_(_difference("huber_loss", labels, predictions))
    return mean(where(size <= delta, 0.5 * square(size), delta * (size - 0.5 * delta)), axis)


def kl_divergence(*, labels: ArrayLike, predictions: ArrayLike, axis: int = -1) -> Tensor:
    """sum(labels * log(labels / predictions)) along `axis`: how far predictions are from labels.

    Terms whose label is 0 are 0, in the gradient as well.

    Args:
        labels: probabilities that sum to 1 along `axis`.
        predictions: probabilities, of the shape of `labels`.
        axis: the axis of the classes.
    Raises:
        ShapeError: the shapes differ.
    Example:
        >>> import fusejit as fj
        >>> found = fj.nn.kl_divergence(labels=[0.0, 1.0], predictions=[0.5, 0.5])
        >>> round(float(found), 4)
        0.6931
    """
    labels, predictions = asarray(labels), asarray(predictions)
    _difference("kl_divergence", labels, predictions)
    present = labels > 0
    # 1 in both places where nothing is to be counted: a logarithm of 0 would spoil the gradient.
    ratio = log(where(present, labels, 1)) - log(where(present, predictions, 1))
    return _sum(labels * ratio, axis)


def _difference(name: str, labels: ArrayLike, predictions: ArrayLike) -> Tensor:
    labels, predictions = asarray(labels), asarray(predictions)
    if labels.shape != predictions.shape:
        raise ShapeError(
            f"{name}: expected one shape, got labels {labels.type} and predictions "
            f"{predictions.type}; reshape one of them, or broadcast it yourself."
        )
    return predictions - labels
