"""Eager ops that NumPy does not define bit by bit: each a plan of one kernel, cached by types."""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...config import config
from ...dtypes import TensorType
from ...ir.builder import Builder
from ...op import Array, Elementwise, Op
from ...passes import optimize
from ..lower import kernel_kind, lower
from ..plan import Plan
from .runtime import NativePlan, load

MAX_PLANS = 4096
"""One-op plans kept, some 2 KB each: more (op, shapes) than a loop over batch sizes makes."""


class CpuBackend:
    """Runs one op at a time as native code."""

    def __init__(self) -> None:
        self._plans: OrderedDict[object, NativePlan | None] = OrderedDict()
        config.on_change(self._plans.clear)

    def apply(self, op: Op, arrays: Sequence[Array], params: Mapping[str, Any]) -> Any:
        """The result of `op`; by NumPy where no kernel exists for these dtypes."""
        key = (op, *((a.dtype, a.shape) for a in arrays), *sorted(params.items()))
        if key in self._plans:
            self._plans.move_to_end(key)
            plan = self._plans[key]
        else:
            plan = self._plans[key] = one_op_plan(op, arrays, params)
            while len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)
        if plan is None:
            with np.errstate(all="ignore"):
                return op.by_numpy(arrays, params)
        results = plan.run([np.ascontiguousarray(a) if a.ndim else a for a in arrays])
        assert isinstance(results, list), "a one-op plan has no guards"
        return results[0] if len(results) == 1 else tuple(results)


def one_op_plan(op: Op, arrays: Sequence[Array], params: Mapping[str, Any]) -> NativePlan | None:
    """The plan of one op, or None if its output types depend on values or NumPy runs it anyway."""
    types = [TensorType(a.dtype, a.shape) for a in arrays]
    if op.infer(types, params) is None:
        return None
    builder = Builder(op.name)
    inputs = [builder.input(t, name) for t, name in zip(types, _names(op, len(types)), strict=True)]
    outputs = builder.add(op, inputs, params)
    if kernel_kind(builder.nodes[0]) is None:
        return None
    graph = builder.finish(outputs)
    # Passes find nothing in one elementwise op, and a new shape would wait 0.1 ms for them.
    return load_plan(lower(graph if isinstance(op, Elementwise) else optimize(graph)))


def load_plan(plan: Plan) -> NativePlan:
    """`plan` with its kernels compiled, ready to run."""
    from .jit import compile_kernel  # imports llvmlite

    return load(plan, lambda kernel: compile_kernel(kernel).address)


def _names(op: Op, count: int) -> list[str]:
    return [f"x{i}" for i in range(count)] if op.variadic else list(op.inputs)


def backend() -> CpuBackend | None:
    """The CPU backend, or None without llvmlite: then NumPy runs everything."""
    return CpuBackend() if importlib.util.find_spec("llvmlite") else None
