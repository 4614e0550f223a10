"""ONNX models. What an op is comes from its record: views are slices and transpositions by their
index maps, reductions by what they make of 2 and 3, elementwise ops by their scalar programs.

Only what records cannot say is listed, in `onnx_functions`: functions that our kernels spell in
bits, where ONNX has a name for them, and ops that NumPy runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..capture.recorded import path_of_call
from ..dtypes import kind_of
from ..errors import ExportError
from ..files import AnyPath, replace_file
from ..ir.affine import Affine, identity
from ..ir.graph import GUARD, Constant, Graph, Node, Value
from ..numerics.evaluate import evaluate
from ..op import Assembly, Contraction, Elementwise, Reduction, Source, View
from ..scalar import BOOL, DType, trace
from . import onnx_functions, onnx_scalar
from .onnx_writer import Writer, unsupported

if TYPE_CHECKING:
    from onnx import ModelProto

_INT_MIN = -(1 << 62)  # before the first element: where a slice ends that goes backwards to it


def export_onnx(
    f: Callable[..., Any], path: AnyPath, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """See `fj.export.onnx`."""
    replace_file(path, [model_of(f, args, kwargs).SerializeToString()])


def model_of(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> ModelProto:
    """The model of a call."""
    recorded, program = path_of_call(f, args, kwargs)
    graph = program.stages["dce"]
    writer = Writer(graph.name)
    translation = _Translation(writer, graph)
    named = zip(graph.inputs, graph.input_names, recorded.inputs, strict=True)
    for value, name, source in named:
        if unsupported(value.type.dtype):
            translation.problems.append(f"{name}: {value.type} is no type of its tensors")
        elif source is None:
            translation.names[value] = writer.input(name, value.type)
        else:
            translation.names[value] = writer.constant(source.numpy(), name)
    for node in graph.nodes:
        translation.translate(node)
    problems = list(dict.fromkeys(translation.problems))
    problems += [f"assignment to {name}: a model has no state" for name, _ in graph.effects]
    if problems:
        raise ExportError(f"{graph.name} is no ONNX model: " + "; ".join(problems) + ".")
    for number, value in enumerate(graph.outputs):
        wanted = f"output{number}" if len(graph.outputs) > 1 else "output"
        writer.output(translation.name_of(value), wanted, value.type)
    return writer.model()


class _Translation:
    """From nodes of a graph to nodes of a model."""

    def __init__(self, writer: Writer, graph: Graph) -> None:
        self.writer = writer
        self.graph = graph
        self.names: dict[Value, str] = {}
        self.problems: list[str] = []

    def name_of(self, value: Value) -> str:
        if isinstance(value, Constant) and value not in self.names:
            self.names[value] = self.writer.constant(value.array)
        return self.names.get(value, "?")

    def translate(self, node: Node) -> None:
        """Add what a node is; what it cannot be is noted, and the others go on."""
        try:
            if node.op is GUARD:
                raise ExportError("a value decides what is computed")
            foreign = [v.type for v in (*node.inputs, *node.outputs) if unsupported(v.type.dtype)]
            if foreign:
                raise ExportError(f"{foreign[0]} is no type of its tensors")
            made: Sequence[str] = self._made(node, [self.name_of(v) for v in node.inputs])
        except ExportError as error:
            name = node.params["how"] if node.op is GUARD else node.op.name
            self.problems.append(f"{name} ({node.where or '?'}): {error}")
            made = ["?"] * len(node.outputs)
        self.names.update(zip(node.outputs, made, strict=True))

    def _made(self, node: Node, inputs: list[str]) -> list[str]:
        op, (output, *_) = node.op, node.outputs
        listed = onnx_functions.OPS.get(op.name)
        if listed is not None:
            return [listed(self.writer, inputs, node)]
        match op:
            case Elementwise():
                dtypes = tuple(v.type.dtype for v in node.inputs)
                program = op.program(dtypes, node.params)
                if program is None:
                    raise ExportError("it has no scalar program")
                found = onnx_scalar.translated(self.writer, program, inputs)
                return [self._expanded(found, node)]
            case Reduction():
                return [self._reduction(op, node, inputs[0])]
            case View():
                return [self._view(op, node, inputs[0])]
            case Assembly():
                return [self._assembly(op, node, inputs)]
            case Contraction():
                return [self.writer.node("MatMul", inputs)]
            case Source():
                count = math.prod(output.type.shape)
                return [self.writer.constant(np.arange(count).reshape(output.type.shape))]
        raise ExportError("no counterpart")

    def _expanded(self, name: str, node: Node) -> str:
        """An elementwise result that is a constant has not the shape of its operands."""
        shape = node.outputs[0].type.shape
        if self.writer.is_constant(name) and shape:
            return self.writer.node("Expand", [name, self.writer.shape(shape)])
        return name

    # ---- reductions

    def _reduction(self, op: Reduction, node: Node, x: str) -> str:
        dtype = node.inputs[0].type.dtype
        kind = _reduces(op, dtype)
        axes = self.writer.shape(node.params["axes"])
        if not node.params["axes"]:
            return x
        narrow = dtype == BOOL
        operand = self.writer.cast(x, np.dtype(np.int32)) if narrow else x
        found = self.writer.node(
            f"Reduce{kind}", [operand, axes], keepdims=int(node.params["keepdims"])
        )
        return self.writer.cast(found, BOOL) if narrow else found

    # ---- views

    def _view(self, op: View, node: Node, x: str) -> str:
        """Slice the operand, put its axes in order, add axes, repeat: any affine map that takes
        each axis of the operand from one of the result's."""
        given, shape = node.inputs[0].type.shape, node.outputs[0].type.shape
        if op.index is None:
            return self.writer.reshape(x, shape)
        places = [*op.index(identity(len(shape)), given, **node.params)]
        from_axis = [_axis_of(place, shape) for place in places]
        used = [axis for axis in from_axis if axis is not None]
        if len(set(used)) < len(used):
            raise ExportError("two axes of its operand move together")
        x = self._sliced(x, given, shape, places, from_axis)
        order = sorted(range(len(given)), key=lambda j: _order(from_axis[j]))
        if order != list(range(len(given))):
            x = self.writer.node("Transpose", [x], perm=order)
        kept = [n if k in used else 1 for k, n in enumerate(shape)]
        dropped = [1] * (len(given) - len(used))  # they stand in front now
        if [*dropped, *(shape[k] for k in sorted(used))] != kept:
            x = self.writer.reshape(x, kept)
        return x if tuple(kept) == shape else self.writer.expand(x, shape)

    def _sliced(
        self,
        x: str,
        given: Sequence[int],
        shape: Sequence[int],
        places: Sequence[Affine],
        from_axis: Sequence[int | None],
    ) -> str:
        starts, ends, axes, steps = [], [], [], []
        for j, (place, axis) in enumerate(zip(places, from_axis, strict=True)):
            step = 1 if axis is None else place.coefficients[axis]
            length = 1 if axis is None else shape[axis]
            if (place.constant, step, length) == (0, 1, given[j]):
                continue
            end = place.constant + step * length
            starts.append(place.constant)
            ends.append(end if end >= 0 else _INT_MIN)
            axes.append(j)
            steps.append(step)
        if not axes:
            return x
        return self.writer.node("Slice", [x, *map(self.writer.shape, (starts, ends, axes, steps))])

    # ---- assemblies

    def _assembly(self, op: Assembly, node: Node, inputs: list[str]) -> str:
        shapes = [v.type.shape for v in node.inputs]
        shape, regions = op.regions(shapes, **node.params)
        axis = _joined_axis(shapes, shape, regions)
        if axis is not None:
            return self.writer.node("Concat", inputs, axis=axis)
        dtype = node.outputs[0].type.dtype
        whole = self.writer.constant(np.zeros(shape, dtype))
        for name, given, region in zip(inputs, shapes, regions, strict=True):
            grid = np.meshgrid(
                *(
                    start + step * np.arange(n)
                    for (start, step), n in zip(region, given, strict=True)
                ),
                indexing="ij",
            )
            places = self.writer.constant(np.stack(grid, axis=-1).astype(np.int64))
            whole = self.writer.node("ScatterND", [whole, places, name])
        return whole


