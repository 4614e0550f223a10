"""Shuffling: of a whole dataset where its rows can be addressed, else through a buffer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .source import Chunk, Slices, Source, State, Wrapper
from .structure import Element, stacked

_BLOCK = 256  # random numbers that are drawn at once


class Seed:
    """The seed of a dataset's passes: a state that is restored brings its own along."""

    def __init__(self, value: int) -> None:
        self.value = value

    def generator(self, number: int) -> np.random.Generator:
        """Passes differ, and each is a function of the seed and its number alone."""
        return np.random.Generator(np.random.PCG64([self.value, number]))


class Permuted(Wrapper):
    """The rows of slices in random order: the order is drawn once, and rows are gathered."""

    inner: Slices

    def __init__(self, inner: Slices, seed: Seed, number: int) -> None:
        super().__init__(inner)
        self.seed, self.number = seed, number
        self._order()

    def _order(self) -> None:
        rows = self.inner.stop - self.inner.start
        self.order = self.seed.generator(self.number).permutation(rows)
        self.place = 0

    def __next__(self) -> Element:
        if self.place >= len(self.order):
            raise StopIteration
        self.place += 1
        return self.inner.rows(self.order[self.place - 1])

    def many(self, n: int) -> Chunk:
        numbers = self.order[self.place : self.place + n]
        if not len(numbers):
            raise StopIteration
        self.place += len(numbers)
        return self.inner.rows(numbers), len(numbers)

    def state(self) -> State:
        return {"seed": self.seed.value, "place": self.place}

    def restore(self, state: State) -> None:
        self.seed.value = state["seed"]
        self._order()
        self.place = state["place"]


class Buffered(Wrapper):
    """Each element is drawn from a buffer of `size`, and the next one takes its place there.

    The buffer of slices holds row numbers, so that a batch gathers all of its rows at once, and to
    restore repeats the draws alone; other sources are read again.
    """

    def __init__(self, inner: Source, size: int, seed: Seed, number: int) -> None:
        super().__init__(inner)
        self.size = size
        self.seed, self.number = seed, number
        self.random = seed.generator(number)
        self.start = super().state()  # of what it reads, for the seeds in there
        self.drawn = 0
        self.numbers = np.empty(0)
        self.buffer: list[Any] = []
        self.read = 0
        self.ended = False

    def __next__(self) -> Element:
        found = self._draw()
        return self.inner.rows(np.asarray(found)) if isinstance(self.inner, Slices) else found

    def many(self, n: int) -> Chunk:
        found: list[Any] = []
        while len(found) < n:
            try:
                found.append(self._draw())
            except StopIteration:
                break
        if not found:
            raise StopIteration
        if isinstance(self.inner, Slices):
            return self.inner.rows(np.array(found)), len(found)
        return stacked(found), len(found)

    def _draw(self) -> Any:
        while len(self.buffer) < self.size and not self.ended:
            self._fill()
        if not self.buffer:
            raise StopIteration
        step = self.drawn % _BLOCK
        if not step:
            self.numbers = self.random.random(_BLOCK)
        self.drawn += 1
        place = int(self.numbers[step] * len(self.buffer))
        found, self.buffer[place] = self.buffer[place], self.buffer[-1]
        self.buffer.pop()
        return found

    def _fill(self) -> None:
        if isinstance(self.inner, Slices):
            if self.read < self.inner.stop - self.inner.start:
                self.buffer.append(self.read)
            else:
                self.ended = True
        else:
            try:
                self.buffer.append(next(self.inner))
            except StopIteration:
                self.ended = True
        self.read += 1

    def state(self) -> State:
        return {"seed": self.seed.value, "drawn": self.drawn, **self.start}

    def restore(self, state: State) -> None:
        self.seed.value = state["seed"]
        self.random = self.seed.generator(self.number)
        super().restore(state)
        self.start = super().state()
        for _ in range(state["drawn"]):
            self._draw()


def shuffled(inner: Source, size: int, seed: Seed, number: int) -> Source:
    """A source with the elements of `inner` in random order."""
    if isinstance(inner, Slices) and size >= inner.stop - inner.start:
        return Permuted(inner, seed, number)
    return Buffered(inner, size, seed, number)
