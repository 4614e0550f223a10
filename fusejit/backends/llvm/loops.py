"""`Loop` kernels as LLVM modules: a nest over run-time extents around a body of explicit vectors.

Explicit vectors run as fast as what LLVM's loop vectorizer makes and compile in half the time. The
outer axes are plain loops. The innermost runs in vectors; what is left over runs masked where the
machine has masks for these elements, element by element elsewhere.

No pointer is noalias: an output may be the very memory of an input. Each trip loads all its
elements before it stores any, which makes that safe.
"""

from __future__ import annotations

from ...frozen import frozen
from ..base import Loop
from .body import (
    Body,
    Vectors,
    can_mask,
    emit_uniform,
    lane_count,
    prepare,
    unroll,
    widest,
)
from .memory import Operand, lane_mask, moved, open_operands, write
from .target import Target
from .text import Lanes, Text


def module(kernel: Loop, target: Target) -> str:
    """The whole module of a loop kernel: one function, `kernel`."""
    text = Text()
    groups = [("x", kernel.inputs, kernel.rank), ("y", kernel.outputs, kernel.rank)]
    text.comment("extents, then each operand: where it begins and its strides in elements")
    extents, (inputs, outputs) = open_operands(text, kernel.rank, groups)
    body = Body(kernel.program, kernel.inputs)
    _Nest(text, target, kernel, body, extents).axis(0, inputs, outputs)
    text.do("ret i64 0")
    return assemble(text, target)


def assemble(text: Text, target: Target) -> str:
    """A module around the lines of its one function."""
    # Without the preference LLVM uses half vectors on the first AVX-512 machines.
    width = 8 * target.vector_bytes
    parts = [
        "define i64 @kernel(ptr %operands, ptr %meta, i64 %begin, i64 %end) #0 {",
        "entry:",
        *text.lines,
        "}",
        "",
        *sorted(text.declarations),
        "",
        f'attributes #0 = {{ nounwind "prefer-vector-width"="{width}" }}',
        "",
    ]
    return "\n".join(parts)


@frozen
class _Nest:
    text: Text
    target: Target
    kernel: Loop
    body: Body
    extents: list[str]

    def axis(self, axis: int, inputs: list[Operand], outputs: list[Operand]) -> None:
        """The loop over one axis, and all that is inside it."""
        first, last = ("%begin", "%end") if axis == 0 else ("0", self.extents[axis])
        if axis == self.kernel.rank - 1:
            self.row(first, last, inputs, outputs)
            return
        with self.text.loop(f"axis{axis}", (first, last, 1)) as trip:
            here = f"r{axis}"
            inner_in = [moved(self.text, o, axis, trip.index, here) for o in inputs]
            inner_out = [moved(self.text, o, axis, trip.index, here) for o in outputs]
            self.axis(axis + 1, inner_in, inner_out)

    def row(self, first: str, last: str, inputs: list[Operand], outputs: list[Operand]) -> None:
        """The innermost axis from `first` to `last`: whole vectors, then the rest."""
        text, accesses = self.text, self.kernel.inputs + self.kernel.outputs
        itemsize, masked = widest(self.body, accesses), can_mask(self.target, accesses)
        width = lane_count(self.target, itemsize, unroll(self.target, self.body))
        rest = lane_count(self.target, itemsize, 1) if masked else 1
        # An empty row has no element that a SPLAT operand could be read from.
        text.branch(text.let("some", f"icmp slt i64 {first}, {last}"), "row", "row.done")
        text.label("row", "the innermost axis; first what is the same all along it")
        uniform = emit_uniform(text, self.target, self.body, inputs)
        limit = text.let("limit", f"sub i64 {last}, {width - 1}")
        lanes = Lanes(text, self.target, width)
        wide = prepare(lanes, self.body, inputs, uniform, outputs)
        with text.loop("wide", (first, limit, width), (), f"{width} elements a trip") as trip:
            self.store(wide, outputs, trip.index, None)
        lanes = Lanes(text, self.target, rest)
        narrow = prepare(lanes, self.body, inputs, uniform, outputs)
        comment = f"the rest, {rest} a trip, masked" if masked else "the rest, one by one"
        with text.loop("rest", (trip.index, last, rest), (), comment) as trip:
            self.store(narrow, outputs, trip.index, last if masked else None)
        text.jump("row.done")
        text.label("row.done")

    def store(self, vectors: Vectors, outputs: list[Operand], index: str, last: str | None) -> None:
        """One trip: compute, then write. `last` masks what lies beyond it."""
        mask = None if last is None else lane_mask(vectors.lanes, index, last)
        results = vectors.compute(index, mask)
        for operand, value in zip(outputs, results, strict=True):
            offsets = vectors.offsets[operand.name]
            write(vectors.lanes, operand, index, offsets, mask, value)
