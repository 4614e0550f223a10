"""Embedding: a vector for each number."""

from __future__ import annotations

from typing import Any

from ..errors import DTypeError
from ..operators import ArrayLike
from ..ops.pick import take
from ..tensor import Tensor, asarray
from ..variable import Variable
from .initializers import Initializer, Normal
from .layer import Layer
from .regularizers import Regularizer


class Embedding(Layer):
    """The rows of a table that integers number.

    Args:
        vocabulary: how many rows there are.
        units: the extent of a row.
        initializer: a name or a function, see `fj.layers.INITIALIZERS`; default normal numbers of
            standard deviation 1, as for one-hot rows times a matrix.
        regularizer: a penalty on the table, such as `fj.layers.L2(1e-4)`.
        dtype: of the table.
    Shapes:
        int[...] -> [..., units]; table [vocabulary, units].
    Raises:
        DTypeError: the input holds no integers.
        IndexError: a number is not below `vocabulary`. (Negative ones count from the end.)
    Example:
        >>> import fusejit as fj
        >>> layer = fj.layers.Embedding(100, 8)
        >>> layer([[3, 1, 4]]).shape
        (1, 3, 8)
    """

    table: Variable

    def __init__(
        self,
        vocabulary: int,
        units: int,
        *,
        initializer: str | Initializer = Normal(1.0),  # noqa: B008 - frozen
        regularizer: Regularizer | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self.vocabulary = vocabulary
        self.units = units
        self.initializer = initializer
        self.regularizer = regularizer

    def make_variables(self, *_: Any) -> None:
        self.add_variable(
            "table", (self.vocabulary, self.units), self.initializer, regularizer=self.regularizer
        )

    def call(self, ids: ArrayLike) -> Tensor:
        ids = asarray(ids)
        if ids.dtype.kind not in "iu":
            raise DTypeError(
                f"{self._label}: expected integers below {self.vocabulary}, got {ids.type}; "
                "cast them with astype if they are whole."
            )
        return take(self.table, ids, axis=0)
