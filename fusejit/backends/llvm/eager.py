"""Eager ops that NumPy does not define bit by bit: each a plan of one kernel, cached by types."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...config import config
from ...dtypes import TensorType
from ...ir.builder import Builder
from ...op import Array, Contraction, Elementwise, Op
from ...passes import optimize
from ..base import Kernel
from ..lower import kernel_kind, lower
from ..plan import Plan
from .abi import laid_out
from .pointwise import load_pointwise
from .runtime import NativePlan, load
from .target import is_narrow
from .unplanned import product

MAX_PLANS = 2048
"""One-op plans kept, some 7 KB each: more (op, shapes) than a loop over batch sizes makes."""

WITHOUT_PLAN = 16
"""Times that a product at equal sizes is computed without a plan: that takes 20 to 30 us longer,
and a plan 0.5 ms to make, which a recording at a new size need not wait for."""


class CpuBackend:
    """Runs one op at a time as native code."""

    def __init__(self) -> None:
        self._plans: OrderedDict[object, NativePlan | None] = OrderedDict()
        self._met: Counter[object] = Counter()
        self._pointwise: dict[object, Callable[..., Any]] = {}
        config.on_change(self._plans.clear)
        config.on_change(self._pointwise.clear)

    def apply(self, op: Op, arrays: Sequence[Array], params: Mapping[str, Any]) -> Any:
        """The result of `op`; by NumPy where no kernel exists for these dtypes."""
        if isinstance(op, Elementwise):
            pointwise = self._pointwise_of(op, arrays, params)
            result = pointwise(*arrays)
            if result is not None:
                return result
            arrays = list(map(laid_out, arrays))
            result = pointwise(*arrays)
            if result is not None:
                return result
        key = (op, *((a.dtype, a.shape) for a in arrays), *sorted(params.items()))
        if key in self._plans:
            self._plans.move_to_end(key)
            plan = self._plans[key]
        elif (result := self._unplanned(key, op, arrays)) is not None:
            return result
        else:
            plan = self._plans[key] = one_op_plan(op, arrays, params)
            while len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)
        arrays = list(map(laid_out, arrays))  # NumPy, too, adds in an order that memory decides
        if plan is None:
            with np.errstate(all="ignore"):
                return op.by_numpy(arrays, params)
        results = plan.run(arrays)
        assert isinstance(results, list), "a one-op plan has no guards"
        return results[0] if len(results) == 1 else tuple(results)

    def prepare(self, op: Op, arrays: Sequence[Array], params: Mapping[str, Any]) -> None:
        """Do what only a first `apply` of such operands does. Large products, which each have a
        plan of their own, are left: nobody knows whether they come again."""
        if isinstance(op, Contraction):
            product(*arrays)
        else:
            self.apply(op, arrays, params)

    def _unplanned(self, key: object, op: Op, arrays: Sequence[Array]) -> Array | None:
        """A product at sizes that were met a few times at most; None for anything else."""
        few = isinstance(op, Contraction) and self._met[key] < WITHOUT_PLAN
        result = product(*arrays) if few else None
        if result is not None:
            if len(self._met) >= MAX_PLANS:
                self._met.clear()  # they are met again
            self._met[key] += 1
        return result

    def _pointwise_of(
        self, op: Elementwise, arrays: Sequence[Array], params: Mapping[str, Any]
    ) -> Callable[..., Any]:
        """The result of an elementwise op on contiguous arrays of one shape, and single elements;
        None for others."""
        dtypes = [a.dtype if a.ndim else (a.dtype,) for a in arrays]
        key = (op, *dtypes, *params.items())
        found = self._pointwise.get(key)
        if found is None:
            found = self._pointwise[key] = _load_pointwise(op, arrays, params)
            while len(self._pointwise) > MAX_PLANS:
                del self._pointwise[next(iter(self._pointwise))]
        return found


def _load_pointwise(
    op: Elementwise, arrays: Sequence[Array], params: Mapping[str, Any]
) -> Callable[..., Any]:
    """`pointwise.load_pointwise` from what stands for arrays of all sizes: N = 2."""
    whole = max(a.ndim for a in arrays) > 0
    singles = tuple(whole and a.ndim == 0 for a in arrays)
    pairs = zip(arrays, singles, strict=True)
    samples = [np.empty(() if single else 2, a.dtype) for a, single in pairs]
    plan = _lowered(op, samples, params)
    if plan is None:
        return _nothing
    return load_pointwise(plan, singles, _kernel_address) or _nothing


def _nothing(*arrays: Array) -> None:
    """Stands for the ops that have no flat loop."""


def one_op_plan(op: Op, arrays: Sequence[Array], params: Mapping[str, Any]) -> NativePlan | None:
    """The plan of one op, or None if its output types depend on values or NumPy runs it anyway."""
    plan = _lowered(op, arrays, params)
    return None if plan is None else load_plan(plan)


def _lowered(op: Op, arrays: Sequence[Array], params: Mapping[str, Any]) -> Plan | None:
    types = [TensorType(a.dtype, a.shape) for a in arrays]
    if op.infer(types, params) is None:
        return None
    builder = Builder(op.name)
    inputs = [builder.input(t, name) for t, name in zip(types, _names(op, len(types)), strict=True)]
    outputs = builder.add(op, inputs, params)
    if kernel_kind(builder.nodes[0]) is None:
        return None
    graph = builder.finish(outputs)
    # Passes find nothing in one such op, and a new shape would wait 0.1 ms for them.
    simple = isinstance(op, Elementwise | Contraction)
    return lower(graph if simple else optimize(graph), narrow=is_narrow())


def load_plan(plan: Plan) -> NativePlan:
    """`plan` with its kernels compiled, ready to run."""
    return load(plan, _kernel_address)


def _kernel_address(kernel: Kernel) -> int:
    from .jit import compile_kernel  # imports llvmlite

    return compile_kernel(kernel).address


def _names(op: Op, count: int) -> list[str]:
    return [f"x{i}" for i in range(count)] if op.variadic else list(op.inputs)
