"""What the capture tests share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import optree

import fusejit as fj


def same(a: Any, b: Any) -> bool:
    """Equal nesting; Tensors of the same dtype, shape and bits; other leaves of the same type."""
    flat, tree = optree.tree_flatten(a, none_is_leaf=True)
    other, other_tree = optree.tree_flatten(b, none_is_leaf=True)
    return tree == other_tree and all(map(_same_leaf, flat, other))


def _same_leaf(a: Any, b: Any) -> bool:
    if isinstance(a, fj.Tensor) and isinstance(b, fj.Tensor):
        x, y = a.numpy(), b.numpy()
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    return type(a) is type(b) and bool(a == b)


@contextmanager
def one_eager_warning() -> Iterator[list[str]]:
    """Exactly one EagerWarning is given inside the block; the list then holds its text."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts.extend(str(w.message) for w in caught if issubclass(w.category, fj.EagerWarning))
    others = [str(w.message) for w in caught if not issubclass(w.category, fj.EagerWarning)]
    assert len(texts) == 1, (texts, others)


def follows(f: Any, calls: list[tuple[Any, ...]], traces: int) -> None:
    """Three rounds of calls give what eager gives, bit for bit, in so many recordings."""
    for _ in range(3):
        for args in calls:
            assert same(f(*args), f.eager(*args)), args
    assert f.num_traces == traces


Body = Callable[..., Any]
X = fj.constant([1.0, 2.0, -3.0])
ARRAY = np.array([1.0, 2.0, -3.0], np.float32)