def _reduces(op: Reduction, dtype: DType) -> str:
    """Which of ONNX's reductions it is: by what it makes of 2 and 3, of False and True."""
    two, three = (np.array([0]), np.array([1])) if dtype == BOOL else (np.array([2]), np.array([3]))
    try:
        program = trace(op.combine, [dtype, dtype])
        (found,) = evaluate(program, two.astype(dtype), three.astype(dtype))
    except TypeError:
        raise ExportError(f"it does not combine {dtype}") from None
    known = {5: "Sum", 6: "Prod", 3: "Max", 2: "Min"}
    kind = ("Max" if found[0] else "Min") if dtype == BOOL else known.get(int(found[0]))
    if kind is None or kind_of(dtype) not in "biuf":
        raise ExportError("no counterpart")
    return kind


def _axis_of(place: Affine, shape: Sequence[int]) -> int | None:
    """The axis of the result that an index depends on; None if it is the same for all."""
    found = [k for k, c in enumerate(place.coefficients) if c and shape[k] != 1]
    if len(found) > 1:
        raise ExportError("an axis of its operand depends on two of its result")
    return found[0] if found else None


def _order(axis: int | None) -> int:
    return -1 if axis is None else axis


def _joined_axis(
    shapes: Sequence[Sequence[int]], shape: Sequence[int], regions: Sequence[Any]
) -> int | None:
    """The axis along which the operands follow one another and fill the result, if one does."""
    for axis in range(len(shape)):
        end = 0
        for given, region in zip(shapes, regions, strict=True):
            wanted = tuple((end if k == axis else 0, 1) for k in range(len(shape)))
            others = [n for k, n in enumerate(given) if k != axis]
            if tuple(region) != wanted or others != [n for k, n in enumerate(shape) if k != axis]:
                break
            end += given[axis]
        else:
            if end == shape[axis]:
                return axis
    return None
