"""Serial numbers of Tensors, by which tapes know them, and which Tensors have gradients at all."""

from __future__ import annotations

import itertools

from ..dtypes import kind_of
from ..scalar import DType
from ..tensor import Tensor


def is_differentiable(dtype: DType) -> bool:
    """Whether values of this dtype have gradients: floats and complex numbers do."""
    return kind_of(dtype) in "fc"


_serial = itertools.count()


def next_tag() -> int:
    """A serial number greater than all those given before."""
    return next(_serial)


def tag_of(tensor: Tensor) -> int:
    """The serial number of `tensor`, given when first asked for."""
    if tensor._tag is None:
        tag = next_tag()
        if tensor._tag is None:  # no thread comes between these lines, see `dispatch.push`
            tensor._tag = tag
    return tensor._tag
