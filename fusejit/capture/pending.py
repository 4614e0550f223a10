"""A recording whose plan is being made."""

from __future__ import annotations

import time
import weakref
from collections.abc import Collection, Hashable
from functools import partial

from ..backends.ready import Once
from ..collector import Hold
from ..frozen import frozen
from .paths import Paths, Stop
from .trace import Trace


@frozen(eq=False)
class Pending:
    """A path that is recorded, and will be one of `Paths`.

    Attributes:
        kind: what refusals of such calls are remembered by, should the plan not compile.
        stop: what it was recorded for; None also where other threads have recorded meanwhile.
        hold: no garbage is collected until the plan is made, or that is given up.
        compiled: makes the plan, and says whether the path is a new one.
    """

    trace: Trace
    kind: Hashable
    stop: Stop | None
    hold: Hold
    compiled: Once[bool]


def to_be_made(
    trace: Trace, kind: Hashable, stop: Stop | None, paths: Paths, fitting: Collection[Trace]
) -> Pending:
    """The plan of `trace` to be made, which leaves one of the trees of `paths` or begins another;
    the checks of `fitting` held when it was recorded."""
    hold = Hold()
    # Weakly: for a function that is deleted meanwhile nothing needs to be made.
    near = weakref.WeakSet(fitting) if fitting else ()
    make = partial(_make, hold, weakref.ref(trace), weakref.ref(paths), near)
    return Pending(trace, kind, stop, hold, Once(make))


def _make(
    hold: Hold,
    trace: weakref.ref[Trace],
    paths: weakref.ref[Paths],
    fitting: Collection[Trace],
) -> bool:
    try:
        return _made(trace(), paths(), fitting)
    finally:
        hold.release()


def _made(trace: Trace | None, paths: Paths | None, fitting: Collection[Trace]) -> bool:
    """Find the place of a path, lower and compile it, and note what that took. False if it is one
    of the known paths."""
    if trace is None or paths is None:
        return True
    from ..backends.llvm import jit  # the code generator, which imports llvmlite

    before = jit.own_statistics()  # other threads may have kernels made meanwhile
    began = time.perf_counter()
    place = paths.branch_of(trace, fitting)
    if isinstance(place, Trace):
        return False
    trace.branch = place
    _ = trace.conditions
    trace.milliseconds["compile"] = 1e3 * (time.perf_counter() - began)
    after = jit.own_statistics()
    trace.num_compiles = after.num_compiles - before.num_compiles
    trace.num_loads = after.num_loads - before.num_loads
    return True
