"""The CPU backend as a process meets it first: small ops run before there is any native code.

Importing LLVM and linking the runtime takes 200 ms, a kernel 5 more, where the reference evaluator
takes a tenth of a millisecond for the same bits. So small ops are evaluated until it has been
enough, or until their kernels were made in the background, behind the plan of a decorated function:
its recording at a new shape runs them once more, and would take 29 ms if it had to compile them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...op import Array, Contraction, Elementwise, Op
from ..evaluated import evaluated
from ..ready import native_is_ready

if TYPE_CHECKING:
    from .eager import CpuBackend

ENOUGH = 0.05
"""Seconds of evaluating, a quarter of what it saves: some 300 ops on small float32 arrays. A first
call of 32 steps of an LSTM stays below; a program that never decorates soon runs kernels."""


class ColdBackend:
    """Evaluates what it can, then hands over to `CpuBackend` for good.

    Attributes:
        apply: as that of `device.Backend`.
    """

    def __init__(self) -> None:
        self.apply: Callable[[Op, Sequence[Array], Mapping[str, Any]], Any] = self._apply
        self._spent = 0.0
        self._compiled: CpuBackend | None = None
        self._evaluated: dict[object, tuple[Op, Sequence[Array], Mapping[str, Any]]] = {}
        self._ready: set[object] = set()

    def _apply(self, op: Op, arrays: Sequence[Array], params: Mapping[str, Any]) -> Any:
        key = (op, *((a.dtype, a.ndim > 0) for a in arrays), *params.items())
        # NumPy's products leave its BLAS threads spinning for 0.1 s, in the way of those of plans.
        product = isinstance(op, Contraction) and native_is_ready()
        if self._spent < ENOUGH and key not in self._ready and not product:
            began = time.perf_counter()
            result = evaluated(op, arrays, params)
            self._spent += time.perf_counter() - began
            if result is not None:
                if isinstance(op, Elementwise | Contraction):
                    self._evaluated.setdefault(key, (op, arrays, params))
                return result
        if self._spent >= ENOUGH:
            self.apply = self._native().apply
        return self._native().apply(op, arrays, params)

    def catch_up(self) -> None:
        """Make the kernels of what has been evaluated; what is left out stays evaluated."""
        while self._evaluated:
            key, call = self._evaluated.popitem()
            self._native().prepare(*call)
            self._ready.add(key)

    def _native(self) -> CpuBackend:
        if self._compiled is None:
            from .eager import CpuBackend  # passes, lowering, the runtime

            self._compiled = CpuBackend()
        return self._compiled


def backend() -> ColdBackend | None:
    """The CPU backend, or None without llvmlite: then NumPy runs everything."""
    return ColdBackend() if _is_installed("llvmlite") else None


def _is_installed(name: str) -> bool:
    """As importlib.util.find_spec says, which takes 0.3 ms to load."""
    if name in sys.modules:
        return sys.modules[name] is not None
    finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
    return any(find(name, None) is not None for find in finders if find is not None)
