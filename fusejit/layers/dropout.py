"""Dropout: in training, some of the inputs at random are 0."""

from __future__ import annotations

from .. import nn
from ..errors import ShapeError
from ..operators import ArrayLike
from ..tensor import Tensor
from .layer import Layer


class Dropout(Layer):
    """In training, each element 0 with probability `rate`, else x / (1 - rate); x itself otherwise.

    (Srivastava et al., 2014.) The random numbers come from `fj.random`, whose state is part of the
    plan of a decorated step.

    Args:
        rate: the probability, at least 0 and below 1.
    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.Dropout(0.5)
        >>> layer([1.0, 2.0]).tolist()
        [1.0, 2.0]
        >>> sorted({float(y) for y in layer(fj.ones(99), training=True)})
        [0.0, 2.0]
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ShapeError(f"Dropout: expected 0 <= rate < 1, got {rate}.")
        self.rate = rate

    def call(self, x: ArrayLike, training: bool = False) -> Tensor:
        return nn.dropout(x, self.rate, training)
