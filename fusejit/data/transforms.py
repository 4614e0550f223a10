"""What is done to the elements of a source on their way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import Array
from .source import Begin, Chunk, Source, State, Wrapper
from .structure import Element, as_array, joined, map_leaves


class Mapped(Wrapper):
    """f of each element; a tuple's parts are f's arguments."""

    def __init__(self, inner: Source, f: Callable[..., Element]) -> None:
        super().__init__(inner)
        self.f = f

    def __next__(self) -> Element:
        element = next(self.inner)
        return self.f(*element) if isinstance(element, tuple) else self.f(element)


class Batched(Wrapper):
    """n elements at a time, stacked; at the end fewer, unless these are to be dropped."""

    def __init__(self, inner: Source, n: int, drop_remainder: bool) -> None:
        super().__init__(inner)
        self.n, self.drop_remainder = n, drop_remainder

    def __next__(self) -> Element:
        found, count = self.inner.many(self.n)
        if self.drop_remainder and count < self.n:
            raise StopIteration
        return found


class Padded(Wrapper):
    """n elements at a time; each leaf is padded at its end to the longest in the batch."""

    def __init__(
        self, inner: Source, n: int, value: float, multiple_of: int, drop_remainder: bool
    ) -> None:
        super().__init__(inner)
        self.n, self.value, self.multiple_of = n, value, multiple_of
        self.drop_remainder = drop_remainder

    def __next__(self) -> Element:
        found = [element for _, element in zip(range(self.n), self.inner, strict=False)]
        if not found or (self.drop_remainder and len(found) < self.n):
            raise StopIteration
        return map_leaves(self._padded, *found)

    def _padded(self, *parts: Any) -> Array:
        arrays = [as_array(part) for part in parts]
        longest = [max(sizes) for sizes in zip(*(a.shape for a in arrays), strict=True)]
        if longest:
            longest[0] += -longest[0] % self.multiple_of
        return _filled(arrays, longest, self.value)


def _filled(arrays: list[Array], shape: list[int], value: float) -> Array:
    found = np.full((len(arrays), *shape), value, arrays[0].dtype)
    for number, array in enumerate(arrays):
        corner: tuple[Any, ...] = tuple(slice(size) for size in array.shape)
        found[(number, *corner)] = array
    return found


class Taken(Wrapper):
    """The first n elements."""

    def __init__(self, inner: Source, n: int) -> None:
        super().__init__(inner)
        self.n, self.taken = n, 0

    def __next__(self) -> Element:
        if self.taken >= self.n:
            raise StopIteration
        element = next(self.inner)
        self.taken += 1
        return element

    def many(self, n: int) -> Chunk:
        if self.taken >= self.n:
            raise StopIteration
        found, count = self.inner.many(min(n, self.n - self.taken))
        self.taken += count
        return found, count

    def state(self) -> State:
        return {"taken": self.taken, **super().state()}

    def restore(self, state: State) -> None:
        self.taken = state["taken"]
        super().restore(state)


class Skipped(Wrapper):
    """All but the first n elements, which are taken when the first of the others is asked for."""

    def __init__(self, inner: Source, n: int) -> None:
        super().__init__(inner)
        self.left = n

    def __next__(self) -> Element:
        self._skip()
        return next(self.inner)

    def many(self, n: int) -> Chunk:
        self._skip()
        return self.inner.many(n)

    def _skip(self) -> None:
        self.inner.pass_over(self.left)
        self.left = 0

    def state(self) -> State:
        return {"left": self.left, **super().state()}

    def restore(self, state: State) -> None:
        self.left = state["left"]
        super().restore(state)


class Zipped(Source):
    """Tuples of one element of each source, until one of them ends."""

    def __init__(self, parts: list[Source]) -> None:
        self.parts = parts

    def __next__(self) -> Element:
        return tuple([next(part) for part in self.parts])

    def many(self, n: int) -> Chunk:
        found = [part.many(n) for part in self.parts]
        count = min(count for _, count in found)
        chunks = tuple([chunk for chunk, _ in found])
        return map_leaves(lambda array: array[:count], chunks), count

    def state(self) -> State:
        return {"parts": [part.state() for part in self.parts]}

    def restore(self, state: State) -> None:
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.restore(saved)

    def close(self) -> None:
        for part in self.parts:
            part.close()


class Repeated(Source):
    """`count` passes one after the other, or passes without end; an empty one ends it."""

    def __init__(self, begin: Begin, count: int | None, first: int) -> None:
        self.begin, self.count, self.first = begin, count, first
        self.number = 0
        self.inner = begin(first)
        self.empty = True

    def __next__(self) -> Element:
        while True:
            try:
                element = next(self.inner)
            except StopIteration:
                self._begin_next()
            else:
                self.empty = False
                return element

    def many(self, n: int) -> Chunk:
        chunks: list[Element] = []
        left = n
        while left:
            try:
                chunk, count = self.inner.many(left)
            except StopIteration:
                try:
                    self._begin_next()
                except StopIteration:
                    break
            else:
                self.empty = False
                chunks.append(chunk)
                left -= count
        if not chunks:
            raise StopIteration
        return joined(chunks), n - left

    def _begin_next(self) -> None:
        if self.empty or (self.count is not None and self.number + 1 >= self.count):
            raise StopIteration
        self.inner.close()
        self._go_to(self.number + 1)
        self.empty = True

    def _go_to(self, number: int) -> None:
        self.number = number
        self.inner = self.begin(self.first + number)

    def state(self) -> State:
        return {"number": self.number, "empty": self.empty, "inner": self.inner.state()}

    def restore(self, state: State) -> None:
        self._go_to(state["number"])
        self.empty = state["empty"]
        self.inner.restore(state["inner"])

    def close(self) -> None:
        self.inner.close()


class Cached(Wrapper):
    """Keeps what it gives; once a pass was complete, `kept` serves all later ones."""

    def __init__(self, inner: Source, kept: list[list[Element]]) -> None:
        super().__init__(inner)
        self.kept = kept  # of the dataset: empty, or the list of all elements
        self.read: list[Element] = []
        self.place = 0

    def __next__(self) -> Element:
        if not self.kept:
            self._read()
        if self.kept:
            self.read = self.kept[0]
        if self.place >= len(self.read):
            raise StopIteration
        self.place += 1
        return self.read[self.place - 1]

    def _read(self) -> None:
        try:
            self.read.append(map_leaves(_own, next(self.inner)))
        except StopIteration:
            self.kept.append(self.read)

    def state(self) -> State:
        return {"place": self.place}

    def restore(self, state: State) -> None:
        if self.kept:
            self.place = state["place"]
        else:
            self.pass_over(state["place"])


def _own(leaf: Any) -> Array:
    """A read-only copy: a map after the cache must not change what the cache keeps."""
    array = as_array(leaf).copy()
    array.flags.writeable = False
    return array
