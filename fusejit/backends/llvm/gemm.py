"""The generated matrix product: register tiles and the loops around them.

One module per element type, the packing included, has these entries in the ABI of kernels:

    pack        B -> panels; [begin, end) are panels
    packed      C = A @ B, B in panels; [begin, end) are rows of C
    panels      the same; [begin, end) are panels
    plain       C = A @ B, B row-major; [begin, end) are rows of C
    streamed    the same; [begin, end) are panels of columns

A tile keeps some rows of some panels of C in registers. A row-major B is read as panels, too: they
are a cache line apart instead of K of them, so the same tiles serve both.

Every element of C is one chain of fused multiply-adds over k, in order, that begins at zero. A
block of K goes on from what the block before left in C, and what is missing from a tile is padding,
or is computed twice. So the bits of an element depend on its row of A and its column of B alone:
not on the part that is asked for, nor on the tile that it falls into.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

from ...frozen import frozen, replace
from ...scalar import DType
from ..plan import PANEL_BYTES, MatmulForm
from . import packing, sweep
from .packing import KERNEL, Function, Panels, least, numbers, pointers
from .target import Target, host
from .text import Text

_FORMS = [form for form in MatmulForm if form is not MatmulForm.BLAS]
ENTRIES = ("pack", *(form.value for form in _FORMS))

ROWS = 96
"""Rows of A that share one pass over B: with DEPTH they are 192 KiB, well inside L2."""
THIN, WIDE = 8, 2048
"""k up to which, and bytes of a row of C from which on, the rows of one tile are a pass: then most
of the work is to write C, and that goes along its rows. 512 x 2 x 512 takes 0.8 of the time in
float32, 0.4 in float64, 0.35 and 0.15 without AVX-512."""
DEPTH = 512
"""k in one pass over packed B: the panels of a tile are 96 KiB then and stay in L2 for all ROWS."""
STREAM_DEPTH = 256
"""k in one pass over row-major B. From 64 on the time is the same, unless rows are a power of two
apart and share a few sets of the cache: 64 x 512 x 2048 takes 790 us at 128, 700 at 256."""

SWEPT_ROWS = 1
"""Rows that are not tiles if B is row-major; see `sweep`."""

Shape: TypeAlias = tuple[int, int]  # rows, panels


def shapes(target: Target) -> tuple[Shape, ...]:
    """The tiles of a machine: what registers hold, most rows first; fewer rows of more panels.

    AVX-512: 24 sums of 32 registers; batches are usually multiples of 8. Elsewhere a panel is
    several registers: 2 on AVX, of 16; 4 on AArch64, of 32; 4 on SSE, of 16. Eight panels at a time
    of a row-major B come out of L2 twice as fast as three. On AVX, 4 rows in a tile of 6 would take
    a third longer than they do in one of 4, and one row in a tile of 2, of an odd number of panels,
    a quarter.
    """
    if target.has_avx512:
        return (8, 3), (4, 6), (2, 8)
    if target.vector_bytes == 32 or not target.is_x86:
        return (6, 1), (4, 1), (2, 3), (1, 6)
    return ((2, 1),)


@cache
def entries(dtype: DType, target: Target | None = None) -> dict[str, int]:
    """The addresses of ENTRIES, compiled when first asked for."""
    from .jit import link_kernels

    chosen = target or host()
    return link_kernels(module(dtype, chosen), ENTRIES, chosen)


def module(dtype: DType, target: Target) -> str:
    """The text of the module for products of `dtype`."""
    panels = Panels(dtype, target)
    functions = [*packing.functions(panels), *_Writer(panels, shapes(target)).functions()]
    return packing.assemble(functions, target)


@frozen
class _Block:
    """The operands of tiles: a part of A, of B and of C, all strides in elements."""

    a: str = "%a"
    b: str = "%b"
    c: str = "%c"
    rows: str = "%rows"
    depth: str = "%depth"
    fresh: str = "%fresh"  # whether C begins at zero
    a_row: str = "%a.row"
    a_column: str = "%a.column"
    b_panel: str = "%b.panel"
    b_row: str = "%b.row"
    c_row: str = "%c.row"

    def __str__(self) -> str:
        a = f"ptr {self.a}, i64 {self.a_row}, i64 {self.a_column}"
        b = f"ptr {self.b}, i64 {self.b_panel}, i64 {self.b_row}"
        c = f"ptr {self.c}, i64 {self.c_row}"
        return f"{a}, {b}, {c}, i64 {self.rows}, i64 {self.depth}, i1 {self.fresh}"


_BLOCK = _Block()
_ACROSS = "i64 %left, i64 %right, i64 %n, i1 %padded"  # the panels [left, right) of N columns
_TILE = "ptr %tile, i64 %tile.rows, i64 %tile.panels"


def _by(shape: Shape) -> str:
    """A tile as an operand."""
    rows, panels = shape
    return f"ptr @tile.{rows}x{panels}, i64 {rows}, i64 {panels}"


@frozen
class _Writer:
    panels: Panels
    shapes: tuple[Shape, ...]

    def functions(self) -> list[Function]:
        tiles = [self.tile(*shape) for shape in dict.fromkeys((*self.shapes, self.single))]
        around = [self.copy(), self.edge(), self.across(), self.block(), self.product()]
        around.append(sweep.function(self.panels, str(_BLOCK)))
        return [*tiles, *around, *map(self.entry, ENTRIES[1:])]

    @property
    def single(self) -> Shape:
        """The tile of panels that are left over, whatever their number of rows."""
        return self.shapes[0][0], 1

    # ---- in registers

    def tile(self, rows: int, panels: int) -> Function:
        """So many rows of so many panels; rows beyond %rows repeat the last one."""
        text = Text()
        last = text.let("last", "sub i64 %rows, 1")
        a_rows, c_rows = ["%a"], ["%c"]
        for row in range(1, rows):
            here = least(text, "row", last, row)
            a_rows.append(self.panels.to(text, "a.at", "%a", here, "%a.row"))
            c_rows.append(self.panels.to(text, "c.at", "%c", here, "%c.row"))
        places = [
            self.panels.to(text, "c.to", place, str(panel * self.panels.lanes))
            for place in c_rows
            for panel in range(panels)
        ]
        sums = self.begin(text, places)
        carried = [("sum", self.panels.vector, value) for value in sums]
        with text.loop("k", ("0", "%depth", 1), carried) as trip:
            trip.following.extend(self.step(text, trip.index, a_rows, trip.values, panels))
        for value, place in zip(trip.values, places, strict=True):
            self.panels.store(text, value, place)
        return Function(f"tile.{rows}x{panels}", str(_BLOCK), text, hot=True)

    def begin(self, text: Text, places: list[str]) -> list[str]:
        """What the sums are before the first k: zero, or what C holds."""
        text.branch("%fresh", "start", "go.on")
        text.label("go.on")
        held = [self.panels.load(text, "held", place) for place in places]
        text.jump("start")
        text.label("start")
        zero = f"phi {self.panels.vector} [ zeroinitializer, %entry ]"
        return [text.let("begin", f"{zero}, [ {value}, %go.on ]") for value in held]

    def step(
        self, text: Text, k: str, a_rows: list[str], sums: list[str], panels: int
    ) -> list[str]:
        """The sums with the products of one k added.

        What is fewer, rows or registers of columns, is held, and the others come one by one: the
        sums leave no room for more. 2 rows of 3 panels take half the time on AVX that way.
        """
        words = self.panels
        b = words.to(text, "b.k", "%b", k, "%b.row")
        columns = [b, *(words.to(text, "b.at", b, str(i), "%b.panel") for i in range(1, panels))]
        far = text.let("far", f"mul nsw i64 {k}, %a.column")
        rows = [words.to(text, "a.k", place, far) for place in a_rows]
        following = list(sums)

        def add(row: int, panel: int, one: str, value: str) -> None:
            place = row * panels + panel
            following[place] = words.multiply_add(text, one, value, sums[place])

        if len(rows) < panels * words.registers:
            every = [words.every(text, place) for place in rows]
            for panel, place in enumerate(columns):
                value = words.load(text, "b.v", place)
                for row, one in enumerate(every):
                    add(row, panel, one, value)
        else:
            values = [words.load(text, "b.v", place) for place in columns]
            for row, place in enumerate(rows):
                one = words.every(text, place)
                for panel, value in enumerate(values):
                    add(row, panel, one, value)
        return following

    # ---- around tiles

    def below(self, text: Text, block: _Block, row: str) -> _Block:
        """The block without the rows above `row`."""
        return replace(
            block,
            a=self.panels.to(text, "a.at", block.a, row, "%a.row"),
            c=self.panels.to(text, "c.at", block.c, row, "%c.row"),
            rows=text.let("rows.left", f"sub i64 {block.rows}, {row}"),
        )

    def beside(self, text: Text, block: _Block, panel: str) -> _Block:
        """The block from a panel on."""
        return replace(
            block,
            b=self.panels.to(text, "b.panels", block.b, panel, "%b.panel"),
            c=self.panels.to(text, "c.panels", block.c, panel, str(self.panels.lanes)),
        )

    def edge(self) -> Function:
        """The last columns, fewer than a panel: tiles then work on a whole panel of scratch.

        A row-major B gives them the %shift columns before as well, or if it has none, is padded.
        """
        text, lanes, element = Text(), self.panels.lanes, self.panels.element
        rows, _ = self.single
        for name, count in (("tile", rows), ("columns", STREAM_DEPTH)):
            text.do(f"%{name} = alloca [{count * lanes} x {element}], align {PANEL_BYTES}")
        back = text.let("back", "sub i64 0, %shift")
        before = self.panels.to(text, "b.before", "%b", back)
        text.branch("%enough", "multiply", "pad")
        text.label("pad")
        matrix = "ptr %b, i64 %b.row, i64 1, i64 %depth, i64 %width, ptr %columns"
        text.do(f"call void @gather({matrix})")
        text.jump("multiply")
        text.label("multiply")
        b = text.let("b.from", f"phi ptr [ {before}, %entry ], [ %columns, %pad ]")
        b_row = text.let("b.step", f"phi i64 [ %b.row, %entry ], [ {lanes}, %pad ]")
        tile = f"ptr {self.panels.to(text, 'tile.last', '%tile', '%shift')}, i64 {lanes}"
        with text.loop("band", ("0", "%rows", rows)) as trip:
            block = self.below(text, _BLOCK, trip.index)
            height = least(text, "height", block.rows, rows)
            size = f"i64 {height}, i64 %width"
            text.branch("%fresh", "compute", "go.on")
            text.label("go.on")
            text.do(f"call void @copy(ptr {block.c}, i64 %c.row, {tile}, {size})")
            text.jump("compute")
            text.label("compute")
            inside = replace(block, b=b, b_row=b_row, c="%tile", c_row=str(lanes), rows=height)
            text.do(f"call void @tile.{rows}x1({inside})")
            text.do(f"call void @copy({tile}, ptr {block.c}, i64 %c.row, {size})")
        return Function("edge", f"{_BLOCK}, i64 %width, i64 %shift, i1 %enough", text)

    def copy(self) -> Function:
        """Part of a matrix into another of a different row stride."""
        text, words = Text(), self.panels
        with text.loop("row", ("0", "%rows", 1)) as row:
            source = words.to(text, "x.at", "%x", row.index, "%x.row")
            target = words.to(text, "y.at", "%y", row.index, "%y.row")
            with text.loop("column", ("0", "%width", 1)) as column:
                place = words.to(text, "x.one", source, column.index)
                one = words.load(text, "one", place, words.element)
                words.store(text, one, words.to(text, "y.one", target, column.index), words.element)
        operands = "ptr %x, i64 %x.row, ptr %y, i64 %y.row, i64 %rows, i64 %width"
        return Function("copy", operands, text, hot=True)

    def across(self) -> Function:
        """All panels of a block by tiles of one shape, then those that are left, one by one."""
        text, panel = Text(), "%left"
        rows, _ = self.single
        whole = text.let("whole", f"sdiv i64 %n, {self.panels.lanes}")
        full = least(text, "full", whole, "%right")
        some = text.let("some", "sub i64 %tile.panels, 1")
        for name, height, count, tile, less in (
            ("group", "%tile.rows", "%tile.panels", "%tile", some),
            ("single", rows, 1, f"@tile.{rows}x1", 0),
        ):
            end = text.let(f"{name}.end", f"sub i64 {full}, {less}")
            with text.loop(name, (panel, end, count)) as group:
                here = self.beside(text, _BLOCK, group.index)
                with text.loop(f"{name}.row", ("0", "%rows", height)) as row:
                    text.do(f"call void {tile}({self.below(text, here, row.index)})")
            panel = group.index
        width = text.let("width", f"srem i64 %n, {self.panels.lanes}")
        some = text.let("some", f"icmp sge i64 %n, {self.panels.lanes}")
        enough = text.let("enough", f"or i1 {some}, %padded")
        most = text.let("most", f"sub i64 {self.panels.lanes}, {width}")
        bare = text.let("bare", f"select i1 {some}, i64 {most}, i64 0")
        shift = text.let("shift", f"select i1 %padded, i64 0, i64 {bare}")
        with text.loop("edge", (panel, "%right", 1), (), "at most once") as edge:
            here = self.beside(text, _BLOCK, edge.index)
            text.do(f"call void @edge({here}, i64 {width}, i64 {shift}, i1 {enough})")
        return Function("across", f"{_BLOCK}, {_ACROSS}, {_TILE}", text)

    def block(self) -> Function:
        """Whole bands of the first tile; rows left over in the lowest tile that holds them. Few
        rows times a row-major matrix are a sweep, and its last columns."""
        text = Text()
        few = text.let("few", f"icmp sle i64 %rows, {SWEPT_ROWS}")
        bare = text.let("bare", "xor i1 %padded, true")
        text.branch(text.let("swept", f"and i1 {few}, {bare}"), "sweep", "tiles")
        text.label("sweep")
        full = least(text, "full", text.let("whole", f"sdiv i64 %n, {self.panels.lanes}"), "%right")
        text.do(f"call void @sweep({_BLOCK}, i64 %left, i64 {full})")
        ahead = text.let("ahead", f"icmp sgt i64 {full}, %left")
        at = text.let("at", f"select i1 {ahead}, i64 {full}, i64 %left")
        edge = f"i64 {at}, i64 %right, i64 %n, i1 %padded"
        text.do(f"call void @across({_BLOCK}, {edge}, {_by(self.single)})")
        text.jump("done")
        text.label("tiles")
        first, *others = self.shapes
        over = text.let("over", f"srem i64 %rows, {first[0]}")
        most = max((rows for rows, _ in others), default=0)
        fit = text.let("fit", f"icmp sle i64 {over}, {most}")
        apart = text.let("apart", f"select i1 {fit}, i64 {over}, i64 0")
        main = text.let("main", f"sub i64 %rows, {apart}")
        text.do(f"call void @across({replace(_BLOCK, rows=main)}, {_ACROSS}, {_by(first)})")
        lower = [rows for rows, _ in others[1:]] + [0]
        for shape, less in zip(others, lower, strict=False):
            here, past = f"rest.{shape[0]}", f"past.{shape[0]}"
            text.branch(text.let("high", f"icmp sgt i64 {apart}, {less}"), here, past)
            text.label(here)
            rest = self.below(text, _BLOCK, main)
            text.do(f"call void @across({rest}, {_ACROSS}, {_by(shape)})")
            text.jump("done")
            text.label(past)
        text.jump("done")
        text.label("done")
        return Function("block", f"{_BLOCK}, {_ACROSS}", text)

    def product(self) -> Function:
        """Any of the entries: rows %begin to %end of C, or panels %begin to %end of its columns."""
        text, words = Text(), self.panels
        m, n, k = numbers(text, ("m", "n", "k"), 1)
        numbers(text, ("a.row", "a.column"), 5)
        (b_down,), _ = numbers(text, ("b.down",), 8), numbers(text, ("c.row",), 11)
        a, b, c = pointers(text, ("a", "b", "c"))
        ends = text.let("ends", f"add i64 {n}, {words.lanes - 1}")
        panels = text.let("panels", f"sdiv i64 {ends}, {words.lanes}")
        size = text.let("size", f"mul nsw i64 {k}, {words.lanes}")

        def choose(name: str, condition: str, yes: str, no: str) -> str:
            return text.let(name, f"select i1 {condition}, i64 {yes}, i64 {no}")

        choose("b.panel", "%padded", size, str(words.lanes))
        choose("b.row", "%padded", str(words.lanes), b_down)
        span = choose("span", "%padded", str(DEPTH), str(STREAM_DEPTH))
        top, bottom = (
            choose("top", "%by.rows", "%begin", "0"),
            choose("bottom", "%by.rows", "%end", m),
        )
        choose("left", "%by.rows", "0", "%begin")
        choose("right", "%by.rows", panels, "%end")
        text.comment("K = 0 is one empty block: C becomes zero")
        some = text.let("some", f"icmp sgt i64 {k}, 1")
        end = choose("last", some, k, "1")
        shallow = text.let("shallow", f"icmp sle i64 {k}, {THIN}")
        wide = text.let("wide", f"icmp sge i64 {n}, {WIDE // words.dtype.itemsize}")
        thin = text.let("thin", f"and i1 {shallow}, {wide}")
        band = choose("band", thin, str(self.shapes[0][0]), str(ROWS))
        with text.loop("chunk", (top, bottom, band)) as rows:
            height = text.let("below", f"sub i64 {bottom}, {rows.index}")
            block = replace(
                _BLOCK,
                a=words.to(text, "a.rows", a, rows.index, "%a.row"),
                c=words.to(text, "c.rows", c, rows.index, "%c.row"),
                rows=least(text, "height", height, band),
            )
            with text.loop("depth", ("0", end, span)) as deep:
                ahead = text.let("ahead", f"sub i64 {k}, {deep.index}")
                part = replace(
                    block,
                    a=words.to(text, "a.span", block.a, deep.index, "%a.column"),
                    b=words.to(text, "b.span", b, deep.index, "%b.row"),
                    depth=least(text, "span.k", ahead, span),
                    fresh=text.let("begins", f"icmp eq i64 {deep.index}, 0"),
                )
                text.do(f"call void @block({part}, {_ACROSS})")
        return Function("product", f"{KERNEL}, i1 %padded, i1 %by.rows", text)

    def entry(self, name: str) -> Function:
        text, form = Text(), MatmulForm(name)
        choices = form.packed, form.by_rows
        chosen = ", ".join(f"i1 {str(choice).lower()}" for choice in choices)
        text.do(f"call void @product({KERNEL}, {chosen})")
        return Function(name, KERNEL, text, entry=True)
