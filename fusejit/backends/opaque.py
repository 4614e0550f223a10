"""Ops that NumPy runs inside a plan."""

from __future__ import annotations

import numpy as np

from ..ir.graph import Node
from ..op import Array
from ..scalar import BOOL
from .plan import Opaque


def by_numpy(node: Node) -> Opaque:
    """The step of a node that has no kernel."""
    count = len(node.inputs)

    def call(*arrays: Array) -> None:
        with np.errstate(all="ignore"):
            result = node.op.by_numpy(list(arrays[:count]), node.params)
        results = result if isinstance(result, tuple) else (result,)
        for target, value in zip(arrays[count:], results, strict=True):
            np.copyto(target, value, casting="no" if target.dtype != BOOL else "unsafe")

    return Opaque(node.op.name, call)
