"""Where to draw a graph of nested boxes: rows from top to bottom, lines that pass beside boxes.

    row     one below the lowest box that is read (longest path); sources, and what reads only such,
            sink to their first reader, so that a weight stands beside its product
    x       the mean place of the neighbours, rows down and up in turn; that also gives the order

A box with children is laid out first and then is a box like any other. What crosses its border does
so at a *port*, one for each value; a line that passes a row has a *bend* there, a place of its own.
So no line crosses a box that it has nothing to do with, except lines over more than SPAN rows: they
go straight, and are to be drawn beneath the boxes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from ..frozen import frozen, replace

GAP, ROW, PAD = 14.0, 24.0, 12.0  # between boxes of a row, between rows, inside a border
SPAN = 12
"""Rows that a line goes around. What the first step of an unrolled loop computes and the last reads
would else take a place in each of a thousand rows."""
SWEEPS = 12  # down and up; the order of an LSTM cell's 20 boxes stays the same after 4
LIGHT = 0.01  # the weight of what has no neighbour, beside 1 for each
SIDES = ((True, False), (False, True), (True, True), (True, True))  # that a sweep looks at

Point: TypeAlias = tuple[float, float]
Edge: TypeAlias = tuple[Hashable, Hashable]


@frozen
class Box:
    """A node of (width, height), or a border around `children` in an order of execution; then the
    size is that of its title."""

    key: Hashable
    width: float
    height: float
    children: tuple[Box, ...] = ()


@frozen
class Line:
    """A piece of the way of value `source`: points to go through, from top to bottom."""

    source: Hashable
    points: tuple[Point, ...]
    ends: bool  # at a reader, so that it gets an arrow
    straight: bool = False  # beneath the boxes


@dataclass(slots=True)
class Drawing:
    """Left, top, width, height of each box by its key, the lines, and where ports are."""

    width: float = 0.0
    height: float = 0.0
    places: dict[Hashable, tuple[float, float, float, float]] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    ports: dict[tuple[str, Hashable], float] = field(default_factory=dict)

    def add(self, inner: Drawing, x: float, y: float) -> None:
        """Take in what is inside a box at (x, y)."""
        for key, (left, top, width, height) in inner.places.items():
            self.places[key] = (left + x, top + y, width, height)
        for line in inner.lines:
            points = tuple((px + x, py + y) for px, py in line.points)
            self.lines.append(replace(line, points=points))


def arrange(root: Box, edges: Iterable[Edge]) -> Drawing:
    """Lay out `root`, which gets no title; `edges` lead between leaves, forward in their order."""
    return _Cell(root, list(dict.fromkeys(edges)), titled=False).drawing()


def _keys(box: Box) -> Iterator[Hashable]:
    yield box.key
    for child in box.children:
        yield from _keys(child)


@dataclass(slots=True, eq=False)
class _Item:
    """What has a place in a row: a box, a port or a bend."""

    width: float = 0.0
    height: float = 0.0
    row: int = 0
    x: float = 0.0
    y: float = 0.0
    inner: Drawing | None = None
    above: list[tuple[_Item, float, float]] = field(default_factory=list)  # it, its x, the own x
    below: list[tuple[_Item, float, float]] = field(default_factory=list)

    def at(self, side: str, source: Hashable) -> float:
        """Where a line of `source` comes "in" or goes "out", from the left."""
        return self.inner.ports[side, source] if self.inner else self.width / 2


class _Cell:
    """The inside of one border: items, the rows that they make, the links between them."""

    def __init__(self, box: Box, edges: Sequence[Edge], titled: bool = True) -> None:
        self.box, self.titled = box, titled
        home = {key: n for n, child in enumerate(box.children) for key in _keys(child)}
        parts: list[list[Edge]] = [[] for _ in box.children]
        for edge in edges:
            for n in {home.get(key) for key in edge} - {None}:
                parts[n].append(edge)  # type: ignore[index]
        self.items = [_item(*each) for each in zip(box.children, parts, strict=True)]
        self.inward: dict[Hashable, _Item] = {}
        self.outward: dict[Hashable, _Item] = {}
        self.links: dict[tuple[Hashable, _Item, _Item], None] = {}
        for source, target in edges:
            start, end = home.get(source), home.get(target)
            if start != end:
                self.links[
                    source,
                    self.inward.setdefault(source, _Item()) if start is None else self.items[start],
                    self.outward.setdefault(source, _Item()) if end is None else self.items[end],
                ] = None
        self.leaves = {item for item in self.items if item.inner is None}
        self._number()
        self.ways = list(self._ways())

    def _number(self) -> None:
        """Give each item its row."""
        first = 1 if self.titled else 0
        reads: dict[_Item, list[_Item]] = {}
        read_by: dict[_Item, list[_Item]] = {}
        for _, start, end in self.links:
            reads.setdefault(end, []).append(start)
            read_by.setdefault(start, []).append(end)
        order = self._sorted(reads, read_by)
        for item in order:
            item.row = max((each.row + 1 for each in reads.get(item, ())), default=first)
        for port in self.outward.values():
            port.row = max((item.row for item in order), default=0) + 1
        given: set[_Item] = set()  # sources, and what reads only these
        for item in order:
            if given.issuperset(reads.get(item, ())):
                given.add(item)
        for item in reversed(order):
            if item in given and item in read_by:
                item.row = max(item.row, min(each.row for each in read_by[item]) - 1)

    def _sorted(
        self, reads: Mapping[_Item, list[_Item]], read_by: Mapping[_Item, list[_Item]]
    ) -> list[_Item]:
        """The boxes, each after those that it reads."""
        inward = set(self.inward.values())
        waiting = {item: len(set(reads.get(item, ())) - inward) for item in self.items}
        order = [item for item in self.items if not waiting[item]]
        for item in order:  # which grows
            for reader in dict.fromkeys(read_by.get(item, ())):
                if reader in waiting:
                    waiting[reader] -= 1
                    order += [] if waiting[reader] else [reader]
        return order

    def _ways(self) -> Iterator[tuple[Hashable, list[_Item]]]:
        """Each link as the items that it goes through; those of one value share their bends."""
        bends: dict[tuple[Hashable, int], _Item] = {}
        for source, start, end in self.links:
            between = range(start.row + 1, end.row)
            way = [start]
            if len(between) < SPAN:
                way += [bends.setdefault((source, row), _Item(row=row)) for row in between]
                for upper, lower in pairwise([*way, end]):
                    a, b = upper.at("out", source), lower.at("in", source)
                    upper.below.append((lower, b, a))
                    lower.above.append((upper, a, b))
            yield source, [*way, end]

    def drawing(self) -> Drawing:
        """Everything in its place."""
        rows = self._rows()
        for n in range(SWEEPS):
            for row in reversed(rows) if n % 2 else rows:
                _settle(row, SIDES[n % 4])
        left = min((item.x for row in rows for item in row), default=0.0)
        if self.titled:  # left of the lines that come in
            ports = min((port.x for port in self.inward.values()), default=left + self.box.width)
            left = min(left, ports - GAP - self.box.width)
        left -= PAD
        top, spans = PAD if self.titled else 0.0, list[tuple[float, float]]()
        for row in rows:
            title = self.box.height if self.titled and not spans else 0.0
            height = max((item.height for item in row), default=0.0) + title
            for item in row:
                item.x, item.y = item.x - left, top + (height - item.height) / 2
            spans.append((top, top + height))
            top += height + ROW
        for port in self.inward.values():
            port.y = 0.0
        width = max((item.x + item.width for row in rows for item in row), default=0.0) + PAD
        found = Drawing(width, max(top - ROW + (PAD if not self.outward else 0.0), 0.0))
        for child, item in zip(self.box.children, self.items, strict=True):
            found.places[child.key] = (item.x, item.y, item.width, item.height)
            if item.inner is not None:
                found.add(item.inner, item.x, item.y)
        found.ports = {("in", s): item.x for s, item in self.inward.items()}
        found.ports |= {("out", s): item.x for s, item in self.outward.items()}
        found.lines += self._lines(spans)
        return found

    def _rows(self) -> list[list[_Item]]:
        bends = {item: None for _, way in self.ways for item in way}
        ports = [*self.inward.values(), *self.outward.values()]
        rows: list[list[_Item]] = []
        for item in dict.fromkeys([*self.items, *ports, *bends]):
            rows += [[] for _ in range(item.row + 1 - len(rows))]
            item.x = rows[item.row][-1].x + rows[item.row][-1].width + GAP if rows[item.row] else 0
            rows[item.row].append(item)
        return rows

    def _lines(self, spans: Sequence[tuple[float, float]]) -> Iterator[Line]:
        for source, way in self.ways:
            start, *bends, end = way
            x = start.x + start.at("out", source)
            points = [(x, start.y + start.height), (x, spans[start.row][1])]
            for bend in bends:
                points += [(bend.x, edge) for edge in spans[bend.row]]
            x = end.x + end.at("in", source)
            points += [(x, spans[end.row][0]), (x, end.y)]
            straight = end.row - start.row > SPAN
            if straight:
                points = [points[0], points[-1]]
            yield Line(source, tuple(points), end in self.leaves, straight)


def _item(box: Box, edges: Sequence[Edge]) -> _Item:
    if not box.children:
        return _Item(box.width, box.height)
    inner = _Cell(box, edges).drawing()
    return _Item(inner.width, inner.height, inner=inner)


def _settle(row: list[_Item], sides: tuple[bool, bool]) -> None:
    """Order a row by where its neighbours above, below or both want it, and move each item there
    as far as there is room: least squares, by pooling those that would overlap. An item counts by
    its neighbours; one that has none makes room."""
    wanted: dict[_Item, tuple[float, float]] = {}  # place, weight
    for item in row:
        near = [*(item.above if sides[0] else ()), *(item.below if sides[1] else ())]
        places = [other.x + there - here for other, there, here in near]
        mean = sum(places) / len(places) if places else item.x
        wanted[item] = mean, len(places) or LIGHT
    row.sort(key=lambda item: wanted[item][0] + item.width / 2)
    offset, pools = 0.0, list[tuple[float, float, int]]()  # place less offset, weight, how many
    for item in row:
        place, weight = wanted[item]
        pool = place - offset, weight, 1
        while pools and pools[-1][0] > pool[0]:
            other = pools.pop()
            heavy = pool[1] + other[1]
            middle = (pool[0] * pool[1] + other[0] * other[1]) / heavy
            pool = middle, heavy, pool[2] + other[2]
        pools.append(pool)
        offset += item.width + GAP
    offset, places = 0.0, [place for place, _, many in pools for _ in range(many)]
    for item, place in zip(row, places, strict=True):
        item.x = place + offset
        offset += item.width + GAP
