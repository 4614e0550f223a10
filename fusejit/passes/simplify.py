"""Simplify: local rewrites that keep every bit, each with its equation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ..ir.builder import Builder, constant, rewrite
from ..ir.graph import Constant, Graph, Node, Value
from ..op import Assembly, Elementwise, Op, Reduction, View
from ..ops.arithmetic import multiply
from ..ops.shape import permute_dims_, reshape_
from .canonical import axis_runs
from .kinds import is_compiled_reduction
from .placements import merge_placements

Producers = Mapping[Value, Node]
Found = tuple[Value, ...] | None
Rule = Callable[[Node, tuple[Value, ...], Builder, Producers], Found]


def simplify(graph: Graph) -> Graph:
    """Apply the first rule that fits to each node, in one pass; then merge placements."""
    return merge_placements(rewrite(graph, _first_rule, "after simplify"))


def _first_rule(
    node: Node, inputs: tuple[Value, ...], builder: Builder, producers: Producers
) -> Found:
    for rule in RULES.get(type(node.op), ()):
        found = rule(node, inputs, builder, producers)
        if found is not None:
            return found
    return None


def fold_constants(
    node: Node, inputs: tuple[Value, ...], builder: Builder, producers: Producers
) -> Found:
    """op(c1, c2) = c3, for scalars and ops that NumPy computes bit by bit."""
    op = node.op
    assert isinstance(op, Elementwise)
    scalars = all(isinstance(v, Constant) and v.array.size == 1 for v in inputs)
    if not (inputs and scalars and op.exact):
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
    assert isinstance(node.op, View)
    if node.op.index is not None:
        return None
    (x,) = inputs
    inner = producers.get(x)
    if inner is not None and inner.op is node.op:
        x = inner.inputs[0]
    if x.type == node.outputs[0].type:
        return (x,)
    return None if x is inputs[0] else builder.add(node.op, (x,), node.params, where=node.where)


def gather_axes(
    node: Node, inputs: tuple[Value, ...], builder: Builder, producers: Producers
) -> Found:
    """sum(x, axes apart) = reshape(sum(permute(x), last axes)): kernels reduce adjacent axes."""
    (x,) = inputs
    axes = node.params["axes"]
    if not is_compiled_reduction(node):
        return None  # NumPy adds in an order of its own: as it does eagerly
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


RULES: Mapping[type[Op], tuple[Rule, ...]] = {
    Elementwise: (fold_constants, multiply_by_one),
    View: (merge_reshapes,),
    Reduction: (gather_axes,),
}
"""By the kind of op that they are about."""
