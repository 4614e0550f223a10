"""What a forward program saves for its backward program: as few bytes moved as a greedy pass finds.

The backward part reads values of the forward part. Each can be saved, or computed again from what
the backward program has in any case (inputs, results, what is saved already, constants).

    saved            2 passes over it: the forward program writes it, the backward program reads it
    computed again   BYTES_AN_INSTRUCTION for each element and scalar instruction, and one pass over
                     each value that this reads and the backward part does not; leaves that are not
                     known (a reduction's result, say) count as saved

Values are taken in the order of the graph, each the cheaper way. Only views and compiled pointwise
ops are computed again: so a gate's sigmoid is saved and 1 - sigmoid is not, a slice or reshape of
what is saved is not saved beside it, and x - max(x) becomes the saving of max(x).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.graph import Constant, Graph, Node, Value
from ..passes.kinds import is_pointwise, is_source, is_view, size_in_bytes, work

BYTES_AN_INSTRUCTION = 1
"""What an instruction on one element costs, in bytes moved: a core does 16 of float32 a cycle, and
moves some 16 bytes a cycle beyond its first caches. So the 30 to 60 instructions of an exp or tanh
cost several times the 8 bytes of saving a float32, and up to seven plain ones cost less."""
MAX_AGAIN = 16
"""Nodes looked through for one value, which keeps the choice linear; longer chains cost more than
saving anyway."""


def choose(graph: Graph, read: set[Value]) -> list[Value]:
    """The values of `graph` to save, in its order, if the backward part reads `read`."""
    choice = _Choice(graph, read)
    computed = [v for node in graph.nodes for v in node.outputs]
    for value in computed:
        if value in read and value not in choice.known:
            choice.take(value)
    return [v for v in computed if v in choice.saved]


class _Choice:
    def __init__(self, graph: Graph, read: set[Value]) -> None:
        self.producers = graph.producers()
        self.known = {*graph.inputs, *graph.results}  # what the backward program has,
        self.again: set[Value] = set()  # what it computes again,
        self.read = set(read)  # and what it reads in any case
        self.saved: set[Value] = set()

    def take(self, value: Value) -> None:
        """Save `value`, or what is missing to compute it again, whichever is cheaper."""
        found = self._leaves(value)
        if found is not None:
            leaves, cost = found
            missing = [leaf for leaf in leaves if leaf not in self.known]
            cost += sum(2 * size_in_bytes(leaf) for leaf in missing)
            # Of what a slice is of, no more is read than the slice.
            size = size_in_bytes(value)
            known = [leaf for leaf in leaves if leaf in self.known and leaf not in self.read]
            cost += sum(min(size, size_in_bytes(leaf)) for leaf in known)
            if cost <= 2 * size:
                self.again.add(value)
                self.read.update(leaves)
                self._save(missing)
                return
        self._save([value])

    def _save(self, values: Sequence[Value]) -> None:
        self.saved.update(values)
        self.known.update(values)

    def _leaves(self, value: Value) -> tuple[list[Value], int] | None:
        """What computing `value` again would read, and the instructions in bytes; None if it
        cannot be."""
        leaves: list[Value] = []
        nodes: dict[Node, None] = {}
        stack = [value]
        while stack:
            each = stack.pop()
            node = self.producers.get(each)
            if each in self.again or isinstance(each, Constant):
                continue
            if node is None or each in self.known or not _repeats(node):
                leaves.append(each)
            elif node not in nodes:
                nodes[node] = None
                stack.extend(node.inputs)
            if len(nodes) > MAX_AGAIN:
                return None
        if not nodes:
            return None
        return list(dict.fromkeys(leaves)), sum(map(_cost, nodes))


def _repeats(node: Node) -> bool:
    return is_view(node) or is_source(node) or is_pointwise(node)


def _cost(node: Node) -> int:
    return BYTES_AN_INSTRUCTION * len(work(node)) * node.outputs[0].type.size
