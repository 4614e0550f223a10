"""The product of few rows with a row-major matrix that is read along its rows.

Tiles read a few lines of each row of B and then go on to the next row, which lies in another page:
what prefetches data follows a row, not a column, and rows of a power of two fall into a few sets of
the cache. A sweep goes along several rows of B at once and adds them to C, which stays in the
first-level cache. Microseconds of one row on one core of a Zen 5, AVX-512 | AVX2:

                    tiles   sweep   BLAS      tiles   sweep   BLAS
     256 x  512       5.9     5.1    5.7        6.5     5.6    5.7
     512 x 1024        33      26     29         44      29     29
    1024 x 1024        63      52     57         63      44     44

An element of C is the same chain of multiply-adds over k as in a tile.
"""

from __future__ import annotations

from .packing import Function, Panels
from .text import Text

DEPTH = 8
"""Rows of B side by side. With 16, of 4 KiB each, they are more than a set of the cache holds, and
512 x 1024 takes 45 us."""


def function(panels: Panels, block: str) -> Function:
    """The whole panels [left, right) of the C of a block, which begins at zero if it is fresh.

    `block` declares its operands.
    """
    text = Text()
    text.branch("%fresh", "clear", "start")
    text.label("clear")
    with (
        text.loop("clear.row", ("0", "%rows", 1)) as row,
        text.loop("clear.panel", ("%left", "%right", 1)) as panel,
    ):
        start = panels.to(text, "c.start", "%c", row.index, "%c.row")
        place = panels.to(text, "c.clear", start, panel.index, str(panels.lanes))
        panels.store(text, "zeroinitializer", place)
    text.jump("start")
    text.label("start")
    over = text.let("over", f"srem i64 %depth, {DEPTH}")
    whole = text.let("whole", f"sub i64 %depth, {over}")
    for name, first, last, count in (("many", "0", whole, DEPTH), ("single", whole, "%depth", 1)):
        with (
            text.loop(name, (first, last, count)) as deep,
            text.loop(f"{name}.row", ("0", "%rows", 1)) as row,
        ):
            _add(panels, text, deep.index, row.index, count)
    return Function("sweep", f"{block}, i64 %left, i64 %right", text, hot=True)


def _add(panels: Panels, text: Text, k: str, row: str, count: int) -> None:
    """`count` rows of B, from `k` on, times their elements of a row of A, added to that of C."""
    a = panels.to(text, "a.at", "%a", row, "%a.row")
    c = panels.to(text, "c.at", "%c", row, "%c.row")
    terms = []
    for number in range(count):
        here = text.let("here", f"add nsw i64 {k}, {number}")
        one = panels.every(text, panels.to(text, "a.k", a, here, "%a.column"))
        terms.append((one, panels.to(text, "b.k", "%b", here, "%b.row")))
    with text.loop("panel", ("%left", "%right", 1)) as panel:
        far = text.let("far", f"mul nsw i64 {panel.index}, {panels.lanes}")
        place = panels.to(text, "c.to", c, far)
        total = panels.load(text, "held", place)
        for one, b in terms:
            value = panels.load(text, "b.v", panels.to(text, "b.at", b, far))
            total = panels.multiply_add(text, one, value, total)
        panels.store(text, total, place)
