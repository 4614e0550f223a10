"""The layout of a drawing: boxes apart, readers below what they read, lines beside the boxes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusejit.capture.layout import SPAN, Box, Drawing, Edge, arrange

Place = tuple[float, float, float, float]


@st.composite
def nested(draw: st.DrawFn) -> tuple[Box, list[Edge]]:
    """Leaves in an order of execution, cut into borders of borders, and edges that go forward."""
    count = draw(st.integers(1, 24))
    leaves = [Box(n, draw(st.integers(10, 90)), draw(st.integers(10, 40))) for n in range(count)]
    edges = [
        (source, target)
        for target in range(1, count)
        for source in draw(st.sets(st.integers(0, target - 1), max_size=3))
    ]
    boxes, names = leaves, iter(range(1000, 2000))
    for _ in range(draw(st.integers(0, 2))):
        found, rest = [], boxes
        while rest:
            taken = draw(st.integers(1, min(6, len(rest))))
            part, rest = rest[:taken], rest[taken:]
            found += part if draw(st.booleans()) else [Box(next(names), 60, 12, tuple(part))]
        boxes = found
    return Box(None, 0, 0, tuple(boxes)), edges


def cells(box: Box) -> Iterator[Box]:
    """All boxes that have children."""
    if box.children:
        yield box
    for child in box.children:
        yield from cells(child)


def apart(one: Place, other: Place) -> bool:
    x, y, width, height = one
    left, top, wide, high = other
    return x + width <= left or left + wide <= x or y + height <= top or top + high <= y


def within(inner: Place, outer: Place) -> bool:
    x, y, width, height = inner
    left, top, wide, high = outer
    e = 1e-6
    right, bottom = left + wide + e, top + high + e
    return x >= left - e and y >= top - e and x + width <= right and y + height <= bottom


def check(root: Box, edges: list[Edge]) -> Drawing:
    drawing = arrange(root, edges)
    places = drawing.places | {None: (0, 0, drawing.width, drawing.height)}
    for cell in cells(root):
        for one, other in combinations(cell.children, 2):
            assert apart(places[one.key], places[other.key]), (one.key, other.key)
        for child in cell.children:
            assert within(places[child.key], places[cell.key])
            if child.children:
                x, y, *_ = places[child.key]
                title = (x + 1, y + 1, child.width, child.height)
                assert all(apart(title, places[each.key]) for each in child.children)
    for source, target in edges:
        assert places[source][1] + places[source][3] <= places[target][1]
    leaves = [key for key in places if isinstance(key, int) and key < 1000]
    for line in drawing.lines:
        assert all(y2 >= y1 - 1e-6 for (_, y1), (_, y2) in pairwise(line.points))
        if not line.straight:
            for (x1, y1), (x2, y2) in pairwise(line.points):
                piece = (min(x1, x2), y1 + 0.01, abs(x2 - x1), y2 - y1 - 0.02)
                if y2 - y1 > 0.02:
                    assert all(apart(piece, places[key]) for key in leaves), (line, piece)
    return drawing


@settings(max_examples=150, deadline=None)
@given(nested())
def test_nothing_overlaps_and_time_goes_down(given: tuple[Box, list[Edge]]) -> None:
    check(*given)


def test_it_is_deterministic() -> None:
    boxes = tuple(Box(f"n{n}", 40, 20) for n in range(12))
    edges = [(f"n{n}", f"n{m}") for n in range(12) for m in range(n + 1, 12) if (n * m) % 3 == 1]
    drawings = [arrange(Box(None, 0, 0, boxes), edges) for _ in range(2)]
    assert drawings[0].places == drawings[1].places and drawings[0].lines == drawings[1].lines


def test_a_weight_sinks_to_its_product() -> None:
    chain = [Box(n, 30, 20) for n in range(6)]
    weight, copy = Box("weight", 30, 20), Box("copy", 30, 20)
    edges: list[Edge] = [(n, n + 1) for n in range(5)]
    drawing = arrange(
        Box(None, 0, 0, (*chain, weight, copy)), [*edges, ("weight", "copy"), ("copy", 5)]
    )
    assert drawing.places["copy"][1] == drawing.places[4][1]
    assert drawing.places["weight"][1] == drawing.places[3][1]


@pytest.mark.parametrize("length", [SPAN - 1, 3 * SPAN])
def test_a_line_over_many_rows_goes_straight(length: int) -> None:
    boxes = tuple(Box(n, 30, 20) for n in range(length + 1))
    edges: list[Edge] = [(n, n + 1) for n in range(length)]
    drawing = check(Box(None, 0, 0, boxes), [*edges, (0, length)])
    assert [line.straight for line in drawing.lines].count(True) == (length > SPAN)


def test_an_unrolled_loop_does_not_drift() -> None:
    steps = 200
    boxes, edges = [], list[Edge]()
    for n in range(steps):
        boxes += [
            Box(("given", n), 80, 30),
            Box(("product", n), 60, 30),
            Box(("gates", n), 100, 30),
        ]
        edges += [(("given", n), ("gates", n)), (("product", n), ("gates", n))]
        if n:
            edges += [(("gates", n - 1), ("product", n)), (("gates", n - 1), ("gates", n))]
    drawing = check(Box(None, 0, 0, tuple(boxes)), edges)
    assert drawing.width < 1000
