"""Lowering: a fused graph becomes a plan, that is, kernels with the strides they are run with.

Everything that is structure goes into a kernel, everything that is size into its meta. Axes that
all operands walk alike are merged, so a contiguous array of any rank is one flat loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import COMPILED
from ..ir.graph import FUSED, GUARD, Constant, FusedKind, Graph, Node, Value
from ..ir.places import NotAffine
from ..op import Array, Assembly, Reduction
from ..passes.canonical import blas_strides, merge_axes, reduction_layout
from ..passes.kinds import is_blas, is_compiled_reduction, is_pointwise, is_source, is_view
from ..passes.simplify import covers
from ..scalar import BOOL, Program, trace
from .arena import place_temporaries
from .base import Access, Form, Loop, Reduce, Walk
from .expand import Body, Expander, Read
from .plan import Code, Guard, Matmul, Opaque, Operand, Plan, Role, Slot, Step


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a value lives: a slot, the element it starts at, and its stride along each axis."""

    slot: int
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """One operand of a loop before its axes are merged."""

    slot: int  # -1 for an index
    dtype: np.dtype[Any]
    offset: int
    strides: tuple[int, ...]

    def operand(self) -> Operand:
        return Operand(self.slot, self.offset * (self.dtype.itemsize if self.slot >= 0 else 1))


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a C-contiguous array."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def computed_results(graph: Graph) -> list[Value]:
    """The distinct results that the plan computes, in order; others are inputs or constants."""
    made = graph.producers()
    return list(dict.fromkeys(v for v in graph.results if v in made))


def lower(graph: Graph, reuse: bool = True) -> Plan:
    """The plan of a fused graph; `reuse=False` gives every temporary memory of its own."""
    return _Lowering(graph).run(reuse)


def working_nodes(graph: Graph) -> list[Node]:
    """The nodes of a fused graph that take a step: not assemblies whose parts are made in place."""
    lowering = _Lowering(graph)
    lowering.run(reuse=True)
    return list(lowering.working)


