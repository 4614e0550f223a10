"""A source: one pass over a dataset, which gives elements and can say where it stands.

`state()` is JSON, of a few numbers whatever the dataset's size; `restore(state)` on a source that
was made alike, and has given nothing yet, brings it there. What has no place to jump to, such as a
generator, is read again up to there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from ..op import Array
from .structure import Element, as_array, leaves, map_leaves, stacked

State: TypeAlias = dict[str, Any]
Chunk: TypeAlias = tuple[Element, int]  # elements stacked along a new first axis, and their number
Begin: TypeAlias = "Callable[[int], Source]"  # a dataset's source of the n-th pass over it


class Source:
    """The base: a subclass defines `__next__`, `state` and `restore`."""

    def __iter__(self) -> Iterator[Element]:
        return self

    def __next__(self) -> Element:
        raise NotImplementedError

    def state(self) -> State:
        raise NotImplementedError

    def restore(self, state: State) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of threads and generators."""

    def many(self, n: int) -> Chunk:
        """Up to n elements, stacked; StopIteration if there is none. Some sources do it at once."""
        found = [element for _, element in zip(range(n), self, strict=False)]
        if not found:
            raise StopIteration
        return stacked(found), len(found)

    def pass_over(self, n: int) -> None:
        """Take n elements and forget them."""
        for _ in zip(range(n), self, strict=False):
            pass


class Wrapper(Source):
    """A source that takes from one other."""

    def __init__(self, inner: Source) -> None:
        self.inner = inner

    def state(self) -> State:
        return {"inner": self.inner.state()}

    def restore(self, state: State) -> None:
        self.inner.restore(state["inner"])

    def close(self) -> None:
        self.inner.close()


class Slices(Source):
    """Rows `start` to `stop` of arrays, which are not copied."""

    def __init__(self, arrays: Element, start: int, stop: int) -> None:
        self.arrays, self.start, self.stop = arrays, start, stop
        self.place = start

    def __next__(self) -> Element:
        if self.place >= self.stop:
            raise StopIteration
        place = self.place
        self.place += 1
        return map_leaves(lambda array: array[place], self.arrays)

    def many(self, n: int) -> Chunk:
        start = self.place
        end = min(start + n, self.stop)
        if start >= end:
            raise StopIteration
        self.place = end
        return map_leaves(lambda array: array[start:end], self.arrays), end - start

    def rows(self, numbers: Array) -> Element:
        """The rows of these numbers, counted from `start`."""
        numbers = numbers + self.start
        return map_leaves(lambda array: array[numbers], self.arrays)

    def part(self, first: int, count: int | None = None) -> Slices:
        """Another pass over `count` rows from the `first` on, or over all that follow."""
        start = min(self.start + first, self.stop)
        stop = self.stop if count is None else min(start + count, self.stop)
        return Slices(self.arrays, start, stop)

    def state(self) -> State:
        return {"place": self.place}

    def restore(self, state: State) -> None:
        self.place = state["place"]


class Generated(Source):
    """What an iterable that is made for each pass gives."""

    def __init__(self, make: Callable[[], Iterable[Element]]) -> None:
        self.make = make
        self.items: Iterator[Element] | None = None
        self.taken = 0

    def __next__(self) -> Element:
        if self.items is None:
            self.items = iter(self.make())
        element = next(self.items)
        self.taken += 1
        return element

    def state(self) -> State:
        return {"taken": self.taken}

    def restore(self, state: State) -> None:
        self.pass_over(state["taken"])

    def close(self) -> None:
        end = getattr(self.items, "close", None)
        if end is not None:
            end()


def read_only(arrays: Element) -> Element:
    """Views through which nobody writes into the user's arrays."""

    def view(leaf: Any) -> Array:
        array = as_array(leaf).view()
        array.flags.writeable = False
        return array

    return map_leaves(view, arrays)


def first_sizes(arrays: Element) -> set[int]:
    """The lengths of the first axes of all leaves; 0-d leaves count as -1."""
    return {array.shape[0] if array.ndim else -1 for array in leaves(arrays)}
