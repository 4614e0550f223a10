"""Dataset: where elements come from and what is done to them, before any is read."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from ..errors import FileError, FuseJitError, ShapeError
from ..random import randint
from . import transforms
from .iterator import Iterator
from .prefetching import Prefetched
from .shuffling import Seed, shuffled
from .source import Begin, Generated, Slices, Source, first_sizes, read_only
from .structure import Element, leaves, map_leaves

_MANY = 2**32  # passes of an endless repetition, before they are those of the next iterator

Size: TypeAlias = "int | float | None"  # math.inf: endless; None: not known


class Dataset:
    """Elements in an order: made from arrays, files or a generator, then transformed.

    A dataset holds no place: iterating over it makes an `Iterator`, any number of times. An element
    is an array, or a tuple or dict of elements. Functions given to `map` get ndarrays; what
    iterating gives are Tensors.

    Example:
        >>> import fusejit as fj
        >>> x, y = fj.zeros((5, 3)), fj.arange(5)
        >>> dataset = fj.data.Dataset.from_tensor_slices((x, y)).shuffle(5, seed=0).batch(2)
        >>> [labels.shape for images, labels in dataset]
        [(2,), (2,), (1,)]
        >>> dataset
        <Dataset slices[5].shuffle(5).batch(2): 3 elements>
    """

    def __init__(self, begin: Begin, size: Size, name: str) -> None:
        """Used by the methods below: `begin(n)` makes the source of the n-th pass."""
        self._begin = begin
        self._size = size
        self._passes = 0
        self.name = name

    @staticmethod
    def from_tensor_slices(arrays: Element) -> Dataset:
        """A dataset of the rows of arrays, tuples of arrays or dicts of arrays.

        Nothing is copied until a row is taken, so arrays may be memory maps larger than memory.

        Raises:
            ShapeError: the first axes differ in length, or an array has none.
        """
        arrays = read_only(arrays)
        sizes = first_sizes(arrays)
        if len(sizes) != 1 or sizes == {-1}:
            shapes = " ".join(str(list(array.shape)) for array in leaves(arrays))
            raise ShapeError(
                f"from_tensor_slices: expected first axes of one length; got {shapes}."
            )
        (size,) = sizes
        return Dataset(lambda n: Slices(arrays, 0, size), size, f"slices[{size}]")

    @staticmethod
    def from_generator(make: Callable[[], Iterable[Element]]) -> Dataset:
        """A dataset of what `make()` yields; it is called at the start of each pass.

        To be resumed where it stood it must yield the same elements again.

        Example:
            >>> import fusejit as fj
            >>> [int(n) for n in fj.data.Dataset.from_generator(lambda: range(3))]
            [0, 1, 2]
        """
        return Dataset(lambda n: Generated(make), None, "generator")

    @staticmethod
    def from_memmap(paths: Element) -> Dataset:
        """A dataset of the rows of `.npy` files, which are mapped into memory, not read.

        A file without a header: `from_tensor_slices(np.memmap(path, dtype, "r", shape=shape))`.

        Args:
            paths: one path, or a tuple or dict of them.
        Raises:
            FileError: a file that is not in NumPy's format, or shorter than it says.
        """
        return Dataset.from_tensor_slices(map_leaves(_mapped, paths))

    @staticmethod
    def zip(*datasets: Dataset) -> Dataset:
        """Tuples of one element of each dataset, until one of them ends."""
        sizes = [d._size for d in datasets]
        known = [size for size in sizes if size is not None]
        return Dataset(
            lambda n: transforms.Zipped([d._begin(n) for d in datasets]),
            min(known) if len(known) == len(sizes) else None,
            f"zip({', '.join(d.name for d in datasets)})",
        )

    def map(self, f: Callable[..., Element]) -> Dataset:
        """f of each element; the parts of a tuple are its arguments. Fastest after `batch`."""
        what = getattr(f, "__name__", type(f).__name__)
        return self._then(lambda inner: transforms.Mapped(inner, f), f"map({what})")

    def shuffle(self, buffer: int, seed: int | None = None) -> Dataset:
        """The elements in random order, another one in each pass.

        Args:
            buffer: how many elements to draw from; as many as there are make every order equally
                likely. Rows of arrays take no memory for it, other elements do.
            seed: by default a number drawn from `fj.random`. Passes are numbered over the life of
                the dataset; a new process with the same seed sees the same orders.
        """
        _check_count("shuffle", "buffer", buffer)
        chosen = Seed(int(randint(2**31)) if seed is None else seed)
        return Dataset(
            lambda n: shuffled(self._begin(n), buffer, chosen, n),
            self._size,
            f"{self.name}.shuffle({buffer})",
        )

    def batch(self, n: int, drop_remainder: bool = False) -> Dataset:
        """n elements at a time, stacked along a new first axis; the last batch may be smaller."""
        _check_count("batch", "n", n)
        return self._then(
            lambda inner: transforms.Batched(inner, n, drop_remainder),
            f"batch({n})",
            _batches(self._size, n, drop_remainder),
        )

    def padded_batch(
        self, n: int, *, value: float = 0, multiple_of: int = 1, drop_remainder: bool = False
    ) -> Dataset:
        """n sequences at a time, padded at their ends to the longest of the batch.

        Args:
            n: how many.
            value: what they are padded with.
            multiple_of: the padded first axis is a multiple of this. A decorated function is
                recorded for each shape, so fewer lengths mean fewer recordings.
            drop_remainder: whether to leave out a last batch of fewer elements.
        Example:
            >>> import fusejit as fj
            >>> words = fj.data.Dataset.from_generator(lambda: [[1, 2, 3], [4]])
            >>> [batch.tolist() for batch in words.padded_batch(2)]
            [[[1, 2, 3], [4, 0, 0]]]
        """
        _check_count("padded_batch", "n", n)
        _check_count("padded_batch", "multiple_of", multiple_of)
        return self._then(
            lambda inner: transforms.Padded(inner, n, value, multiple_of, drop_remainder),
            f"padded_batch({n})",
            _batches(self._size, n, drop_remainder),
        )

    def repeat(self, count: int | None = None) -> Dataset:
        """`count` passes, or passes without end, one after the other."""
        if count is not None:
            _check_count("repeat", "count", count)
        size = None if self._size is None else self._size * (count or math.inf)
        return Dataset(
            lambda n: transforms.Repeated(self._begin, count, n * (count or _MANY)),
            math.inf if count is None else size,
            f"{self.name}.repeat({'' if count is None else count})",
        )

    def take(self, n: int) -> Dataset:
        """The first n elements."""

        def taken(inner: Source) -> Source:
            return inner.part(0, n) if isinstance(inner, Slices) else transforms.Taken(inner, n)

        size = self._size
        return self._then(taken, f"take({n})", None if size is None else min(n, size))

    def skip(self, n: int) -> Dataset:
        """All but the first n elements."""

        def skipped(inner: Source) -> Source:
            return inner.part(n) if isinstance(inner, Slices) else transforms.Skipped(inner, n)

        size = self._size
        return self._then(skipped, f"skip({n})", None if size is None else max(size - n, 0))

    def cache(self) -> Dataset:
        """Keeps the elements in memory during the first complete pass; later ones read nothing."""
        kept: list[list[Element]] = []
        return self._then(lambda inner: transforms.Cached(inner, kept), "cache()")

    def prefetch(self, n: int = 2) -> Dataset:
        """Up to n elements are prepared ahead by a thread, while the caller computes.

        It helps where preparing takes long outside of Python: reading files, NumPy on large arrays.
        """
        _check_count("prefetch", "n", n)
        return self._then(lambda inner: Prefetched(inner, n), f"prefetch({n})")

    def __iter__(self) -> Iterator:
        return Iterator(self)

    def __len__(self) -> int:
        """The number of elements; TypeError if it is unknown or endless."""
        if not isinstance(self._size, int):
            what = "not known" if self._size is None else "endless"
            raise TypeError(f"len: the number of elements of {self.name} is {what}.")
        return self._size

    def __bool__(self) -> bool:
        return True  # not a question of its length, which may be unknown

    def __repr__(self) -> str:
        count = {None: "some", math.inf: "endless"}.get(self._size, str(self._size))
        return f"<Dataset {self.name}: {count} elements>"

    def begin(self, number: int | None = None) -> tuple[int, Source]:
        """(number, source) of the pass of that number, or of the one after the last begun."""
        number = self._passes if number is None else number
        self._passes = number + 1
        return number, self._begin(number)

    def _then(
        self, wrap: Callable[[Source], Source], name: str, size: Size | str = "same"
    ) -> Dataset:
        found = self._size if isinstance(size, str) else size
        return Dataset(lambda n: wrap(self._begin(n)), found, f"{self.name}.{name}")


def _batches(size: Size, n: int, drop_remainder: bool) -> Size:
    if not isinstance(size, int):
        return size
    return size // n if drop_remainder else math.ceil(size / n)


def _mapped(path: Any) -> Any:
    try:
        return np.load(os.fspath(path), mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise FileError(f"from_memmap: {path} cannot be mapped: {error}") from error


def _check_count(owner: str, name: str, value: int) -> None:
    if value < 1:
        raise FuseJitError(f"Dataset.{owner}: expected {name} >= 1, got {value}.")
