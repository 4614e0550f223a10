"""What there is to say about the plan that one call takes: the facts, as data.

`explain` writes them as text, `page` as a document with a drawing.
"""

from __future__ import annotations

import re
import textwrap
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.base import Kernel as Generated
from ..backends.base import Loop, Reduce
from ..backends.llvm.checks import Arg, Bytes, Field, Input, Length, Same
from ..backends.lower import kernel_kind, work_of
from ..backends.plan import Code, Opaque, Pack, Plan
from ..config import config
from ..device import backend
from ..dtypes import COMPILED
from ..frozen import frozen
from ..ir.graph import FUSED, GUARD, Graph, Node, walk
from ..op import Contraction, Transfer
from .benchmark import bytes_moved, kernels_of, steps_before
from .lines import Lines, SourceLine
from .misses import describe_miss, path_of, shown
from .trace import Program, Trace

if TYPE_CHECKING:
    from .calls import Calls

_ADDRESS = re.compile(r"\s*at 0x[0-9a-f]+")  # another in each process
MAX_TYPES = 60  # characters that tell a path from others; a training step has dozens of inputs


@frozen
class Condition:
    """What a call is compared with."""

    what: str
    line: SourceLine | None


@frozen(eq=False)
class Kernel:
    """A node of the fused graph that takes steps of the plan."""

    number: int
    node: Node
    ops: tuple[Node, ...]
    kind: str
    codes: tuple[Code, ...]
    strip: int  # of the plan
    line: SourceLine | None

    @property
    def generated(self) -> list[Generated]:
        """Those of its steps that are LLVM of their own."""
        return [code for code in self.codes if isinstance(code, Loop | Reduce)]

    def __str__(self) -> str:
        names = " ".join(node.op.name for node in self.ops)
        results = ", ".join(str(v.type) for v in self.node.outputs)
        what = names if self.kind in ("matmul", "copy") and len(self.ops) == 1 else ""
        what = what or f"{self.kind}: {names}"
        steps = f", in {len(self.codes)} steps" if len(self.codes) > 1 else ""
        return f"{what} -> {results}{steps}"


@frozen
class Break:
    """Two ops that are not in one kernel, or a step that does not take turns with others."""

    ops: str
    reason: str
    line: SourceLine | None
    times: int


@frozen
class Path:
    """A recorded path: where it leaves the one that it is listed below, and what is left to do."""

    depth: int  # 0: from the top
    line: SourceLine | None  # that reads the value
    seen: str  # there; from the top, the types of the inputs
    ops: int
    taken: bool  # by this call


@frozen
class Facts:
    """All that a page says about the plan of one call."""

    name: str
    traces: int
    trace: Trace
    paths: tuple[Path, ...]  # in the order in which calls try them
    passed_over: tuple[str, ...]  # what did not hold for those from the top that were tried before
    ops: int
    steps: int
    packings: int
    moved: tuple[int, int]  # bytes, unfused and fused
    run: float | None  # milliseconds
    conditions: tuple[Condition, ...]
    kernels: tuple[Kernel, ...]
    in_place: tuple[Node, ...]  # no step: their parts are made where they lie, or they are empty
    breaks: tuple[Break, ...]

    @property
    def plan(self) -> Plan:
        return _plan(self.trace.runs)

    @property
    def launches(self) -> list[str]:
        """What runs where Python walks the path, one line each."""
        if not self.trace.runs.walked:
            return []
        from .launches import listed

        return list(listed(self.trace.runs.walk))


def _plan(program: Program) -> Plan:
    """The native plan; one without steps if there is none."""
    return Plan(program.recorded.name, (), (), (), (), 0) if program.walked else program.plan


def facts_of(calls: Calls, trace: Trace, walked: Sequence[Any], run: float | None) -> Facts:
    """What there is to say about `trace`, the path that a call with these arguments takes."""
    program = trace.runs
    codes = [c.expect.value for c in trace.checks if isinstance(c.expect, Same)]
    lines = Lines([calls.body.__code__, *(c for c in codes if isinstance(c, types.CodeType))])
    before = steps_before(program.recorded)
    working, _ = work_of(program.fused)
    return Facts(
        name=calls.function.__name__,
        traces=calls.num_traces,
        trace=trace,
        paths=tuple(_paths(calls, trace, lines)),
        passed_over=_passed_over(calls, trace, walked),
        ops=len(before),
        steps=kernels_of(program),
        packings=sum(isinstance(step.code, Pack) for step in _plan(program).steps),
        moved=(sum(map(bytes_moved, before)), sum(map(bytes_moved, program.fused.nodes))),
        run=run,
        conditions=tuple(_conditions(trace, lines)),
        kernels=tuple(_kernels(program, lines)),
        in_place=tuple(n for n in program.fused.nodes if n not in working and n.op is not GUARD),
        breaks=_breaks((*program.fused.notes, *_plan(program).notes), lines),
    )


def _root(trace: Trace) -> Trace:
    while trace.branch is not None:
        trace = trace.branch.parent
    return trace


def _passed_over(calls: Calls, trace: Trace, walked: Sequence[Any]) -> tuple[str, ...]:
    """Why the call does not take the trees that it tries first."""
    roots = [tree.root for tree in calls.paths.trees]
    before = roots[: roots.index(_root(trace))]
    misses = ((root, root.conditions.first_miss(*walked)) for root in before)
    return tuple(dict.fromkeys(describe_miss(r, n, walked) for r, n in misses if n >= 0))


