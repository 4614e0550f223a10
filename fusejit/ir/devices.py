"""Where the values of a recorded graph are, and a graph cut into parts that are each on one device.

    cut   := part*  results       run one after the other
    part  := device  graph        reads values of the whole graph, wherever they are, and makes some

A node runs where its op says, given where its operands are. A copy between devices is no node of a
part: the part that reads its result gets its operand instead, moved there. A part holds all that
needs nothing from a later one, so what goes back and forth is cut as seldom as that allows.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..device import CPU
from ..frozen import frozen, replace
from ..op import Source, Transfer
from .builder import renamed_results, with_inputs
from .graph import Constant, Graph, Node, Placed, Value


@frozen(eq=False)
class Part:
    """What is done on one device: its inputs and outputs are values of the whole graph."""

    device: str
    graph: Graph
    guards: tuple[Node, ...]  # its guards, as they are in the whole graph


@frozen(eq=False)
class Cut:
    """A whole graph: its parts, and for each result a value and the device where it is wanted."""

    parts: tuple[Part, ...]
    results: tuple[tuple[Value, str], ...]


def is_plain(graph: Graph) -> bool:
    """Whether everything is on the CPU."""
    if any(isinstance(value, Placed) for value in graph.inputs):
        return False
    return all(
        node.params.get("device", CPU) == CPU
        for node in graph.nodes
        if isinstance(node.op, Transfer | Source)
    )


def devices_of(graph: Graph) -> dict[Value, str]:
    """Where each value is; constants are anywhere."""
    found = {v: v.device if isinstance(v, Placed) else CPU for v in graph.inputs}
    for node in graph.nodes:
        place = _device(node, found)
        found.update(dict.fromkeys(node.outputs, place))
    return found


def _device(node: Node, known: Mapping[Value, str]) -> str:
    places = [known[v] for v in node.inputs if not isinstance(v, Constant)]
    return node.op.device(places, node.params)


def placed(graph: Graph, devices: Mapping[Value, str]) -> Graph:
    """`graph` with inputs that say where they are."""
    new: dict[Value, Value] = {
        v: Placed(v.type, devices[v])
        for v in graph.inputs
        if devices[v] != CPU and not isinstance(v, Placed)
    }
    if not new:
        return graph
    return replace(
        renamed_results(graph, new),
        inputs=tuple([new.get(v, v) for v in graph.inputs]),
        nodes=tuple([with_inputs(node, new) for node in graph.nodes]),
    )


def cut(graph: Graph) -> Cut:
    """The parts of a recorded graph."""
    cutting = _Cutting(graph)
    for node in graph.nodes:
        cutting.add(node)
    return cutting.finish()


def alone(graph: Graph) -> Graph:
    """`graph` without its copies if one device does all the rest; else as it is."""
    found = cut(graph)
    if len(found.parts) != 1:
        return graph
    values = [value for value, _ in found.results]
    effects = zip((name for name, _ in graph.effects), values[len(graph.outputs) :], strict=True)
    return replace(
        graph,
        nodes=found.parts[0].graph.nodes,
        outputs=tuple(values[: len(graph.outputs)]),
        effects=tuple(effects),
    )


@frozen
class _Made:
    """Where a value is made: how many parts come before at least, and the device."""

    level: int
    device: str


class _Cutting:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.devices = devices_of(graph)
        self.copies: dict[Value, Value] = {}  # result of a copy -> what is copied
        self.made: dict[Value, _Made] = {}
        self.nodes: dict[_Made, list[Node]] = {}
        self.guards: dict[_Made, list[Node]] = {}

    def add(self, node: Node) -> None:
        if isinstance(node.op, Transfer):
            (x,) = node.inputs
            self.copies[node.outputs[0]] = self.copies.get(x, x)
            return
        moved = with_inputs(node, self.copies)
        operands = [self.made[v] for v in moved.inputs if v in self.made]
        device = self._place(moved)
        level = max((m.level + (m.device != device) for m in operands), default=0)
        made = _Made(level, device)
        self.nodes.setdefault(made, []).append(moved)
        if not node.outputs:
            self.guards.setdefault(made, []).append(node)
        self.made.update(dict.fromkeys(node.outputs, made))

    def _place(self, node: Node) -> str:
        if node.outputs:
            return self.devices[node.outputs[0]]
        return next((self.devices[v] for v in node.inputs if v in self.devices), CPU)

    def finish(self) -> Cut:
        results = [(self.copies.get(v, v), self._wanted(v)) for v in self.graph.results]
        return Cut(tuple(map(self._part, self._runs())), tuple(results))

    def _runs(self) -> list[list[_Made]]:
        """What makes one part, in order: what follows each other on the same device."""
        runs: list[list[_Made]] = []
        for level in sorted({made.level for made in self.nodes}):
            last = runs[-1][-1].device if runs else None
            here = [made for made in self.nodes if made.level == level]
            for made in sorted(here, key=lambda made: made.device != last):
                if runs and runs[-1][-1].device == made.device:
                    runs[-1].append(made)
                else:
                    runs.append([made])
        return runs

    def _wanted(self, value: Value) -> str:
        return CPU if isinstance(value, Constant) else self.devices[value]

    def _part(self, run: list[_Made]) -> Part:
        nodes = [node for made in run for node in self.nodes[made]]
        own = {v for node in nodes for v in node.outputs}
        read = dict.fromkeys(v for node in nodes for v in node.inputs)
        inputs = tuple(v for v in read if v not in own and not isinstance(v, Constant))
        known = dict(zip(self.graph.inputs, self.graph.input_names, strict=True))
        others = (made for made in self.nodes if made not in run)
        elsewhere = {v for made in others for node in self.nodes[made] for v in node.inputs}
        wanted = elsewhere.union(self.copies.get(v, v) for v in self.graph.results)
        return Part(
            run[0].device,
            replace(
                self.graph,
                inputs=inputs,
                input_names=tuple(known.get(v, f"moved{i}") for i, v in enumerate(inputs)),
                nodes=tuple(nodes),
                outputs=tuple(v for node in nodes for v in node.outputs if v in wanted),
                effects=(),
            ),
            tuple(guard for made in run for guard in self.guards.get(made, ())),
        )
