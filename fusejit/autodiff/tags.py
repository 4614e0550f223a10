"""Serial numbers of Tensors, by which tapes know them, and which Tensors have gradients at all."""

from __future__ import annotations

import itertools
import threading

from ..dtypes import kind_of
from ..scalar import DType
from ..tensor import Tensor


def is_differentiable(dtype: DType) -> bool:
    """Whether values of this dtype have gradients: floats and complex numbers do."""
    return kind_of(dtype) in "fc"


_serial = itertools.count()
_tagging = threading.Lock()


def next_tag() -> int:
    """A serial number greater than all those given before."""
    return next(_serial)


def tag_of(tensor: Tensor) -> int:
    """The serial number of `tensor`, given when first asked for."""
    if tensor._tag is None:
        with _tagging:  # two threads may read one Variable for the first time
            if tensor._tag is None:
                tensor._tag = next_tag()
    assert tensor._tag is not None
    return tensor._tag
