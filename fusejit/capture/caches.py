"""What is kept: recordings, kernels in memory, compiled code on disk."""

from __future__ import annotations

from ..frozen import frozen
from .function import recorded


@frozen(kw_only=True)
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
        traces=traces,
        kernels=jit.num_kernels(),
        num_compiles=done.num_compiles,
        num_loads=done.num_loads,
        milliseconds=done.milliseconds,
        path=disk.path,
        files=disk.files,
        bytes=disk.bytes,
    )
