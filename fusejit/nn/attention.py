"""Scaled dot-product attention (Vaswani et al., 2017)."""

from __future__ import annotations

import math

from ..errors import ShapeError
from ..operators import ArrayLike
from ..ops.choose import where
from ..ops.compare import less_equal
from ..ops.creation import arange
from ..ops.matmul import matmul
from ..ops.shape import expand_dims
from ..tensor import Tensor, asarray
from .activations import dropout, softmax

# Not -inf: a query that may see nothing would have NaN for weights, and in all gradients.
_UNSEEN = -1e30


def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    /,
    *,
    mask: ArrayLike | None = None,
    causal: bool = False,
    dropout_rate: float = 0.0,
) -> Tensor:
    """softmax(query @ key.T / sqrt(units)) @ value: for each query a mean of the values.

    Args:
        query: [..., queries, units].
        key: [..., keys, units].
        value: [..., keys, depth].
        mask: bool, broadcast to [..., queries, keys]: True where a query may see a key.
        causal: whether query i sees only keys up to i; both count from the same place.
        dropout_rate: of the weights.
    Returns:
        [..., queries, depth]; 0 for a query that may see nothing.
    Raises:
        ShapeError: the shapes do not fit.
    Example:
        >>> import fusejit as fj
        >>> x = fj.constant([[1.0, 0.0], [0.0, 1.0]])
        >>> fj.nn.attention(x, x, x, causal=True)[0].tolist()
        [1.0, 0.0]
    """
    query, key, value = asarray(query), asarray(key), asarray(value)
    fits = min(query.ndim, key.ndim, value.ndim) >= 2
    if not fits or query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            "attention: expected query [..., queries, units], key [..., keys, units] and value "
            f"[..., keys, depth], got {query.type}, {key.type} and {value.type}."
        )
    scores = matmul(query, key.mT) * (1 / math.sqrt(query.shape[-1]))
    seen = None if mask is None else asarray(mask)
    if causal:
        queries, keys = scores.shape[-2:]
        past = less_equal(expand_dims(arange(keys), 0), expand_dims(arange(queries), 1))
        seen = past if seen is None else seen & past
    if seen is None:
        weights = softmax(scores)
    else:
        weights = where(seen, softmax(where(seen, scores, _UNSEEN)), 0)
    return matmul(dropout(weights, dropout_rate), value)
