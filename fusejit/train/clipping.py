"""Gradients that are kept from being too long."""

from __future__ import annotations

from collections.abc import Sequence

from ..operators import ArrayLike
from ..ops.arithmetic import sqrt
from ..ops.cast import astype
from ..ops.choose import maximum
from ..ops.reduce import sum as _sum
from ..tensor import Tensor, asarray


def global_norm(gradients: Sequence[Tensor | None]) -> Tensor:
    """The length of all gradients together: the square root of the sum of all squares.

    Example:
        >>> import fusejit as fj
        >>> float(fj.train.global_norm([fj.constant([3.0]), fj.constant([[4.0]])]))
        5.0
    """
    squares = [_sum(g * g) for g in gradients if g is not None]
    return sqrt(sum(squares, start=asarray(0.0)))


def clip_by_global_norm(
    gradients: Sequence[Tensor | None], limit: ArrayLike
) -> list[Tensor | None]:
    """The gradients scaled down, all alike, so that `global_norm` of them is at most `limit`.

    None, which stands for no gradient, stays None. Pascanu et al., 2013
    (https://arxiv.org/abs/1211.5063), algorithm 1.

    Example:
        >>> import fusejit as fj
        >>> clipped = fj.train.clip_by_global_norm([fj.constant([3.0, 4.0])], 1.0)
        >>> [round(x, 4) for x in clipped[0].tolist()]
        [0.6, 0.8]
    """
    limit = asarray(limit)
    norm = global_norm(gradients)
    scale = limit / maximum(norm, limit)
    return [None if g is None else g * astype(scale, g.dtype) for g in gradients]
