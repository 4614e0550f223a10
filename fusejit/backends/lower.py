"""Lowering: a fused graph becomes a plan, that is, kernels with the strides they are run with.

Everything that is structure goes into a kernel, everything that is size into its meta. Axes that
all operands walk alike are merged, so a contiguous array of any rank is one flat loop.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ..dtypes import COMPILED
from ..frozen import frozen, replace
from ..ir.affine import Affine
from ..ir.graph import FUSED, GUARD, Constant, FusedKind, Graph, Node, Value
from ..op import Array, Assembly, Reduction
from ..passes.canonical import reduction_layout
from ..passes.kinds import is_blas, is_compiled_reduction, is_pointwise, is_source, is_view
from ..passes.simplify import covers
from ..scalar import Program, trace
from . import products
from .arena import place_temporaries
from .base import Form
from .cost import nanoseconds
from .donate import donated
from .drafts import drafted
from .expand import Body, Expander, Read
from .loops import loop_kernel
from .opaque import by_numpy
from .plan import Code, Guard, Operand, Plan, Role, Slot, Step
from .reducing import Reducing
from .storage import Storage, Stream, row_major
from .strips import form

NOTHING: Mapping[int, int] = MappingProxyType({})


def computed_results(graph: Graph) -> list[Value]:
    """The distinct results that the plan computes, in order; others are inputs or constants."""
    made = graph.producers()
    return list(dict.fromkeys(v for v in graph.results if v in made))


def lower(
    graph: Graph,
    reuse: bool = True,
    unchanging: Container[int] = (),
    replaced: Mapping[int, int] = NOTHING,
    narrow: bool = False,
) -> Plan:
    """The plan of a fused graph.

    Args:
        graph: what to compute.
        reuse: False gives every temporary memory of its own.
        unchanging: positions of inputs whose arrays never change while they live; what is packed
            from them is kept between runs.
        replaced: position of an input -> number of the result that may take its memory.
        narrow: whether it is for a machine whose vectors are shorter than a cache line.
    """
    return _Lowering(graph).run(reuse, unchanging, replaced, narrow)


@frozen
class Lowered:
    """A graph as slots and steps, in order: what is the same for every target. Products are BLAS's
    and nothing has joined a strip; temporaries have no place."""

    slots: list[Slot]
    steps: list[Step]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    values: Mapping[Value, Storage]  # see `Plan.values`


def lowered(graph: Graph, whole: bool = False) -> Lowered:
    """The steps of a fused graph; with `whole` each reduction is one, whatever its extents."""
    return _Lowering(graph, whole).lowered()


def work_of(graph: Graph) -> tuple[dict[Node, list[Code]], dict[Value, Storage]]:
    """What runs for each node that takes a step, before products get their forms; where values are
    put. An assembly whose parts are made in place takes none."""
    lowering = _Lowering(graph)
    lowering.run(reuse=True)
    return lowering.working, lowering.storage


class _Lowering:
    def __init__(self, graph: Graph, whole: bool = False) -> None:
        self.graph = graph
        self.whole = whole
        self.producers = graph.producers()
        self.uses = graph.uses()
        self.results = computed_results(graph)
        self.slots: list[Slot] = []
        self.steps: list[Step] = []
        self.storage: dict[Value, Storage] = {}
        self.copies: dict[Value, list[Storage]] = {}  # where else loops store what they compute
        self.constants: dict[object, int] = {}
        self.expander = Expander(graph.fastmath)
        self.working: dict[Node, list[Code]] = {}  # in the order of their steps

    def run(
        self,
        reuse: bool,
        unchanging: Container[int] = (),
        replaced: Mapping[int, int] = NOTHING,
        narrow: bool = False,
    ) -> Plan:
        found = self.lowered()
        kept = {slot for position, slot in enumerate(found.inputs) if position in unchanging}
        given, steps = products.choose(found.slots, found.steps, kept, narrow)
        formed = form(given, steps, kept)
        replacing = tuple(self._replacing(found.inputs, replaced))
        if reuse:
            formed = drafted(formed, {taken for _, taken in replacing})
        slots, arena = place_temporaries(formed.slots, formed.steps, formed.strips, reuse)
        return Plan(
            self.graph.name,
            slots,
            formed.steps,
            found.inputs,
            found.outputs,
            arena,
            formed.strips,
            formed.scratch,
            sum(map(nanoseconds, steps)),
            formed.notes,
            donated(slots, formed.steps, formed.strips, replacing),
            found.values,
        )

    def lowered(self) -> Lowered:
        inputs = tuple(self._store(v, Role.INPUT).slot for v in self.graph.inputs)
        outputs = tuple(self._store(v, Role.OUTPUT).slot for v in self.results)
        for node in reversed(self.graph.nodes):  # an assembly inside another lies in its region
            if _is_covered(node):
                self._place_operands(node)
        for node in self.graph.nodes:
            for value in node.outputs:
                if value not in self.storage:
                    self._store(value, Role.TEMPORARY)
            if all(v.type.size for v in node.outputs) or node.op is GUARD:
                self._lower(node)
        guarded = any(node.op is GUARD for node in self.graph.nodes)
        return Lowered(self.slots, self.steps, inputs, outputs, self.storage if guarded else {})

    def _replacing(
        self, inputs: Sequence[int], replaced: Mapping[int, int]
    ) -> Iterator[tuple[int, int]]:
        """The slots of inputs and of the results that replace them; who returns the input too needs
        it as it was."""
        for position, number in replaced.items():
            given, result = self.graph.inputs[position], self.graph.results[number]
            if result in self.producers and given not in self.graph.results:
                yield inputs[position], self.storage[result].slot

    # ---- storage

    def _store(self, value: Value, role: Role, array: Array | None = None) -> Storage:
        self.slots.append(Slot(role, value.type.dtype, value.type.shape, value=array))
        storage = Storage(len(self.slots) - 1, 0, row_major(value.type.shape))
        self.storage[value] = storage
        return storage

    def _place_operands(self, node: Node) -> None:
        """Let the kernels that compute the operands of an assembly write straight into it."""
        (output,) = node.outputs
        whole = self.storage.get(output) or self._store(output, Role.TEMPORARY)
        for operand, region in zip(node.inputs, self._regions(node), strict=True):
            part = self._part(whole, region)
            made = self.producers.get(operand)
            if operand not in self.storage and self._may_lie(operand, part):
                self.storage[operand] = part
            elif made is not None and _is_loop(made):
                self.copies.setdefault(operand, []).append(part)

    def _may_lie(self, operand: Value, part: Storage) -> bool:
        """Whether `operand` can be made inside another array, and found there by all its readers.

        Kernels address what they read as a contiguous array, so an operand that others read too
        must be one inside the whole; then anything compiled may make it. If assemblies are all that
        reads it, it may have gaps; then a loop, or an assembly of such, must make it.
        """
        made = self.producers.get(operand)
        if made is None:
            return False
        readers = self.uses[operand]
        if _walks_contiguously(part.strides, operand.type.shape):
            compiled = _is_covered(made) or kernel_kind(made) is not None
            return compiled and all(_reads_parts(reader) for reader in readers)
        assembled = all(isinstance(reader.op, Assembly) for reader in readers)
        return assembled and (_is_loop(made) or _is_covered(made))

    def _regions(self, node: Node) -> Sequence[Sequence[tuple[int, int]]]:
        assert isinstance(node.op, Assembly)
        _, regions = node.op.regions([v.type.shape for v in node.inputs], **node.params)
        return regions

    @staticmethod
    def _part(whole: Storage, region: Sequence[tuple[int, int]]) -> Storage:
        start = sum(s * stride for (s, _), stride in zip(region, whole.strides, strict=True))
        strides = tuple(
            step * stride for (_, step), stride in zip(region, whole.strides, strict=True)
        )
        return Storage(whole.slot, whole.offset + start, strides)

    def _where(self, value: Value) -> Storage:
        if isinstance(value, Constant) and value not in self.storage:
            key = (value.type, value.array.tobytes())
            if key in self.constants:
                self.storage[value] = Storage(self.constants[key], 0, row_major(value.type.shape))
            else:
                self.constants[key] = self._store(value, Role.CONSTANT, value.array).slot
        return self.storage[value]

    # ---- nodes

    def _lower(self, node: Node) -> None:
        if node.op is GUARD:
            step = Guard(node.params["expected"])
            self._step(step, [self._whole(node.inputs[0])], (), 1, node)
        elif node.op is FUSED:
            inside: Graph = node.params["body"]
            outer = dict(zip(inside.inputs, node.inputs, strict=True))
            self._kernel(node, node.params["kind"], Body(inside.nodes, inside.outputs, outer))
        elif isinstance(node.op, Assembly) and node.outputs[0].type.dtype in COMPILED:
            self._assemble(node)
        else:
            kind = kernel_kind(node)
            if kind is None:
                self._opaque(node)
            else:
                self._kernel(node, kind, Body((node,), node.outputs, {}))

    def _kernel(self, node: Node, kind: FusedKind, body: Body) -> None:
        """A fused node, or a bare one, whose body is itself."""
        if kind is FusedKind.LOOP:
            shape = body.roots[0].type.shape
            stored = [
                (inner, outer.type.dtype, storage)
                for inner, outer in zip(body.roots, node.outputs, strict=True)
                for storage in (self._where(outer), *self.copies.get(outer, ()))
            ]
            program, reads = self.expander.expand(body, shape, [inner for inner, _, _ in stored])
            streams = [self._stream(read, body.outer) for read in reads]
            targets = [Stream(s.slot, dtype, s.offset, s.strides) for _, dtype, s in stored]
            self._loop(shape, program, streams, targets, node)
        elif kind is FusedKind.REDUCE:
            self._reduce(body, node)
        else:
            self._matmul(body, node)

    def _target(self, value: Value) -> Stream:
        storage = self._where(value)
        return Stream(storage.slot, value.type.dtype, storage.offset, storage.strides)

    def _stream(self, read: Read, outer: Mapping[Value, Value]) -> Stream:
        value, address = read.value, read.address
        if read.is_index:
            return Stream(-1, value.type.dtype, address.constant, address.coefficients)
        storage = self._where(outer.get(value, value))
        offset = storage.offset + address.constant
        return Stream(storage.slot, value.type.dtype, offset, address.coefficients)

    def _loop(
        self,
        shape: tuple[int, ...],
        program: Program,
        streams: Sequence[Stream],
        targets: Sequence[Stream],
        node: Node,
    ) -> None:
        both = (*streams, *targets)
        walked = tuple([(s.dtype, s.slot < 0, s.strides) for s in both])
        kernel, meta = loop_kernel(shape, program, len(streams), walked)
        self._step(kernel, [s.operand() for s in both], meta, meta[0], node)

    def _reduce(self, body: Body, node: Node) -> None:
        inner = body.producers()[body.roots[0]]
        op, (operand,) = inner.op, inner.inputs
        assert isinstance(op, Reduction)
        layout = reduction_layout(inner)
        program, reads = self.expander.expand(body, operand.type.shape, [operand, *body.roots[1:]])
        target, *stored = map(self._target, node.outputs)
        both = [*(self._stream(read, body.outer) for read in reads), *stored]
        collapsed = layout.collapse([Affine(s.offset, s.strides) for s in both])
        streams = [
            replace(s, strides=strides) for s, (_, strides) in zip(both, collapsed, strict=True)
        ]
        columns, dtype = layout.extents[2], operand.type.dtype
        job = Reducing(
            Form.COLUMN if layout.has_columns else Form.ROW,
            layout.extents,
            tuple(streams[: len(reads)]),
            replace(target, strides=(columns, 1)),
            program,
            trace(op.combine, [dtype, dtype]),
            dtype.type(op.identity(dtype)).item(),
            tuple(streams[len(reads) :]),
        )
        for step in (job.step(),) if self.whole else job.steps(self._temporary):
            self._add(step, node)

    def _temporary(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Stream:
        """A buffer that is no value of the graph."""
        self.slots.append(Slot(Role.TEMPORARY, dtype, shape))
        return Stream(len(self.slots) - 1, dtype, 0, row_major(shape))

    def _matmul(self, body: Body, node: Node) -> None:
        producers = body.producers()
        inner = producers[body.roots[0]]
        shape, k = inner.outputs[0].type.shape, inner.inputs[0].type.shape[-1]
        matrices = []
        for value in inner.inputs:
            base, offset, strides = products.reading(value, producers.get, len(shape))
            storage = self._where(body.outer.get(base, base))
            dtype = value.type.dtype
            matrices.append(Stream(storage.slot, dtype, storage.offset + offset, strides))
        for step in products.steps([*matrices, self._target(node.outputs[0])], shape, k):
            self._add(step, node)

    def _assemble(self, node: Node) -> None:
        whole = self._where(node.outputs[0])
        dtype = node.outputs[0].type.dtype
        if not covers(node):
            zero = Constant(type(node.outputs[0].type)(dtype, ()), np.zeros((), dtype))
            self._copy(zero, node.outputs[0].type.shape, whole, node)
        for operand, region in zip(node.inputs, self._regions(node), strict=True):
            part = self._part(whole, region)
            there = (self._where(operand), *self.copies.get(operand, ()))
            if part not in there and operand.type.size:
                self._copy(operand, operand.type.shape, part, node)

    def _copy(self, value: Value, shape: tuple[int, ...], target: Storage, node: Node) -> None:
        dtype = value.type.dtype
        source = self._where(value)
        strides = source.strides if value.type.shape == shape else (0,) * len(shape)
        program = trace(lambda x: x, [dtype])
        streams = [
            Stream(source.slot, dtype, source.offset, strides),
            Stream(target.slot, dtype, target.offset, target.strides),
        ]
        self._loop(shape, program, streams[:1], streams[1:], node)

    def _opaque(self, node: Node) -> None:
        operands = [self._whole(v) for v in (*node.inputs, *node.outputs)]
        self._step(by_numpy(node), operands, (), 1, node)

    def _whole(self, value: Value) -> Operand:
        return Operand(self._where(value).slot)

    def _step(
        self, code: Code, operands: Sequence[Operand], meta: tuple[int, ...], count: int, node: Node
    ) -> None:
        self.working.setdefault(node, []).append(code)
        self.steps.append(Step(code, tuple(operands), meta, count, node.where))

    def _add(self, step: Step, node: Node) -> None:
        self.working.setdefault(node, []).append(step.code)
        self.steps.append(replace(step, where=node.where))


def kernel_kind(node: Node) -> FusedKind | None:
    """What a bare node becomes; None if NumPy runs it."""
    if node.op is FUSED:
        kind: FusedKind = node.params["kind"]
        return kind
    if is_view(node) or is_source(node) or is_pointwise(node):
        return FusedKind.LOOP
    if is_compiled_reduction(node):
        return FusedKind.REDUCE
    return FusedKind.MATMUL if is_blas(node) else None


def _is_loop(node: Node) -> bool:
    return kernel_kind(node) is FusedKind.LOOP


def _is_covered(node: Node) -> bool:
    """Whether the node is an assembly that kernels make, without zeros between its parts."""
    compiled = isinstance(node.op, Assembly) and node.outputs[0].type.dtype in COMPILED
    return compiled and covers(node)


def _reads_parts(node: Node) -> bool:
    """Whether the node can read an array that starts inside another; NumPy steps and guards get
    whole ones."""
    return kernel_kind(node) is not None or isinstance(node.op, Assembly)


def _walks_contiguously(strides: Sequence[int], shape: Sequence[int]) -> bool:
    pairs = zip(strides, row_major(shape), shape, strict=True)
    return all(stride == dense for stride, dense, extent in pairs if extent != 1)