def _paths(calls: Calls, taken: Trace, lines: Lines) -> Iterator[Path]:
    """All trees, each path before those that leave it."""
    roots = [tree.root for tree in calls.paths.trees[::-1]]
    waiting = [(root, 0, _inputs(root.program.recorded)) for root in roots]
    while waiting:
        trace, depth, seen = waiting.pop()
        branch = trace.branch
        where = branch.parent.runs.where(branch.step) if branch else None
        ops = len(steps_before(trace.runs.recorded))
        yield Path(depth, lines.at(where), seen, ops, trace is taken)
        dtypes = {step: node.inputs[0].type.dtype for step, node in trace.runs.stops()}
        for (step, read), children in sorted(trace.exits.items(), reverse=True):
            shown = _seen(read, dtypes[step])
            waiting += [(child, depth + 1, shown) for child in reversed(children)]


def _inputs(graph: Graph) -> str:
    types = zip(graph.input_names, graph.inputs, strict=True)
    return textwrap.shorten(", ".join(f"{name}: {v.type}" for name, v in types), MAX_TYPES)


def _conditions(trace: Trace, lines: Lines) -> list[Condition]:
    found = []
    for number, check in enumerate(trace.checks):
        if isinstance(check.take, Field):
            continue  # that functions have the same code, defaults and cells goes without saying
        if isinstance(check.expect, (Input, Same, Bytes, Length)):
            path = path_of(trace, number)
            line = None if isinstance(check.source, Arg) else lines.reading(path)
            what = f"{path} is {_ADDRESS.sub('', shown(check.expect, trace))}"
            found.append(Condition(what, line or lines.definition()))
    for node in trace.program.recorded.nodes:
        if node.op is GUARD:
            seen = _seen(node.params["expected"], node.inputs[0].type.dtype)
            what = f"{node.params['how']}() reads {seen}"
            found.append(Condition(what, lines.at(node.where)))
    return found


def _seen(read: bytes, dtype: np.dtype[Any]) -> str:
    """What a guard looks at."""
    values = np.frombuffer(read, dtype)
    return repr(values[0].item()) if values.size == 1 else f"{values.size} known values"


def _kernels(program: Program, lines: Lines) -> list[Kernel]:
    working, storage = work_of(program.fused)
    strips: dict[int, int] = {}  # slot -> the first strip that touches it, which writes it
    plan = _plan(program)
    for number, strip in enumerate(plan.strips):
        for step in plan.steps[strip.first : strip.end]:
            for operand in step.operands:
                strips.setdefault(operand.slot, number)
    uses = program.fused.uses()
    found: list[Kernel] = []
    for node, codes in working.items():
        if node.op is GUARD:
            continue
        # What is made in the memory of its reader's result has no slot of its own any more.
        places = [
            *node.outputs,
            *(v for o in node.outputs for r in uses.get(o, ()) for v in r.outputs),
        ]
        kind = kernel_kind(node)
        found.append(
            Kernel(
                number=len(found) + 1,
                node=node,
                ops=tuple(walk(node.params["body"])) if node.op is FUSED else (node,),
                kind=kind.value if kind else "numpy" if isinstance(codes[0], Opaque) else "copy",
                codes=tuple(codes),
                strip=next(
                    (strips[s] for s in (storage[v].slot for v in places) if s in strips), -1
                ),
                line=lines.at(node.where),
            )
        )
    return found


def why_numpy(node: Node) -> str:
    """Why NumPy runs an op."""
    dtypes = dict.fromkeys(v.type.dtype for v in (*node.inputs, *node.outputs))
    if isinstance(node.op, Transfer):
        return "it is a copy between devices"
    foreign = [dtype.name for dtype in dtypes if dtype not in COMPILED]
    if foreign:
        return f"no kernel works on {', '.join(foreign)}"
    if isinstance(node.op, Contraction):
        return "only products of float32 and float64 have kernels"
    return "no kernel exists for this op"


_NOTE = re.compile(r"(?P<ops>.*?)(?: \((?P<where>[^()]*:\d+)\))?: (?P<reason>.*)", re.DOTALL)


def _breaks(notes: Sequence[str], lines: Lines) -> tuple[Break, ...]:
    found = []
    for note, times in Counter(notes).items():
        parts = _NOTE.fullmatch(note)
        assert parts is not None, "`passes.memory.note` and `backends.strips` write them so"
        found.append(Break(parts["ops"], parts["reason"], lines.at(parts["where"]), times))
    return tuple(found)


@frozen
class Eager:
    """Why a call is not replayed."""

    name: str
    reason: str
    line: SourceLine | None


def refused(calls: Calls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Eager:
    """Why this call, for which no path was found, runs eagerly."""
    lines = Lines([calls.body.__code__])
    name = calls.function.__name__
    refusal = calls.refusal_of(args, kwargs)
    if config.settings.disable:
        return Eager(name, "FUSEJIT_DISABLE is set", None)
    if backend("cpu") is None:
        return Eager(name, "llvmlite is not installed", None)
    if refusal is None:
        reason = "it changes what it reads, so that the next call is another"
        return Eager(name, reason, lines.definition())
    return Eager(name, refusal.reason, lines.at(refusal.where))
