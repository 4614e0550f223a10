"""What is kept: recordings, kernels in memory, compiled code on disk."""

from __future__ import annotations

from ..frozen import frozen
from .function import recorded


@frozen
class CacheInfo:
    """What `cache_info` counts.

    Attributes:
        traces: recordings that decorated functions hold.
        kernels: kernels in memory.
        num_compiles: of these, how many LLVM compiled.
        num_loads: and how many were found on disk.
        milliseconds: what both took.
        path: the directory on disk, "" for none.
        files: how many objects are in it.
        bytes: and their size.
    """

    traces: int
    kernels: int
    num_compiles: int
    num_loads: int
    milliseconds: float
    path: str
    files: int
    bytes: int


def cache_info() -> CacheInfo:
    """Count what is kept in memory and on disk.

    `clear_caches` forgets recordings, `fusejit cache clear` on the command line empties the
    directory. Kernels stay: a recording made again finds them.

    Example:
        >>> import fusejit as fj
        >>> fj.cache_info().kernels >= 0
        True
    """
    from ..backends import objects
    from ..backends.llvm import jit  # the code generator: not every process needs it

    traces = recorded()  # first: it waits for what is being compiled
    done, disk = jit.statistics(), objects.usage()
    return CacheInfo(
        traces,
        jit.num_kernels(),
        done.num_compiles,
        done.num_loads,
        done.milliseconds,
        disk.path,
        disk.files,
        disk.bytes,
    )
