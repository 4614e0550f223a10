"""Simplify: local rewrites that keep every bit, each with its equation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..ir.builder import Builder, constant, rewrite
from ..ir.graph import Constant, Graph, Node, Value
from ..op import Assembly, Elementwise, Reduction, View
from ..ops.arithmetic import add, multiply
from ..ops.shape import permute_dims_, place_, reshape_
from .canonical import axis_runs

Producers = Mapping[Value, Node]
Found = tuple[Value, ...] | None
Rule = Callable[[Node, tuple[Value, ...], Builder, Producers], Found]


def simplify(graph: Graph) -> Graph:
    """Apply the first rule that fits to each node, in one pass."""
    return rewrite(graph, _first_rule, "after simplify")


def _first_rule(
    node: Node, inputs: tuple[Value, ...], builder: Builder, producers: Producers
) -> Found:
    for rule in RULES:
        found = rule(node, inputs, builder, producers)
        if found is not None:
            return found
    return None


def fold_constants(
    node: Node, inputs: tuple[Value, ...], builder: Builder, producers: Producers
) -> Found:
    """op(c1, c2) = c3, for scalars and ops that NumPy computes bit by bit."""
    op = node.op
    scalars = all(isinstance(v, Constant) and v.array.size == 1 for v in inputs)
    if not (
        inputs and scalars and isinstance(op, Elementwise) and op.exact and len(node.outputs) == 1
    ):
        return None
    with np.errstate(all="ignore"):
        arrays = [v.array for v in inputs if isinstance(v, Constant)]
        return (constant(np.asarray(op.eager(arrays, node.params))),)


def multiply_by_one(
    node: Node, inputs: tuple[Value, ...], builder: Builder, producers: Producers
) -> Found:
    """x * 1 = x. (x + 0 is not x: it turns -0.0 into 0.0.)"""
    if node.op is not multiply:
        return None
    for x, other in (inputs, inputs[::-1]):
        if _is_all(other, 1, producers) and x.type == node.outputs[0].type:
            return (x,)
    return None


def _is_all(value: Value, number: int, producers: Producers) -> bool:
    """Whether every element is `number`, not -0.0: a constant, perhaps seen through views."""
    while value in producers and isinstance(producers[value].op, View):
        (value,) = producers[value].inputs
    if not isinstance(value, Constant):
        return False
    array = value.array
    return bool((array == number).all()) and not np.signbit([array.real, array.imag]).any()


def merge_reshapes(
    node: Node, inputs: tuple[Value, ...], builder: Builder, producers: Producers
) -> Found:
    """reshape(reshape(x)) = reshape(x); a reshape to its own shape is x."""
    if not (isinstance(node.op, View) and node.op.index is None):
        return None
    (x,) = inputs
    inner = producers.get(x)
    if inner is not None and inner.op is node.op:
        x = inner.inputs[0]
    if x.type == node.outputs[0].type:
        return (x,)
    return None if x is inputs[0] else builder.add(node.op, (x,), node.params, where=node.where)


def merge_placements(
    node: Node, inputs: tuple[Value, ...], builder: Builder, producers: Producers
) -> Found:
    """place(a) + place(b) = place(a + 0, b + 0) where the regions do not meet.

    The gradients of slices of one value sum to one assembly without zero fill. Adding zero keeps
    what the sum does to -0.0; it costs nothing inside the kernel that computes the operand.
    """
    if node.op is not add:
        return None
    parts = [producers.get(v) for v in inputs]
    if not all(p is not None and p.op is place_ for p in parts):
        return None
    left, right = (p for p in parts if p is not None)
    if left.outputs[0].type != right.outputs[0].type or not _disjoint(
        _regions(left), _regions(right)
    ):
        return None
    operands = [
        _plus_zero(v, builder, producers, node.where) for v in (*left.inputs, *right.inputs)
    ]
    ranges = (*left.params["ranges"], *right.params["ranges"])
    return builder.add(
        place_, operands, {"shape": left.params["shape"], "ranges": ranges}, where=node.where
    )


def _plus_zero(value: Value, builder: Builder, producers: Producers, where: str | None) -> Value:
    made = producers.get(value)
    if made is not None and made.op is add and _is_all(made.inputs[1], 0, producers):
        return value
    zero = constant(np.zeros((), value.type.dtype))
    return builder.add(add, (value, zero), {}, where=where)[0]


def _regions(node: Node) -> list[list[tuple[int, int]]]:
    """The half-open box (start, stop) an axis that each operand of an assembly touches."""
    op = node.op
    assert isinstance(op, Assembly)
    _, regions = op.regions([v.type.shape for v in node.inputs], **node.params)
    boxes = []
    for region, operand in zip(regions, node.inputs, strict=True):
        ends = [
            (start, start + step * (n - 1))
            for (start, step), n in zip(region, operand.type.shape, strict=True)
        ]
        boxes.append([(min(a, b), max(a, b) + 1) for a, b in ends])
    return boxes


def _disjoint(left: Sequence[Any], right: Sequence[Any]) -> bool:
    def apart(a: Any, b: Any) -> bool:
        return any(p[1] <= q[0] or q[1] <= p[0] for p, q in zip(a, b, strict=True))

    return all(apart(a, b) for a in left for b in right)


def gather_axes(
    node: Node, inputs: tuple[Value, ...], builder: Builder, producers: Producers
) -> Found:
    """sum(x, axes apart) = reshape(sum(permute(x), last axes)): kernels reduce adjacent axes."""
    if not isinstance(node.op, Reduction):
        return None
    (x,) = inputs
    axes = node.params["axes"]
    if sum(reduced for reduced, _ in axis_runs(x.type.shape, axes)) < 2:
        return None
    rank = len(x.type.shape)
    order = (*(a for a in range(rank) if a not in axes), *axes)
    (moved,) = builder.add(permute_dims_, (x,), {"axes": order}, where=node.where)
    last = {"axes": tuple(range(rank - len(axes), rank)), "keepdims": False}
    (reduced,) = builder.add(node.op, (moved,), last, where=node.where)
    return builder.add(
        reshape_, (reduced,), {"shape": node.outputs[0].type.shape}, where=node.where
    )


def covers(node: Node) -> bool:
    """Whether the operands of an assembly fill its result, so that nothing needs zeroing."""
    op = node.op
    assert isinstance(op, Assembly)
    return op.covers or sum(v.type.size for v in node.inputs) == math.prod(
        node.outputs[0].type.shape
    )


RULES: tuple[Rule, ...] = (
    fold_constants,
    multiply_by_one,
    merge_reshapes,
    merge_placements,
    gather_axes,
)
