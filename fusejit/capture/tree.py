"""Trace trees: a path that leaves another at a guard goes on from there, with what is computed.

    root     a recorded path from the top of the function: checks, then one plan with its guards
    branch   another path that computed the same up to a guard, and read another value there

A plan that a guard stops still holds what it has computed. A branch is therefore a plan for the
rest alone: its inputs are those of its whole path, then what it carries on from the plan that was
stopped. What is not held any more, because it lived in registers, it computes again. Its own checks
must hold as well, since other Python code ran on that path.

Where a branch belongs is found by following the tree with the values that the new recording read:
`Numbering` tells which guard of another graph looks at the same computation. A guard that the new
path does not have cannot be followed; then the path is a root of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..backends.held import Held
from ..backends.llvm.checks import Arg, Behind, Check, Kept, Of
from ..frozen import frozen, replace
from ..ir.devices import devices_of, placed
from ..ir.graph import GUARD, Graph, Node, Value
from ..ir.numbering import Numbering
from .trace import BINDS, Branch, Program, Trace

if TYPE_CHECKING:
    from .walk import Computed


@frozen(eq=False)
class _Path:
    """A path that looks for its place: what it computes, and what its guards have read."""

    trace: Trace
    graph: Graph
    numbers: Mapping[Value, int]
    expected: Mapping[int, bytes]
    fitting: Collection[Trace]


class Tree:
    """A root and all that has branched off."""

    def __init__(self, root: Trace) -> None:
        self.root = root
        self._numbering = Numbering()
        self._numbers: dict[Trace, dict[Value, int]] = {}

    def branch_of(self, trace: Trace, fitting: Collection[Trace]) -> Branch | Trace | None:
        """Where the path of `trace` leaves this tree; None if it cannot be followed to there. A
        path that never leaves is one that is known: that one.

        `fitting` are the paths whose checks held when it was recorded: others would not be entered
        on the way.
        """
        if self.root not in fitting:
            return None
        graph = trace.program.compared
        numbers = self._numbering.of(graph, input_numbers(self._numbering, trace))
        guards = [node for node in graph.nodes if node.op is GUARD]
        expected = {numbers[node.inputs[0]]: node.params["expected"] for node in guards}
        path = _Path(trace, graph, numbers, expected, fitting)
        return self._leaving(self.root, path, set())

    def _leaving(self, at: Trace, path: _Path, passed: set[int]) -> Branch | Trace | None:
        """Follow `at` with the values of `path`; `passed` are the guards that hold by now."""
        known = self._numbers_of(at)
        for step, node in at.runs.stops():
            number = known.get(node.inputs[0])
            if number is None or number not in path.expected:
                return None
            passed = {*passed, number}
            seen = path.expected[number]
            if seen == node.params["expected"]:
                continue
            children = (c for c in at.exits.get((step, seen), ()) if c in path.fitting)
            further = (self._leaving(child, path, passed) for child in children)
            found = next((branch for branch in further if branch is not None), None)
            return found or self._branch(at, step, seen, path, passed)
        return at if passed >= path.expected.keys() else None

    def _branch(
        self, at: Trace, step: int, seen: bytes, path: _Path, passed: Collection[int]
    ) -> Branch:
        known = self._numbers_of(at)
        program = at.runs
        there: dict[int, Held | Computed] = {
            known[value]: where for value, where in program.held(step).items() if value in known
        }
        if at.branch is not None and not program.walked:
            # Its last inputs were carried, and are still there.
            own = len(program.recorded.inputs) - len(at.branch.carried)
            slots = dict(zip(program.recorded.inputs, program.plan.inputs, strict=True))
            for value in program.recorded.inputs[own:]:
                there[known[value]] = Held(slots[value], 0)
        graph, carried = rest(path.graph, path.numbers, passed, there.keys())
        graph = placed(graph, devices_of(path.graph))
        own_numbers = input_numbers(self._numbering, path.trace)
        numbers = [*own_numbers, *(path.numbers[v] for v in carried)]
        return Branch(
            parent=at,
            step=step,
            seen=seen,
            program=Program(graph, path.trace.program.unchanging, on_gpu=program.walked),
            carried=tuple(there[path.numbers[v]] for v in carried),
            numbers=tuple(numbers),
        )

    def _numbers_of(self, trace: Trace) -> dict[Value, int]:
        if trace not in self._numbers:
            branch = trace.branch
            inputs = branch.numbers if branch else input_numbers(self._numbering, trace)
            self._numbers[trace] = self._numbering.of(trace.runs.compared, inputs)
        return self._numbers[trace]


def input_numbers(numbering: Numbering, trace: Trace) -> list[int]:
    """The numbers of the inputs of a whole path: equal if found at the same place."""
    inputs = trace.program.recorded.inputs
    found = zip(input_places(trace), inputs, strict=True)
    return [numbering.number((place, value.type)) for place, value in found]


def input_places(trace: Trace) -> list[Hashable]:
    """Where a call finds each input of a whole path."""
    places = {
        check.expect.position: place(trace.checks, number)
        for number, check in enumerate(trace.checks)
        if isinstance(check.expect, BINDS)
    }
    return [places[position] for position in range(len(places))]


def rest(
    graph: Graph, numbers: Mapping[Value, int], passed: Collection[int], there: Collection[int]
) -> tuple[Graph, list[Value]]:
    """What is left of `graph` once the `passed` guards hold and the values `there` are known.

    Returns:
        the graph of the rest; its last inputs are what it needs of the values `there`; those.
    """
    wanted = set(graph.results)
    carried: list[Value] = []
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.op is GUARD:
            if numbers[node.inputs[0]] in passed:
                continue
        else:
            needed = [value for value in node.outputs if value in wanted]
            if all(numbers[value] in there for value in needed):
                carried += needed
                continue
        kept.append(node)
        wanted.update(node.inputs)
    names = (*graph.input_names, *(f"carried{i}" for i in range(len(carried))))
    whole = replace(
        graph,
        inputs=(*graph.inputs, *carried),
        input_names=names,
        nodes=tuple(reversed(kept)),
        notes=(),
        stage="recorded",
    )
    return whole, carried


def place(checks: Sequence[Check], number: int) -> Hashable:
    """Where a check looks: equal for two checks, of one function, that look at the same place."""
    check = checks[number]
    source: Hashable
    match check.source:
        case Kept(value):
            source = id(value)  # the traces of a tree keep these alive
        case Behind(ref):
            source = id(ref)
        case Of(earlier):
            source = place(checks, earlier)
        case Arg(index):
            source = ("argument", index)
    return source, type(check.take).__name__, *_details(check)


def _details(check: Check) -> tuple[Hashable, ...]:
    found = (getattr(check.take, name) for name in getattr(check.take, "__slots__", ()))
    return tuple(value if isinstance(value, (str, int)) else id(value) for value in found)
