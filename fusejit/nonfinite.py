"""FUSEJIT_DEBUG_NANS=1: the first op that makes a NaN or an infinity is an error.

An op makes one if a result has one and no operand had: what is passed on was made earlier, or comes
from the user. Decorated functions run eagerly meanwhile, since a kernel of many ops does not show
which of them it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .device import on_host
from .errors import NonFiniteError
from .op import Array, Op
from .origin import Origin, user_origin, where


def refuse_non_finite(op: Op, arrays: Sequence[Array], results: Sequence[Array]) -> None:
    """NonFiniteError if `op` made a NaN or an infinity of `arrays`, all of which were finite."""
    arrays, results = list(map(on_host, arrays)), list(map(on_host, results))
    found = next((result for result in results if not _is_finite(result)), None)
    if found is None or not all(map(_is_finite, arrays)):
        return
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
    at = f" at {list(index)} of shape {list(found.shape)}" if index else ""
    of = _operands_at(arrays, found, index)
    raise NonFiniteError(f"{op.name} ({where(user_origin())}) makes {found[index]}{at}{of}.")


def naming(op: Op, origin: Origin | None, backward: Callable[..., Any]) -> Callable[..., Any]:
    """`backward`, whose errors of this kind say whose gradient it is."""

    def named(*args: Any) -> Any:
        try:
            return backward(*args)
        except NonFiniteError as error:
            text = f"in the gradient of {op.name} ({where(origin)}): {error}"
            raise NonFiniteError(text) from error

    return named


def _is_finite(array: Array) -> bool:
    return array.dtype.kind in "biu" or bool(np.isfinite(array).all())


def _operands_at(arrays: Sequence[Array], result: Array, index: tuple[int, ...]) -> str:
    """', of 100.0 and 2.0' where the operands have an element for each of the result's."""
    try:
        values = [np.broadcast_to(array, result.shape)[index] for array in arrays]
    except ValueError:
        return ""
    return f", of {' and '.join(map(str, values))}" if values else ""
