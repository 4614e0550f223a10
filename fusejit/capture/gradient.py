"""The gradient of a recorded call: a forward program that saves, and a backward program that reads.

    recorded f(xs) -> ys
    joint    f'(xs, gs) = playback of f under a tape: its own ops, then the backward ops
    saved    values of f from which those that backward ops read are known (see `saved`)
    forward  f(xs) -> ys, saved              run while a tape watches
    backward b(xs, ys, saved, gs) -> grads   the joint graph with all that is known as inputs

Both are programs like any other, so they are fused, cached and differentiated in turn: the backward
call goes through dispatch as one op, and an outer tape that watches it asks for *its* backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .. import dispatch
from ..autodiff.tags import is_differentiable
from ..autodiff.tape import GradientTape
from ..dtypes import TensorType
from ..ir.graph import GUARD, Constant, Graph, Node, Value
from ..ir.interpreter import fold
from ..passes.clean import dce
from ..tensor import Tensor, wrap
from .recorder import Recorder
from .saved import choose
from .taped import apply
from .trace import Call, Program, call_op


class Differentiable:
    """A program and, made when first needed, its forward with saved values and its backwards."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._forward: Call | None = None
        self._backward: dict[tuple[bool, ...], tuple[Call, list[int]]] = {}

    @property
    def forward(self) -> Call:
        """The op to apply under a tape: the results of the program, then saved values."""
        if self._forward is None:
            graph = self.program.recorded
            received = [is_differentiable(v.type.dtype) for v in graph.results]
            _, _, _, saved = joint(graph, received)
            extended = replace(graph, outputs=(*graph.results, *saved), effects=())
            program = Program(extended, self.program.unchanging)
            self._forward = call_op(program, partial(backward, Differentiable(program)))
        return self._forward

    def backward_call(self, received: tuple[bool, ...]) -> tuple[Call, list[int]]:
        """(op on xs, ys and the gradients that arrived; inputs that get a gradient)."""
        if received not in self._backward:
            graph, known, found, _ = joint(self.program.recorded, list(received))
            positions = [i for i, v in enumerate(found) if v is not None]
            outputs = tuple(v for v in found if v is not None)
            whole = replace(graph, outputs=outputs, effects=())
            given = dce(_given(whole, known, self.program.recorded.name))
            program = Program(given, self.program.unchanging)
            self._backward[received] = (
                call_op(program, partial(backward, Differentiable(program))),
                positions,
            )
        return self._backward[received]


def backward(
    self: Differentiable, gs: Sequence[Tensor | None], xs: Sequence[Tensor], ys: Any
) -> list[Tensor | None]:
    """The gradient rule of a recorded call (see `op`): gradients of xs from those of ys."""
    received = tuple(g is not None for g in gs)
    op, positions = self.backward_call(received)
    arrived = [g for g in gs if g is not None]
    gradients: list[Tensor | None] = [None] * len(xs)
    for position, gradient in zip(positions, apply(op, (*xs, *ys, *arrived)), strict=True):
        gradients[position] = gradient
    return gradients


