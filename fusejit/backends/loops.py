"""The kernel of a loop: what of it is structure, and what is size."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

from ..scalar import DType, Program
from .base import Access, Loop
from .reducing import walk
from .storage import merge_loop_axes


@lru_cache(maxsize=1024)  # an unrolled loop repeats the same few at every step; some 2 KB each
def loop_kernel(
    shape: tuple[int, ...],
    program: Program,
    count: int,
    walked: tuple[tuple[DType, bool, tuple[int, ...]], ...],
) -> tuple[Loop, tuple[int, ...]]:
    """The kernel and the meta of a loop over `shape`: its operands (the first `count` are inputs)
    by dtype, whether they are indices, and strides."""
    extents, strides = merge_loop_axes(shape, [found for _, _, found in walked])
    accesses = [
        Access(dtype, walk(-1 if index else 0, row[-1]))
        for (dtype, index, _), row in zip(walked, strides, strict=True)
    ]
    kernel = Loop(len(extents), tuple(accesses[:count]), tuple(accesses[count:]), program)
    return kernel, tuple(map(int, (*extents, *chain.from_iterable(strides))))
