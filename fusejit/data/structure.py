"""Elements of datasets: arrays, and tuples and dicts of arrays, nested as one likes.

A list is an array, as it is for `fj.asarray`. On the way through a dataset the leaves are ndarrays;
`Iterator` makes Tensors of them at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..op import Array
from ..tensor import Tensor, asarray
from ..variable import Variable

Element: TypeAlias = Any


def map_leaves(f: Callable[..., Any], *elements: Element) -> Element:
    """Elements of one structure with f(leaf of each) in place of the leaves."""
    first = elements[0]
    if isinstance(first, dict):
        return {key: map_leaves(f, *(e[key] for e in elements)) for key in first}
    if isinstance(first, tuple):
        parts = [map_leaves(f, *each) for each in zip(*elements, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    return f(*elements)


def leaves(element: Element) -> list[Any]:
    """The leaves from left to right."""
    found: list[Any] = []
    map_leaves(found.append, element)
    return found


def as_array(leaf: Any) -> Array:
    """An ndarray; numbers and lists as fusejit takes them: a Python float is a float32."""
    if isinstance(leaf, np.ndarray):
        return leaf
    if isinstance(leaf, (Tensor, Variable)):
        return leaf.numpy()
    if isinstance(leaf, (np.generic, str, bytes)):
        return np.asarray(leaf)
    return asarray(leaf).numpy()


def as_tensor(leaf: Any) -> Any:
    """A Tensor; text, of which there are none, stays as it is."""
    if isinstance(leaf, Tensor) or getattr(leaf, "dtype", np.dtype(float)).kind in "USO":
        return leaf
    return asarray(leaf)


def stacked(elements: Sequence[Element]) -> Element:
    """One element whose leaves have the leaves of `elements` along a new first axis."""
    return map_leaves(lambda *parts: np.stack([as_array(p) for p in parts]), *elements)


def joined(chunks: Sequence[Element]) -> Element:
    """Stacked elements, one after the other along their first axis."""
    if len(chunks) == 1:
        return chunks[0]
    return map_leaves(lambda *parts: np.concatenate(parts), *chunks)
