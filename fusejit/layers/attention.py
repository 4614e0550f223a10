"""Multi-head attention (Vaswani et al., 2017)."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..errors import ShapeError
from ..operators import ArrayLike
from ..ops.shape import expand_dims, permute_dims, reshape
from ..tensor import Tensor, asarray
from .dense import Dense
from .initializers import Shape
from .network import Network


class MultiHeadAttention(Network):
    """For each query means of the values, one for each head, by how well the keys fit.

    Args:
        heads: into how many parts queries, keys and values are cut.
        units: the extent of all heads together; default the query's. `heads` divides it.
        output_units: the last extent of the result; default the query's.
        dropout: rate at which weights are dropped in training.
        use_bias: whether the four projections have biases.
        dtype: of the variables, which inputs are cast to.
    Shapes:
        query [batch, queries, features], key and value [batch, keys, features]
        -> [batch, queries, output_units].
    Raises:
        ShapeError: when built, if `heads` does not divide `units`; when called, if shapes differ.
    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.MultiHeadAttention(heads=4)
        >>> layer(fj.zeros((2, 10, 32)), causal=True).shape
        (2, 10, 32)
    """

    query: Dense
    key: Dense
    value: Dense
    output: Dense

    def __init__(
        self,
        heads: int,
        units: int | None = None,
        *,
        output_units: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        dtype: object = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self.heads = heads
        self.units = units
        self.output_units = output_units
        self.dropout = dropout
        self.use_bias = use_bias

    def make_variables(self, shape: Shape, *_: Any) -> None:
        features = self.features_of(shape)
        units = self.units or features
        if units % self.heads:
            raise ShapeError(
                f"{self._label}: {units} units cannot be cut into {self.heads} equal heads."
            )
        for name in ("query", "key", "value"):
            setattr(self, name, Dense(units, use_bias=self.use_bias, dtype=self.dtype))
        self.output = Dense(self.output_units or features, use_bias=self.use_bias, dtype=self.dtype)

    def call(
        self,
        query: ArrayLike,
        key: ArrayLike | None = None,
        value: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        causal: bool = False,
        training: bool = False,
    ) -> Tensor:
        """Attend from `query` to `value`, by `key`.

        Args:
            query: [batch, queries, features].
            key: [batch, keys, features]; default the value.
            value: [batch, keys, features]; default the query: self-attention.
            mask: bool, True where a query may see a key: [queries, keys] or
                [batch, queries, keys]; for padding [batch, 1, keys].
            causal: whether query i sees keys up to i only.
            training: whether weights are dropped.
        """
        if value is None:
            value = query if key is None else key
        if key is None:
            key = value
        found = nn.attention(
            self._heads(self.query(self.as_input(query, 3))),
            self._heads(self.key(self.as_input(key, 3))),
            self._heads(self.value(self.as_input(value, 3))),
            mask=None if mask is None else self._mask(asarray(mask)),
            causal=causal,
            dropout_rate=self.dropout if training else 0.0,
        )
        batch, heads, queries, depth = found.shape
        together = reshape(permute_dims(found, (0, 2, 1, 3)), (batch, queries, heads * depth))
        joined: Tensor = self.output(together)
        return joined

    def _heads(self, x: Tensor) -> Tensor:
        """[batch, length, units] -> [batch, heads, length, units / heads]."""
        batch, length, units = x.shape
        parts = reshape(x, (batch, length, self.heads, units // self.heads))
        return permute_dims(parts, (0, 2, 1, 3))

    def _mask(self, mask: Tensor) -> Tensor:
        if mask.ndim not in (2, 3):
            raise ShapeError(
                f"{self._label}: expected a mask [queries, keys] or [batch, queries, keys], got "
                f"{mask.type}."
            )
        return mask if mask.ndim == 2 else expand_dims(mask, 1)
