"""The scalar code of kernels: bodies of equal structure are expanded once.

An unrolled loop repeats the same body at every step. What an expansion gives depends on the ops,
their parameters, the types and who reads whom, and on nothing else; so that is the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..frozen import frozen
from ..ir.affine import Affine
from ..ir.graph import Node, Value
from ..ir.places import Expansion
from ..passes.kinds import is_source
from ..scalar import Program
from .contract import contracted


@frozen(eq=False)
class Body:
    """What one kernel computes: the nodes, the values it stores, and its inputs' names outside."""

    nodes: tuple[Node, ...]
    roots: tuple[Value, ...]
    outer: Mapping[Value, Value]

    def producers(self) -> dict[Value, Node]:
        return {value: node for node in self.nodes for value in node.outputs}


@frozen
class Read:
    """An argument of a program: element `address` of `value`, or, if `is_index`, `address`."""

    value: Value
    address: Affine
    is_index: bool


class Expander:
    """Expands bodies, and remembers the results by structure."""

    def __init__(self, fastmath: bool = False) -> None:
        self._fastmath = fastmath
        self._known: dict[object, tuple[Program, list[tuple[int, Affine, bool]]]] = {}

    def expand(
        self, body: Body, shape: tuple[int, ...], results: Sequence[Value]
    ) -> tuple[Program, list[Read]]:
        """The program that computes `results` in a loop over `shape`, and what it reads."""
        values, structure = _structure(body.nodes)
        key = (shape, structure, tuple(values[v] for v in results))
        if key not in self._known:
            producers = body.producers()
            expansion = Expansion(shape, producers.get)
            program = expansion.program([expansion.evaluate(v) for v in results])
            program = contracted(program) if self._fastmath else program
            reads = [
                (values[value], address, value in producers and is_source(producers[value]))
                for value, address in expansion.reads
            ]
            self._known[key] = (program, reads)
        program, reads = self._known[key]
        numbered = list(values)
        return program, [Read(numbered[n], address, index) for n, address, index in reads]


def _structure(nodes: Sequence[Node]) -> tuple[dict[Value, int], tuple[Any, ...]]:
    """The values by number, in the order in which they are met, and the structure they form."""
    values: dict[Value, int] = {}
    found: list[Any] = []
    for node in nodes:
        for value in (*node.inputs, *node.outputs):
            if value not in values:
                values[value] = len(values)
        # repr tells 0 from False and 0.0 from -0.0, which are equal keys.
        params = repr(sorted(node.params.items())) if node.params else ""
        found += node.op, params, *[values[v] for v in node.inputs]
    return values, (*found, *[v.type for v in values])