def joint(
    graph: Graph, received: Sequence[bool]
) -> tuple[Graph, list[Value | None], list[Value | None], list[Value]]:
    """Record the playback of `graph` under a tape, with a gradient for each result `received`.

    Returns:
        the joint graph, over the inputs of `graph` and then the gradients;
        for each result of `graph`, its value in the joint graph;
        for each input, the value of its gradient, or None;
        the values of `graph` itself to save for the backward part.
    """
    recorder = Recorder(graph.name)
    xs = [_stand_in(v.type) for v in graph.inputs]
    gs = [
        _stand_in(v.type) if take else None for v, take in zip(graph.results, received, strict=True)
    ]
    seen: dict[Value, Tensor] = {}
    with dispatch.eagerly(), dispatch.pushed(_Symbolic()), dispatch.pushed(recorder):
        for value, x in zip(graph.inputs, xs, strict=True):
            recorder.add_input(x, "x")
            seen[value] = x
        for g in gs:
            if g is not None:
                recorder.add_input(g, "g")
        with GradientTape() as tape:
            for x in xs:
                if is_differentiable(x.dtype):
                    tape.watch(x)
            ys = fold(graph, xs, partial(_replay, seen), _literal)
        forward_nodes = len(recorder.builder.nodes)
        wanted = [x for x in xs if is_differentiable(x.dtype)]
        targets = [y for y, g in zip(ys, gs, strict=True) if g is not None]
        given = [g for g in gs if g is not None]
        gradients = (
            tape.gradient(targets, wanted, given) if targets and wanted else [None] * len(wanted)
        )
    assert recorder.refusal is None, recorder.refusal
    found = dict(zip(map(id, wanted), gradients, strict=True))
    values = [None if found.get(id(x)) is None else recorder.value_of(found[id(x)]) for x in xs]
    whole = recorder.builder.finish([v for v in values if v is not None])
    saved = _read_backwards(graph, whole, forward_nodes, seen, recorder)
    known = [recorder.value_of(y) for y in ys]
    return whole, known, values, saved


def _read_backwards(
    graph: Graph, whole: Graph, forward_nodes: int, seen: dict[Value, Tensor], recorder: Recorder
) -> list[Value]:
    """What to save of `graph`, given what live nodes after the first `forward_nodes` read."""
    live = set(dce(whole).nodes)
    read = {v for node in whole.nodes[forward_nodes:] if node in live for v in node.inputs}
    computed = (v for node in graph.nodes for v in node.outputs if v in seen)
    return choose(graph, {v for v in computed if recorder.value_of(seen[v]) in read})


def _given(graph: Graph, known: Sequence[Value | None], name: str) -> Graph:
    """`graph` with the results of the forward as inputs, placed before the gradients."""
    inputs = list(graph.inputs)
    count = sum(1 for n in graph.input_names if n.split(".")[0] == "x")
    ys = [Value(v.type) if v is not None else None for v in known]
    replaced = {
        old: new
        for old, new in zip(known, ys, strict=True)
        if old is not None
        and new is not None
        and old not in inputs
        and not isinstance(old, Constant)
    }
    nodes = tuple(
        Node(n.op, tuple(replaced.get(v, v) for v in n.inputs), n.outputs, n.params, n.where)
        for n in graph.nodes
    )
    names = [f"y{i}" for i in range(len(ys))]
    return replace(
        graph,
        name=f"{name}.backward",
        inputs=(*inputs[:count], *(y for y in ys if y is not None), *inputs[count:]),
        input_names=(*graph.input_names[:count], *names, *graph.input_names[count:]),
        nodes=nodes,
        outputs=tuple(replaced.get(v, v) for v in graph.outputs),
    )


class _Symbolic(dispatch.Handler):
    """Stands below the recorder: gives results of the right type without computing them."""

    def apply(self, op: Any, inputs: tuple[Tensor, ...], params: Any) -> tuple[Tensor, ...]:
        types = op.infer([t.type for t in inputs], params)
        return tuple(_stand_in(t) for t in types)


def _stand_in(type: TensorType) -> Tensor:
    """A Tensor of a type, with no memory to speak of: one zero seen through zero strides."""
    return wrap(np.broadcast_to(np.zeros((), type.dtype), type.shape))


def _replay(seen: dict[Value, Tensor], node: Node, operands: list[Tensor]) -> tuple[Tensor, ...]:
    if node.op is GUARD:
        return ()
    outputs = dispatch.top().apply(node.op, tuple(operands), node.params)
    seen.update(zip(node.outputs, outputs, strict=True))
    return outputs


def _literal(constant: Constant) -> Tensor:
    tensor = wrap(constant.array)
    dispatch.top().made(tensor, None)
    return tensor
