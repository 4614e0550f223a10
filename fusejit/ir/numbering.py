"""Numbers for values, equal for values that equal computations make, also in different graphs.

Two graphs share values without sharing objects: two recorded paths of one function begin alike. A
`Numbering` gives what it has seen before the number that it had: the same input, the same constant,
the same op with the same parameters on operands of the same numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from .graph import GUARD, Constant, Graph, Value


class Numbering:
    """A table that only grows: it lives as long as the graphs that it compares."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def number(self, key: Hashable) -> int:
        """The number of anything that is compared by equality."""
        return self._numbers.setdefault(key, len(self._numbers))

    def of(self, graph: Graph, inputs: Iterable[int]) -> dict[Value, int]:
        """The number of every value of `graph`, given those of its inputs. Linear in the graph."""
        numbers = dict(zip(graph.inputs, inputs, strict=True))
        for node in graph.nodes:
            for value in node.inputs:
                if isinstance(value, Constant) and value not in numbers:
                    numbers[value] = self.number((value.type, value.array.tobytes()))
            if node.op is GUARD:
                continue
            key = (node.op, tuple(numbers[v] for v in node.inputs), *params_key(node.params))
            made = self.number(key)
            for place, value in enumerate(node.outputs):
                numbers[value] = self.number((made, place)) if place else made
        return numbers


def params_key(params: Mapping[str, Any]) -> tuple[Hashable, str]:
    """Parameters as a key. Their text tells 0 from False and 0.0 from -0.0, which are equal."""
    listed = tuple(sorted(params.items()))
    return listed, repr(listed)
