"""The gradient of a recorded call: a forward program that saves, and a backward program that reads.

    recorded f(xs) -> ys
    joint    f'(xs, gs) = playback of f under a tape: its own ops, then the backward ops
    saved    values of f from which those that backward ops read are known (see `saved`)
    forward  f(xs) -> ys, saved              run while a tape watches
    backward b(xs, ys, saved, gs) -> grads   the joint graph with all that is known as inputs

There is a forward for each set of inputs that tapes have watched, and gradients of no others are
computed; there is a backward for each set of results that a gradient arrives at. One joint serves
both, if gradients arrive at all results that can have one.

Both are programs like any other, so they are fused, cached and differentiated in turn: the backward
call goes through dispatch as one op, and an outer tape that watches it asks for *its* backward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from itertools import compress
from typing import Any

import numpy as np

from .. import dispatch
from ..autodiff.tags import is_differentiable
from ..autodiff.tape import GradientTape
from ..device import CPU
from ..dtypes import TensorType
from ..frozen import frozen, replace
from ..ir.builder import renamed_results, with_inputs
from ..ir.devices import devices_of
from ..ir.graph import GUARD, Constant, Graph, Node, Placed, Value
from ..ir.interpreter import fold
from ..op import Array
from ..origin import Origin, user_origin
from ..passes.clean import dce
from ..tensor import Tensor, wrap
from .recorder import Recorder
from .saved import choose
from .taped import Flags, apply, watched_among
from .trace import Call, Program, call_op


class Differentiable:
    """A program and, made when first needed, its forwards with saved values."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._forward: dict[Flags, Call] = {}

    def forward(self, watched: Flags) -> Call:
        """The op to apply under tapes that watch these inputs: the results, then saved values."""
        if watched not in self._forward:
            graph = self.program.recorded
            received = tuple(is_differentiable(v.type.dtype) for v in graph.results)
            both = joint(graph, received, watched)
            saved = both.saved()
            extended = replace(graph, outputs=(*graph.results, *saved), effects=())
            program = Program(extended, self.program.unchanging)
            ready = replace(both, recorded=extended, received=(*received, *(False for _ in saved)))
            self._forward[watched] = call_op(program, Backward(program, watched, ready))
        return self._forward[watched]


