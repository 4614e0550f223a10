"""The graph of a plan as SVG: ops as nodes, kernels as boxes around them, strips as outer boxes.

Of a large graph the kernels alone are drawn. Every part carries its description as a title, which
browsers show, and for the script of the page the numbers of its kernel's code (`data-code`) and of
the value that it makes (`data-from`, as on the lines that lead away from it).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from html import escape
from itertools import pairwise

from ..backends.base import Kernel as Generated
from ..frozen import frozen
from ..ir.graph import FUSED, GUARD, Constant, Graph, Node, Value
from ..op import View
from .benchmark import bytes_moved
from .facts import Facts, Kernel
from .layout import Box, Drawing, Edge, Line, arrange
from .lines import Lines

MANY_OPS = 160  # from here on kernels alone: more boxes than that nobody reads one by one
FEW = 8  # kernels alone: who reads an input that more read says so; a line each would hide the rest
MAX_DRAWN = 1500  # boxes; at some 700 bytes each a page of 1 MB, which a browser scrolls smoothly
CHARACTER, SMALL = 7.3, 6.1  # pixels that one takes at 12 and at 10 px of a monospaced font


@frozen
class Part:
    """What a box shows: its class for the style sheet, one or two lines, the longer description."""

    kind: str
    label: str
    below: str
    about: str
    codes: str = ""

    def box(self, key: Hashable, children: tuple[Box, ...] = ()) -> Box:
        """The box in which both lines have room."""
        width = max(len(self.label) * CHARACTER, len(self.below) * SMALL)
        if children:
            return Box(key, width, 12.0, children)
        return Box(key, width + 18.0, 36.0 if self.below else 24.0)


def draw(facts: Facts, lines: Lines, numbers: Mapping[Generated, int]) -> str:
    """The SVG element; `numbers` are those of the generated code."""
    sketch = _Sketch(facts, lines, numbers)
    drawing = arrange(Box(None, 0.0, 0.0, tuple(sketch.boxes())), sketch.edges)
    return _svg(drawing, sketch)


class _Sketch:
    """The boxes and edges of a graph, before they have places."""

    def __init__(self, facts: Facts, lines: Lines, numbers: Mapping[Generated, int]) -> None:
        self.graph: Graph = facts.trace.runs.fused
        self.facts, self.lines, self.numbers = facts, lines, numbers
        self.whole = sum(len(k.ops) for k in facts.kernels) > MANY_OPS
        self.parts: dict[Hashable, Part] = {}
        self.edges: list[Edge] = []
        self._from: dict[Value, Hashable] = {}  # which leaf makes a value
        self._named: dict[Value, str] = {}  # inputs whose readers name them

    def boxes(self) -> Iterator[Box]:
        """What stands side by side, in the order of execution."""
        yield from self._inputs()
        kernels = {kernel.node: kernel for kernel in self.facts.kernels}
        shared = self._shared()
        strips: dict[int, list[Box]] = {}
        for node in self.graph.nodes[:MAX_DRAWN]:
            kernel = kernels.get(node)
            if kernel is None:
                yield self._plain(node)
            elif kernel.strip in shared:
                strips.setdefault(kernel.strip, []).append(self._kernel(kernel))
            else:
                yield self._kernel(kernel)
        for strip, boxes in strips.items():
            yield self._add(("strip", strip), self._strip(strip), tuple(boxes))
        yield from self._results()

    def _add(self, key: Hashable, part: Part, children: tuple[Box, ...] = ()) -> Box:
        self.parts[key] = part
        return part.box(key, children)

    def _inputs(self) -> Iterator[Box]:
        uses = self.graph.uses()
        variables = {position for position, _ in self.facts.trace.variables}
        for number, (value, name) in enumerate(
            zip(self.graph.inputs, self.graph.input_names, strict=True)
        ):
            readers = len(set(uses.get(value, ())))
            if not readers and value not in self.graph.results:
                continue
            kind = "variable" if number in variables else "input"
            about = f"{kind} {name}: {value.type}, {value.type.nbytes:,} bytes"
            if self.whole and readers > FEW:
                self._named[value] = name
                about += f"\nread by {readers} kernels, which name it"
            else:
                self._from[value] = value
            yield self._add(value, Part(kind, name, str(value.type), about))

    def _results(self) -> Iterator[Box]:
        names = [f"result {n}" for n in range(len(self.graph.outputs))]
        names = ["result"] if len(names) == 1 else names
        effects = [f"assign {name}" for name, _ in self.graph.effects]
        for name, value in zip([*names, *effects], self.graph.results, strict=True):
            kind = "output" if name in names else "variable"
            about = f"{name}: {value.type}, {value.type.nbytes:,} bytes"
            self._read(("result", name), [value])
            yield self._add(("result", name), Part(kind, name, str(value.type), about))

    def _shared(self) -> set[int]:
        """The strips around which a border tells something."""
        held = [kernel.strip for kernel in self.facts.kernels]
        strips = enumerate(self.facts.plan.strips)
        return {n for n, s in strips if s.grain != s.rows and held.count(n) > 1}

    def _strip(self, number: int) -> Part:
        strip = self.facts.plan.strips[number]
        threads = ", on several threads" if strip.threads else ""
        turns = f"{strip.rows} rows, {strip.grain} at a time{threads}"
        title = f"strip: {strip.grain} of {strip.rows} rows"
        return Part("strip", title, "", f"these take turns, {turns}")

    def _plain(self, node: Node) -> Box:
        """A node that is no kernel: a guard, or an assembly that is made in place."""
        kind = "guard" if node.op is GUARD else "place"
        label = f"guard {node.params['how']}()" if node.op is GUARD else node.op.name
        self._read(node, node.inputs)
        self._from.update(dict.fromkeys(node.outputs, node))
        return self._add(node, Part(kind, label, _types(node), self._about(node)))

    def _kernel(self, kernel: Kernel) -> Box:
        node = kernel.node
        codes = " ".join(str(self.numbers[c]) for c in kernel.generated if c in self.numbers)
        about = f"kernel {kernel.number}, {kernel}\nmoves {bytes_moved(node):,} bytes"
        about += f"\n{kernel.line}" if kernel.line else ""
        title = f"{kernel.number} {kernel.kind}"
        if self.whole or node.op is not FUSED:
            self._read(node, node.inputs)
            self._from.update(dict.fromkeys(node.outputs, node))
            name = node.op.name if node.op is not FUSED else f"{kernel.kind}, {len(kernel.ops)} ops"
            label = f"{kernel.number} {name}"
            named = ", ".join(self._named[v] for v in node.inputs if v in self._named)
            below = f"{named} -> {_types(node)}" if named else _types(node)
            return self._add(node, Part(f"kernel {kernel.kind}", label, below, about, codes))
        body: Graph = node.params["body"]
        outer = dict(zip(body.inputs, node.inputs, strict=True))
        self._from.update({v: self._from[o] for v, o in outer.items() if o in self._from})
        inner = tuple(self._op(each, codes) for each in body.nodes)
        for value, made in zip(node.outputs, body.outputs, strict=True):
            self._from[value] = self._from.get(made)
        return self._add(node, Part(f"kernel {kernel.kind}", title, "", about, codes), inner)

    def _op(self, node: Node, codes: str) -> Box:
        self._read(node, node.inputs)
        self._from.update(dict.fromkeys(node.outputs, node))
        scalars = [
            v.array.item() for v in node.inputs if isinstance(v, Constant) and v.array.size == 1
        ]
        label = " ".join([node.op.name, *(f"{s:.4g}" for s in scalars)])
        kind = "op view" if isinstance(node.op, View) else "op"
        return self._add(node, Part(kind, label, _types(node), self._about(node), codes))

    def _read(self, reader: Hashable, values: Iterable[Value]) -> None:
        made = [self._from.get(value) for value in values]
        self.edges += [(source, reader) for source in made if source is not None]

    def _about(self, node: Node) -> str:
        size = sum(value.type.nbytes for value in node.outputs)
        line = self.lines.at(node.where)
        return "\n".join(
            [
                f"{node.op.name} {', '.join(str(v.type) for v in node.inputs)} -> {_types(node)}",
                f"{size:,} bytes",
                *([str(line)] if line else []),
            ]
        )


def _types(node: Node) -> str:
    shown = [str(value.type) for value in node.outputs[:2]]
    return ", ".join(shown) + (", ..." if len(node.outputs) > 2 else "")


def _svg(drawing: Drawing, sketch: _Sketch) -> str:
    names = {key: number for number, key in enumerate(sketch.parts)}
    width, height = drawing.width + 4, drawing.height + 4  # the outermost strokes
    found = [
        f'<svg viewBox="-2 -2 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        'role="img" aria-label="the graph: ops, kernels, strips">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z"></path></marker></defs>',
    ]
    found += [_path(line, names) for line in drawing.lines if line.straight]
    borders = [key for key in drawing.places if _is_border(key, sketch)]
    order = sorted(borders, key=lambda key: -drawing.places[key][2] * drawing.places[key][3])
    found += [_part(sketch.parts[key], drawing.places[key], names[key], True) for key in order]
    found += [_path(line, names) for line in drawing.lines if not line.straight]
    found += [
        _part(part, drawing.places[key], names[key], False)
        for key, part in sketch.parts.items()
        if key not in borders
    ]
    return "\n".join([*found, "</svg>"])


def _is_border(key: Hashable, sketch: _Sketch) -> bool:
    fused = isinstance(key, Node) and key.op is FUSED and not sketch.whole
    return fused or sketch.parts[key].kind == "strip"


def _part(part: Part, place: tuple[float, float, float, float], number: int, border: bool) -> str:
    left, top, width, height = place
    middle = left + width / 2
    radius = height / 2 if part.kind in ("input", "output", "variable") else 5
    code = f' data-code="{part.codes}"' if part.codes else ""
    texts = (
        [f'<text class="name" x="{left + 10:.1f}" y="{top + 18:.1f}">{escape(part.label)}</text>']
        if border
        else [
            f'<text x="{middle:.1f}" y="{top + 16:.1f}">{escape(part.label)}</text>',
            f'<text class="type" x="{middle:.1f}" y="{top + 29:.1f}">{escape(part.below)}</text>',
        ]
    )
    return (
        f'<g class="part {part.kind}" tabindex="0" data-from="{number}"{code}>'
        f"<title>{escape(part.about)}</title>"
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{radius:.0f}"></rect>' + "".join(texts) + "</g>"
    )


def _path(line: Line, names: Mapping[Hashable, int]) -> str:
    (x, y), *_ = line.points
    steps = [f"M{x:.1f} {y:.1f}"]
    for (x1, y1), (x2, y2) in pairwise(line.points):
        middle = (y1 + y2) / 2
        bent = f"C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
        steps += [f"V{y2:.1f}" if abs(x1 - x2) < 0.1 else bent] if y1 != y2 else []
    tip = ' marker-end="url(#tip)"' if line.ends else ""
    far = ' class="far"' if line.straight else ""
    return f'<path data-of="{names[line.source]}"{far} d="{"".join(steps)}"{tip}></path>'