class _Lowering:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.uses = graph.uses()
        self.results = computed_results(graph)
        self.slots: list[Slot] = []
        self.steps: list[Step] = []
        self.storage: dict[Value, Storage] = {}
        self.constants: dict[object, int] = {}
        self.expander = Expander()
        self.working: dict[Node, None] = {}  # in the order of their steps

    def run(self, reuse: bool) -> Plan:
        inputs = tuple(self._store(v, Role.INPUT).slot for v in self.graph.inputs)
        outputs = tuple(self._store(v, Role.OUTPUT).slot for v in self.results)
        for node in self.graph.nodes:
            if (
                isinstance(node.op, Assembly)
                and covers(node)
                and node.outputs[0].type.dtype in COMPILED
            ):
                self._place_operands(node)
        for node in self.graph.nodes:
            for value in node.outputs:
                if value not in self.storage:
                    self._store(value, Role.TEMPORARY)
            if all(v.type.size for v in node.outputs) or node.op is GUARD:
                self._lower(node)
        slots, arena = place_temporaries(self.slots, self.steps, reuse)
        return Plan(self.graph.name, slots, tuple(self.steps), inputs, outputs, arena)

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
            made = self.producers.get(operand)
            sole = len(self.uses[operand]) == 1 and operand not in self.storage
            if made is not None and sole and _is_loop(made):
                self.storage[operand] = self._part(whole, region)

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
            program, reads = self.expander.expand(body, shape, body.roots)
            streams = [self._stream(read, body.outer) for read in reads]
            self._loop(shape, program, streams, [self._target(v) for v in node.outputs], node)
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
        extents, strides = merge_loop_axes(shape, [s.strides for s in both])
        accesses = tuple(
            Access(s.dtype, _walk(s.slot, row[-1])) for s, row in zip(both, strides, strict=True)
        )
        count = len(streams)
        kernel = Loop(len(extents), accesses[:count], accesses[count:], program)
        meta = (*extents, *(stride for row in strides for stride in row))
        self._step(kernel, [s.operand() for s in both], meta, extents[0], node)

    def _reduce(self, body: Body, node: Node) -> None:
        inner = body.producers()[body.roots[0]]
        op, (operand,) = inner.op, inner.inputs
        assert isinstance(op, Reduction)
        layout = reduction_layout(inner)
        program, reads = self.expander.expand(body, operand.type.shape, [operand])
        collapsed = layout.collapse([read.address for read in reads])
        kept, reduced, columns = layout.extents
        form = Form.COLUMN if layout.has_columns else Form.ROW
        axes = 3 if layout.has_columns else 2
        target = self._target(node.outputs[0])
        operands, accesses, meta = [], [], [kept, reduced, columns][:axes]
        for read, (_, strides) in zip(reads, collapsed, strict=True):
            stream = self._stream(read, body.outer)
            operands.append(stream.operand())
            accesses.append(Access(stream.dtype, _walk(stream.slot, strides[axes - 1])))
            meta += strides[:axes]
        meta += [columns, 1] if layout.has_columns else [1]
        dtype = operand.type.dtype
        kernel = Reduce(
            form,
            tuple(accesses),
            Access(target.dtype, Walk.UNIT),
            program,
            trace(op.combine, [dtype, dtype]),
            dtype.type(op.identity(dtype)).item(),
        )
        self._step(kernel, [*operands, target.operand()], tuple(meta), kept, node)

    def _matmul(self, body: Body, node: Node) -> None:
        producers = body.producers()
        inner = producers[body.roots[0]]
        out = inner.outputs[0].type
        batch, (m, n), k = out.shape[:-2], out.shape[-2:], inner.inputs[0].type.shape[-1]
        readings = [self._matrix(v, producers, body.outer, len(out.shape)) for v in inner.inputs]
        target = self._target(node.outputs[0])
        rows = [*readings, target]
        try:
            merged = [merge_axes(s.strides[:-2], batch) for s in rows]
            jobs = [((0,) * len(batch), int(np.prod(batch, dtype=int)), merged)]
        except (
            NotAffine
        ):  # batch axes that do not merge: one call for each index of all but the last
            jobs = [
                ((*i, 0), batch[-1], [s.strides[-3] for s in rows]) for i in np.ndindex(*batch[:-1])
            ]
        extents = ((m, k), (k, n), (m, n))
        for index, count, steps in jobs:
            starts = [sum(a * b for a, b in zip(index, s.strides[:-2], strict=True)) for s in rows]
            operands = [
                Operand(s.slot, (s.offset + start) * s.dtype.itemsize)
                for s, start in zip(rows, starts, strict=True)
            ]
            meta = [count, m, n, k]
            for s, step, shape in zip(rows, steps, extents, strict=True):
                meta += [step, *_leading(s.strides[-2:], shape)]
            self._step(Matmul(out.dtype), operands, tuple(meta), count, node)

    def _matrix(
        self, value: Value, producers: Mapping[Value, Node], outer: Mapping[Value, Value], rank: int
    ) -> Stream:
        found = blas_strides(value, producers.get)
        assert found is not None, "fuse lets only readable operands through"
        base, offset, strides = found
        storage = self._where(outer.get(base, base))
        extents = value.type.shape
        steps = [0 if n == 1 else s for s, n in zip(strides[:-2], extents[:-2], strict=True)]
        padding = (0,) * (rank - len(strides))
        return Stream(
            storage.slot,
            value.type.dtype,
            storage.offset + offset,
            (*padding, *steps, *strides[-2:]),
        )

    def _assemble(self, node: Node) -> None:
        whole = self._where(node.outputs[0])
        dtype = node.outputs[0].type.dtype
        if not covers(node):
            zero = Constant(type(node.outputs[0].type)(dtype, ()), np.zeros((), dtype))
            self._copy(zero, node.outputs[0].type.shape, whole, node)
        for operand, region in zip(node.inputs, self._regions(node), strict=True):
            part = self._part(whole, region)
            if self._where(operand) != part and operand.type.size:
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
        self._step(Opaque(node.op.name, _by_numpy(node, len(node.inputs))), operands, (), 1, node)

    def _whole(self, value: Value) -> Operand:
        return Operand(self._where(value).slot)

    def _step(
        self, code: Code, operands: Sequence[Operand], meta: tuple[int, ...], count: int, node: Node
    ) -> None:
        self.working[node] = None
        self.steps.append(
            Step(code, tuple(operands), tuple(int(m) for m in meta), count, node.where)
        )


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


def _walk(slot: int, stride: int) -> Walk:
    if slot < 0:
        return Walk.INDEX
    return {1: Walk.UNIT, 0: Walk.SPLAT}.get(stride, Walk.STRIDED)


def _leading(strides: Sequence[int], extents: tuple[int, int]) -> tuple[int, int]:
    """Row and column stride as BLAS wants them: one is 1, the other at least the extent."""
    row, column = strides
    rows, columns = extents
    if columns == 1 or column == 1:
        return (row if rows > 1 else max(columns, 1)), 1
    return 1, (column if columns > 1 else max(rows, 1))


def merge_loop_axes(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Extents and strides after dropping axes of extent 1 and joining axes that all walk as one."""
    axes = [i for i, n in enumerate(shape) if n != 1] or list(range(len(shape)))[-1:]
    if not axes:  # a scalar: one iteration, everything at its start
        return [1], [[1] for _ in strides]
    extents: list[int] = []
    rows: list[list[int]] = [[] for _ in strides]
    for axis in axes:
        extent = shape[axis]
        if extents and all(
            row[-1] == s[axis] * extent for row, s in zip(rows, strides, strict=True)
        ):
            extents[-1] *= extent
            for row, s in zip(rows, strides, strict=True):
                row[-1] = s[axis]
        else:
            extents.append(extent)
            for row, s in zip(rows, strides, strict=True):
                row.append(s[axis])
    return extents, rows


def _by_numpy(node: Node, count: int) -> Callable[..., None]:
    def call(*arrays: Array) -> None:
        with np.errstate(all="ignore"):
            result = node.op.by_numpy(list(arrays[:count]), node.params)
        results = result if isinstance(result, tuple) else (result,)
        for target, value in zip(arrays[count:], results, strict=True):
            np.copyto(target, value, casting="no" if target.dtype != BOOL else "unsafe")

    return call