class Backward:
    """The gradient rule of a recorded call (see `op`), of which tapes watch some inputs."""

    def __init__(self, program: Program, watched: Flags, ready: Joint | None = None) -> None:
        self._program = program
        self._watched = watched
        self._ready = ready  # what the forward was made from, until a backward is made from it too
        self._made: dict[Flags, tuple[Program, list[int]]] = {}
        self._calls: dict[tuple[Flags, Flags], Call] = {}

    def __call__(
        self, gs: Sequence[Tensor | None], xs: Sequence[Tensor], ys: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """The gradients of the watched among xs from those of ys."""
        received = tuple([g is not None for g in gs])
        if received not in self._made:
            self._made[received] = self._make(received)
        program, positions = self._made[received]
        operands = (*xs, *ys, *[g for g in gs if g is not None])
        key = (received, watched_among(operands))
        if key not in self._calls:
            self._calls[key] = call_op(program, Backward(program, key[1]))
        gradients: list[Tensor | None] = [None] * len(xs)
        for position, gradient in zip(positions, apply(self._calls[key], operands), strict=True):
            gradients[position] = gradient
        return gradients

    def _make(self, received: Flags) -> tuple[Program, list[int]]:
        """The program on xs, ys and the gradients that arrived; inputs that get a gradient."""
        both, self._ready = self._ready, None
        if both is None or both.received != received:
            both = joint(self._program.recorded, received, self._watched)
        given = dce(_given(both))
        positions = [i for i, v in enumerate(both.gradients) if v is not None]
        return Program(given, self._program.unchanging), positions


@frozen(eq=False)
class Joint:
    """The playback of `recorded` under a tape, with a gradient for each result `received`.

    Attributes:
        graph: over the inputs of `recorded` and then the gradients.
        gradients: for each input of `recorded`, the value of its gradient, or None.
        known: what values of `recorded` are in the joint graph.
        forward_nodes: how many nodes of the joint graph play back `recorded`.
    """

    recorded: Graph
    received: Flags
    graph: Graph
    gradients: tuple[Value | None, ...]
    known: Mapping[Value, Value]
    forward_nodes: int

    def results(self) -> list[Value]:
        """What the results of `recorded` are in the joint graph."""
        return [self.known.get(v, v) for v in self.recorded.results]

    def saved(self) -> list[Value]:
        """The values of `recorded` to save, given what live nodes of the backward part read."""
        live = dce(self.graph).nodes
        forward = set(self.graph.nodes[: self.forward_nodes])
        read = {v for node in live if node not in forward for v in node.inputs}
        computed = (v for node in self.recorded.nodes for v in node.outputs)
        return choose(self.recorded, {v for v in computed if self.known.get(v) in read})


def joint(graph: Graph, received: Flags, watched: Flags) -> Joint:
    """Record the playback of `graph` under a tape that watches some of its inputs."""
    recorder = Recorder(graph.name, fastmath=graph.fastmath)
    devices = devices_of(graph)
    xs = [_stand_in(v.type, devices[v]) for v in graph.inputs]
    gs = [
        _stand_in(v.type, devices.get(v, CPU)) if take else None
        for v, take in zip(graph.results, received, strict=True)
    ]
    seen: dict[Value, Tensor] = {}
    symbolic = _Symbolic(user_origin())
    given = [g for g in gs if g is not None]
    wanted = list(compress(xs, watched))

    def play() -> tuple[int, Any]:
        for value, x in zip(graph.inputs, xs, strict=True):
            recorder.add_input(x, "x")
            seen[value] = x
        for g in given:
            recorder.add_input(g, "g")
        with GradientTape() as tape:
            tape.watch(wanted)
            ys = fold(graph, xs, partial(_replay, seen), _literal)
        forward_nodes = len(recorder.builder.nodes)
        targets = list(compress(ys, received))
        if not targets or not wanted:
            return forward_nodes, [None] * len(wanted)
        return forward_nodes, tape.gradient(targets, wanted, given)

    recorded = partial(dispatch.under, symbolic, partial(dispatch.under, recorder, play))
    forward_nodes, gradients = dispatch.eagerly(recorded)
    assert recorder.refusal is None, recorder.refusal
    found = dict(zip(map(id, wanted), gradients, strict=True))
    values = [None if found.get(id(x)) is None else recorder.value_of(found[id(x)]) for x in xs]
    whole = recorder.finish([v for v in values if v is not None])
    known = {v: made for v, t in seen.items() if (made := recorder.value_of(t)) is not None}
    return Joint(graph, received, whole, tuple(values), known, forward_nodes)


def _given(both: Joint) -> Graph:
    """The joint graph with the results of the forward as inputs, placed before the gradients."""
    graph, count = both.graph, len(both.recorded.inputs)
    results = both.results()
    devices = devices_of(graph)
    ys = [_input(v, devices.get(v, CPU)) for v in results]
    computed = {v for node in graph.nodes for v in node.outputs}
    replaced = {old: new for old, new in zip(results, ys, strict=True) if old in computed}
    names = [f"y{i}" for i in range(len(ys))]
    return replace(
        renamed_results(graph, replaced),
        name=f"{both.recorded.name}.backward",
        inputs=(*graph.inputs[:count], *ys, *graph.inputs[count:]),
        input_names=(*graph.input_names[:count], *names, *graph.input_names[count:]),
        nodes=tuple([with_inputs(node, replaced) for node in graph.nodes]),
    )


def _input(value: Value, device: str) -> Value:
    return Value(value.type) if device == CPU else Placed(value.type, device)


class _Symbolic(dispatch.Handler):
    """Stands below the recorder: gives results of the right type without computing them."""

    def __init__(self, origin: Origin | None) -> None:
        self._origin = origin  # of all of them: to look for the user takes as long as to infer

    def apply(self, op: Any, inputs: tuple[Tensor, ...], params: Any) -> tuple[Tensor, ...]:
        device = op.device([t.device for t in inputs], params)
        outputs = tuple([_stand_in(t, device) for t in op.infer([t.type for t in inputs], params)])
        for output in outputs:
            output._origin = self._origin
        return outputs


def _stand_in(type: TensorType, device: str) -> Tensor:
    """A Tensor of a type that takes no memory to speak of."""
    return wrap(_nothing(type) if device == CPU else _Nothing(type, device))


class _Nothing:
    """Stands for an array on a GPU."""

    def __init__(self, type: TensorType, device: str) -> None:
        self.dtype, self.shape = type.dtype, type.shape
        self.ndim, self.size = len(type.shape), type.size
        self.spec = self.device = device


@lru_cache(maxsize=256)  # some 200 bytes each
def _nothing(type: TensorType) -> Array:
    """One zero seen through zero strides."""
    return np.broadcast_to(np.zeros((), type.dtype), type.shape)


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
