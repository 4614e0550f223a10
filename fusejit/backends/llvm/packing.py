"""Packing: a matrix in any layout becomes panels of one cache line of columns.

A panel is 16 floats or 8 doubles wide, whatever the machine, and stored [panel][K][lanes], with
zeros beyond the last column. The product reads it from its beginning to its end: rows of the matrix
itself may be a power of two apart, and would then fall into a few sets of the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...frozen import frozen
from ...scalar import DType
from ..plan import PANEL_BYTES
from .target import Target
from .text import ELEMENTS, Lanes, Text


@frozen
class Function:
    """A function of a module; `body` holds its lines and what they declare.

    A `hot` one has the innermost loops. The others run once for thousands of elements; left as they
    are written they cost 30 ns a product, and the module compiles in 35 ms instead of 55.
    """

    name: str
    operands: str
    body: Text
    hot: bool = False
    entry: bool = False

    def __str__(self) -> str:
        kind, end = ("i64", "ret i64 0") if self.entry else ("internal void", "ret void")
        lines = "\n".join(["entry:", *self.body.lines, f"  {end}"])
        group = "#0" if self.hot else "#1"
        return f"define {kind} @{self.name}({self.operands}) {group} {{\n{lines}\n}}\n"


def assemble(functions: Sequence[Function], target: Target) -> str:
    """The text of a module."""
    declarations = sorted({d for function in functions for d in function.body.declarations})
    # Without the preference LLVM uses half vectors on the first AVX-512 machines.
    common = f'nounwind "no-builtins" "prefer-vector-width"="{8 * target.vector_bytes}"'
    groups = [f"attributes #0 = {{ {common} }}", f"attributes #1 = {{ noinline optnone {common} }}"]
    return "\n".join([*map(str, functions), *declarations, "", *groups, ""])


@frozen
class Panels:
    """The words that packing and products share, for one element type on one machine."""

    dtype: DType
    target: Target

    @property
    def element(self) -> str:
        return ELEMENTS[self.dtype]

    @property
    def lanes(self) -> int:
        return PANEL_BYTES // self.dtype.itemsize

    @property
    def registers(self) -> int:
        """How many registers a row of a panel takes."""
        return max(1, PANEL_BYTES // self.target.vector_bytes)

    @property
    def side(self) -> int:
        """The side of a square that is transposed in registers: half a panel, which compiles in a
        third of the time of a whole one."""
        return self.lanes // 2

    @property
    def vector(self) -> str:
        """A row of a panel; LLVM splits it where registers are shorter."""
        return f"<{self.lanes} x {self.element}>"

    def to(self, text: Text, hint: str, base: str, index: str, stride: str = "") -> str:
        """The address of element `index`, or of `index` times `stride`."""
        far = text.let(f"{hint}.far", f"mul nsw i64 {index}, {stride}") if stride else index
        return text.let(hint, f"getelementptr {self.element}, ptr {base}, i64 {far}")

    def load(self, text: Text, hint: str, place: str, kind: str = "") -> str:
        what = f"load {kind or self.vector}, ptr {place}, align {self.dtype.itemsize}"
        return text.let(hint, what)

    def store(self, text: Text, value: str, place: str, kind: str = "") -> None:
        text.do(f"store {kind or self.vector} {value}, ptr {place}, align {self.dtype.itemsize}")

    def every(self, text: Text, place: str) -> str:
        """An element of a matrix in all lanes."""
        one = self.load(text, "one", place, self.element)
        return Lanes(text, self.target, self.lanes).broadcast("all", self.element, one)

    def multiply_add(self, text: Text, x: str, y: str, total: str) -> str:
        """total + x * y, rounded once where the machine can."""
        lanes = Lanes(text, self.target, self.lanes)
        if self.target.has_fma:
            return lanes.intrinsic("sum", "fma", self.element, x, y, total)
        term = lanes.op("term", "fmul", self.element, x, y)
        return lanes.op("sum", "fadd", self.element, total, term)


def least(text: Text, hint: str, left: str, right: str | int) -> str:
    return text.let(hint, text.call("i64", "llvm.smin.i64", [("i64", left), ("i64", str(right))]))


def numbers(text: Text, names: Sequence[str], first: int = 0) -> list[str]:
    """Consecutive words of meta."""
    return [_word(text, name, "i64", "%meta", place) for place, name in enumerate(names, first)]


def pointers(text: Text, names: Sequence[str]) -> list[str]:
    """The operands of a kernel."""
    return [_word(text, name, "ptr", "%operands", place) for place, name in enumerate(names)]


def _word(text: Text, name: str, kind: str, row: str, place: int) -> str:
    at = text.let(f"{name}.at", f"getelementptr {kind}, ptr {row}, i64 {place}")
    return text.let(name, f"load {kind}, ptr {at}")


KERNEL = "ptr %operands, ptr %meta, i64 %begin, i64 %end"
MATRIX = "ptr %b, i64 %b.row, i64 %b.column, i64 %k, i64 %count, ptr %to"
GROUP = 4
"""Panels of a row-major matrix that are copied side by side: four lines of a row at a time."""


def functions(panels: Panels) -> list[Function]:
    """The kernel `pack` and what it calls; the product pads a row-major matrix by `gather`."""
    return [_gather(panels), _rows(panels), _turn(panels), _columns(panels), _pack(panels)]


def _pack(panels: Panels) -> Function:
    """meta: K, N, then the strides of B along them. Operands: B, its panels."""
    text, lanes = Text(), panels.lanes
    k, n, row, column = numbers(text, ("k", "n", "b.row", "b.column"))
    b, to = pointers(text, ("b", "to"))
    size = text.let("size", f"mul nsw i64 {k}, {lanes}")
    full = least(text, "full", text.let("whole", f"sdiv i64 {n}, {lanes}"), "%end")
    with text.loop("group", ("%begin", full, GROUP)) as group:
        first = text.let("first", f"mul nsw i64 {group.index}, {lanes}")
        source = panels.to(text, "b.group", b, first, column)
        target = panels.to(text, "to.group", to, group.index, size)
        count = least(text, "count", text.let("left", f"sub i64 {full}, {group.index}"), GROUP)
        matrix = f"ptr {source}, i64 {row}, i64 {column}, i64 {k}"
        text.branch(text.let("by.rows", f"icmp eq i64 {column}, 1"), "rows", "columns")
        text.label("rows")
        text.do(f"call void @rows({matrix}, i64 {count}, ptr {target})")
        text.jump("next")
        text.label("columns")
        text.do(f"call void @columns({matrix}, i64 {count}, ptr {target})")
        text.jump("next")
        text.label("next")
    later = text.let("later", f"icmp sgt i64 %begin, {full}")
    beyond = text.let("beyond", f"select i1 {later}, i64 %begin, i64 {full}")
    with text.loop("edge", (beyond, "%end", 1), (), "at most once") as edge:
        first = text.let("first", f"mul nsw i64 {edge.index}, {lanes}")
        source = panels.to(text, "b.edge", b, first, column)
        target = panels.to(text, "to.edge", to, edge.index, size)
        matrix = f"ptr {source}, i64 {row}, i64 {column}, i64 {k}"
        width = text.let("width", f"sub i64 {n}, {first}")
        text.do(f"call void @gather({matrix}, i64 {width}, ptr {target})")
    return Function("pack", KERNEL, text, entry=True)


def _gather(panels: Panels) -> Function:
    """Part of a panel of any layout, with zeros beyond %count columns.

    Rows are read as whole vectors while these end inside the matrix, the others element by element:
    784 x 10 takes 1 us instead of 5.
    """
    text = Text()
    lanes = Lanes(text, panels.target, panels.lanes)
    columns = lanes.broadcast("columns", "i64", "%count")
    inside = lanes.op("inside", "icmp ult", "i64", lanes.iota("i64"), columns)
    with text.loop("whole", ("0", _whole_rows(panels, text), 1)) as row:
        value = panels.load(text, "row", panels.to(text, "b.row.at", "%b", row.index, "%b.row"))
        chosen = f"select <{panels.lanes} x i1> {inside}, {panels.vector} {value}, "
        padded = text.let("padded", f"{chosen}{panels.vector} zeroinitializer")
        place = panels.to(text, "to.row", "%to", row.index, str(panels.lanes))
        panels.store(text, padded, place)
    with text.loop("row", (row.index, "%k", 1)) as row:
        source = panels.to(text, "b.at", "%b", row.index, "%b.row")
        target = panels.to(text, "to.at", "%to", row.index, str(panels.lanes))
        panels.store(text, "zeroinitializer", target)
        with text.loop("column", ("0", "%count", 1)) as column:
            place = panels.to(text, "b.one", source, column.index, "%b.column")
            one = panels.load(text, "one", place, panels.element)
            there = panels.to(text, "to.one", target, column.index)
            panels.store(text, one, there, panels.element)
    return Function("gather", MATRIX, text, hot=True)


def _whole_rows(panels: Panels, text: Text) -> str:
    """How many rows of a panel of %count columns may be read as vectors: none if its columns are
    not adjacent, else all but the last, beyond which there may be nothing."""
    missing = text.let("missing", f"sub i64 {panels.lanes - 1}, %count")
    step = text.let("step", text.call("i64", "llvm.smax.i64", [("i64", "%b.row"), ("i64", "1")]))
    steps = text.let("steps", f"sdiv i64 {text.let('up', f'add i64 {missing}, {step}')}, {step}")
    safe = text.let("safe", f"sub i64 %k, {steps}")
    adjacent = text.let("adjacent", "icmp eq i64 %b.column, 1")
    forward = text.let("forward", "icmp sgt i64 %b.row, 0")
    both = text.let("both", f"and i1 {adjacent}, {forward}")
    found = text.let("found", f"select i1 {both}, i64 {safe}, i64 0")
    return text.let("vectors", text.call("i64", "llvm.smax.i64", [("i64", found), ("i64", "0")]))


def _rows(panels: Panels) -> Function:
    """%count whole panels of a row-major matrix."""
    text = Text()
    size = text.let("size", f"mul nsw i64 %k, {panels.lanes}")
    with text.loop("row", ("0", "%k", 1)) as row:
        source = panels.to(text, "b.at", "%b", row.index, "%b.row")
        target = panels.to(text, "to.at", "%to", row.index, str(panels.lanes))
        with text.loop("panel", ("0", "%count", 1)) as panel:
            place = panels.to(text, "b.panel", source, panel.index, str(panels.lanes))
            value = panels.load(text, "row", place)
            panels.store(text, value, panels.to(text, "to.panel", target, panel.index, size))
    return Function("rows", MATRIX, text, hot=True)


def _columns(panels: Panels) -> Function:
    """%count whole panels of any other matrix: squares if it is column-major, then the rest."""
    text, lanes, side = Text(), panels.lanes, panels.side
    size = text.let("size", f"mul nsw i64 %k, {lanes}")
    squares = text.let("squares", f"sub i64 %k, {side - 1}")
    adjacent = text.let("adjacent", "icmp eq i64 %b.row, 1")
    last = text.let("last", f"select i1 {adjacent}, i64 {squares}, i64 0")
    with text.loop("panel", ("0", "%count", 1)) as panel:
        first = text.let("first", f"mul nsw i64 {panel.index}, {lanes}")
        source = panels.to(text, "b.panel", "%b", first, "%b.column")
        target = panels.to(text, "to.panel", "%to", panel.index, size)
        with text.loop("band", ("0", last, side)) as band:
            from_ = panels.to(text, "b.band", source, band.index)
            to = panels.to(text, "to.band", target, band.index, str(lanes))
            with text.loop("square", ("0", str(lanes), side)) as square:
                here = panels.to(text, "b.square", from_, square.index, "%b.column")
                there = panels.to(text, "to.square", to, square.index)
                text.do(f"call void @turn(ptr {here}, i64 %b.column, ptr {there})")
        left = text.let("left", f"sub i64 %k, {band.index}")
        rest = panels.to(text, "b.rest", source, band.index, "%b.row")
        to = panels.to(text, "to.rest", target, band.index, str(lanes))
        matrix = f"ptr {rest}, i64 %b.row, i64 %b.column, i64 {left}, i64 {lanes}"
        text.do(f"call void @gather({matrix}, ptr {to})")
    return Function("columns", MATRIX, text)


def _turn(panels: Panels) -> Function:
    """Transposes a square in registers: blocks of 1, 2, 4, ... change places across it."""
    text, side = Text(), panels.side
    vector, size = f"<{side} x {panels.element}>", 1
    values = [
        panels.load(text, "column", panels.to(text, "b.at", "%b", str(i), "%b.column"), vector)
        for i in range(side)
    ]
    while size < side:
        low = [i if not i & size else side + i - size for i in range(side)]
        high = [i + size if not i & size else side + i for i in range(side)]
        masks = [
            f"<{side} x i32> <{', '.join(f'i32 {i}' for i in chosen)}>" for chosen in (low, high)
        ]
        turned = list(values)
        for i in range(side):
            if not i & size:
                pair = f"shufflevector {vector} {values[i]}, {vector} {values[i + size]}, "
                turned[i], turned[i + size] = (text.let("turn", pair + mask) for mask in masks)
        values, size = turned, 2 * size
    for i, value in enumerate(values):
        panels.store(text, value, panels.to(text, "to.at", "%to", str(i * panels.lanes)), vector)
    return Function("turn", "ptr %b, i64 %b.column, ptr %to", text, hot=True)
