"""What the capture tests share."""

from __future__ import annotations

import dataclasses
import enum
import gc
import sys
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optree

import fusejit as fj
from tests.modes import needs_recordings, needs_replays

TESTS = str(Path(__file__).parent.parent)


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


def close(a: Any, b: Any) -> None:
    """Equal nesting; Tensors of the same type, equal but for the order of sums; other leaves are
    the same objects."""
    flat, tree = optree.tree_flatten(a, none_is_leaf=True)
    other, other_tree = optree.tree_flatten(b, none_is_leaf=True)
    assert tree == other_tree
    for x, y in zip(flat, other, strict=True):
        if isinstance(y, fj.Tensor):
            assert x.type == y.type
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=2e-5, atol=1e-6)
        else:
            assert x is y


@contextmanager
def one_eager_warning() -> Iterator[list[str]]:
    """Exactly one EagerWarning is given inside the block; the list then holds its text."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    needs_recordings()
    texts.extend(str(w.message) for w in caught if issubclass(w.category, fj.EagerWarning))
    others = [str(w.message) for w in caught if not issubclass(w.category, fj.EagerWarning)]
    assert len(texts) == 1, (texts, others)


def frames(call: Callable[[], Any]) -> list[str]:
    """The Python functions that a call runs, itself aside; of calls on a GPU, which Python walks,
    those of the tests."""
    needs_replays()
    seen: list[str] = []
    native = fj.config.device == "cpu"
    mine = call.__code__

    def profile(frame: Any, event: str, arg: Any) -> None:
        looked_at = native or frame.f_code.co_filename.startswith(TESTS)
        if event == "call" and looked_at and frame.f_code is not mine:
            seen.append(frame.f_code.co_qualname)

    gc.disable()  # a callback of the collector is none of the call's functions
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
        gc.enable()
    return seen


def follows(f: Any, calls: list[tuple[Any, ...]], traces: int) -> None:
    """Three rounds of calls give what eager gives, bit for bit, in so many recordings."""
    for _ in range(3):
        for args in calls:
            assert same(f(*args), f.eager(*args)), args
    assert f.num_traces == traces


@dataclasses.dataclass
class Pair:
    left: Any
    right: Any


class Mode(enum.Enum):
    SCALE = 2.0
    SHIFT = 3.0

    def apply(self, x: Any) -> Any:
        return x * self.value if self is Mode.SCALE else x + self.value


Point = namedtuple("Point", ["x", "y"])
Body = Callable[..., Any]
X = fj.constant([1.0, 2.0, -3.0])
Y = fj.constant([0.5, -1.0, 4.0])
ARRAY = np.array([1.0, 2.0, -3.0], np.float32)

Change = Callable[[], Any]
Place = tuple[Body, list[Change]]
"""A function, and changes of what it reads."""


def sees_changes(place: Callable[[], Place]) -> None:
    """Each change is seen at the next call, and what does not change replays."""
    body, changes = place()
    f = fj.function(body)
    before = f.eager(X)
    for _ in range(3):
        assert same(f(X), before)
    assert f.num_traces == 1
    for number, change in enumerate(changes):
        change()
        after = f.eager(X)
        assert not same(after, before), (number, "the change has no effect")
        for _ in range(3):
            assert same(f(X), after), number
        before = after
    assert f.num_traces <= len(changes) + 1
