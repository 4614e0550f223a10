"""What a decorated function does with a call: the facts, and one page of text about them.

    why        which path the call takes, and what it is compared with, each with the user's line
    kernels    the ops in each, what it moves, its lines; which steps take turns
    breaks     for each value that travels through memory between two ops: the line, the reason
    eager      instead of all that, for a call that cannot be replayed: why, where, what to write

`page` makes a document of the same facts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import dispatch
from ..backends.base import Kernel as Generated
from ..backends.base import Loop, Reduce
from ..backends.plan import Plan
from ..backends.printer import shared_rows
from ..errors import CaptureError
from .advice import instead_of
from .benchmark import bytes_moved, count, median, wait_for
from .facts import Break, Eager, Facts, Kernel, facts_of, refused, why_numpy
from .lines import SourceLine
from .trace import Trace, as_walked

if TYPE_CHECKING:
    from ..backends.llvm.jit import Compiled
    from .calls import Calls

RUNS, RUN_SECONDS = 15, 0.02  # replays timed for a page, at most: their median, or 20 ms of them
MANY = 40  # kernels that are listed one by one; of an unrolled loop's more, equal ones together
CODE_COLUMN = 44  # where the user's lines start


class Explanation(str):
    """A page of text; `html` is the same and more as a document that needs nothing else."""

    _make: Callable[[], str]

    @classmethod
    def of(cls, text: str, make: Callable[[], str]) -> Explanation:
        found = cls(text)
        found._make = make
        return found

    @property
    def html(self) -> str:
        """The document, made anew at each look: text that can be written to a file."""
        return self._make()

    def _repr_html_(self) -> str:
        return self.html


def explain(
    calls: Calls, args: tuple[Any, ...], kwargs: dict[str, Any], call: Callable[[], object]
) -> Explanation:
    """The page about what `call`, with these arguments, takes."""
    from . import page  # which writes what is here as a document

    try:
        trace = calls.trace_of(args, kwargs)
    except CaptureError:
        eager = refused(calls, args, kwargs)
        return Explanation.of(eager_text(eager), lambda: page.eager(eager))
    facts = facts_of(calls, trace, as_walked(calls.flatten(args, kwargs)), _run(trace, call))
    return Explanation.of(text(facts), lambda: page.document(facts))


def _run(trace: Trace, call: Callable[[], object]) -> float | None:
    """Milliseconds of a replay; None if it would have effects, or its place is not here."""
    if trace.assigned or list(dispatch.handlers()):
        return None
    spent: list[float] = []
    try:
        call()
        wait_for(trace.runs)
        while len(spent) < RUNS and sum(spent) < RUN_SECONDS:
            began = time.perf_counter()
            call()
            wait_for(trace.runs)
            spent.append(time.perf_counter() - began)
    except Exception:  # the user's to see when they call it
        return None
    return 1e3 * median(spent)


# ---- the text


def text(facts: Facts) -> str:
    """The page as text. Deterministic but for the milliseconds, which have a line of their own."""
    trace = facts.trace
    sections = [
        _head(facts),
        ["applies when", *(_beside(each.what, each.line) for each in facts.conditions)],
        *([["paths, each below the one that it leaves", *ways(facts)]] if facts.paths[1:] else []),
        ["kernels", *_listed(facts.kernels), *_beside_kernels(facts)],
        *([["launches, in order", *facts.launches]] if facts.launches else []),
    ]
    strips = shared_rows(facts.plan)
    if strips:
        title = "steps that take turns, so that what one computes is in the cache for the next"
        sections.append([title, *strips])
    by_numpy = [k for k in facts.kernels if k.kind == "numpy"]
    if by_numpy:
        told = dict.fromkeys(
            _beside(f"{k.node.op.name}: {why_numpy(k.node)}", k.line) for k in by_numpy
        )
        sections.append(["run by NumPy, op by op", *told])
    sections.append(["not fused, and why (producer | consumer: reason)", *_reasons(facts.breaks)])
    if trace.by_value:
        sections.append(
            ["float arguments taken by value: each new one is recorded again", *trace.by_value]
        )
    if trace.untaped:
        sections.append([f"under a tape it runs eagerly: {trace.untaped}"])
    return "\n\n".join("\n  ".join(section) for section in sections) + "\n"


def _head(facts: Facts) -> list[str]:
    return [
        f"{facts.name}: {count(facts.ops, 'op')} in {count(facts.steps, 'kernel')}; "
        f"{facts.moved[0]:,} bytes moved unfused, {facts.moved[1]:,} fused",
        why(facts),
        f"{spent(facts)}; {count(facts.trace.num_compiles, 'kernel')} compiled for it, "
        f"{facts.trace.num_loads} found on disk",
    ]


def why(facts: Facts) -> str:
    """Why the call takes this plan."""
    known = "the only path" if len(facts.paths) == 1 else f"one of {len(facts.paths)} paths"
    rest = ", of which below is what is left to do" if facts.trace.branch is not None else ""
    over = f"; not one before it, as {'; '.join(facts.passed_over)}" if facts.passed_over else ""
    return f"recorded {count(facts.traces, 'time')}; the call takes {known}{rest}{over}"


def spent(facts: Facts) -> str:
    """How long each stage took, and takes."""
    made = ", ".join(f"{name} {ms:.1f} ms" for name, ms in facts.trace.milliseconds.items())
    if facts.run is None:
        return f"{made}; not run for this page, as it assigns Variables or a tape is open"
    run = f"{facts.run:.1f} ms" if facts.run >= 1.0 else f"{1e3 * facts.run:.1f} us"
    return f"{made}, run {run}"


def _beside(what: str, line: SourceLine | None, column: int = CODE_COLUMN) -> str:
    return f"{what:<{column}}  {line}" if line else what


def ways(facts: Facts) -> list[str]:
    """The tree of recorded paths, one a line, with where the call goes."""
    found = []
    for path in facts.paths:
        ops = count(path.ops, "op")
        what = (
            f"reads {path.seen}: {ops} left" if path.depth else f"{path.seen or 'no inputs'}: {ops}"
        )
        told = f"{'  ' * path.depth}{what}{'  <- this call' if path.taken else ''}"
        found.append(_beside(told, path.line))
    return found


def alike(kernels: Sequence[Kernel]) -> list[tuple[str, SourceLine | None, int]]:
    """What each kernel is, its line and the bytes that it moves; of many, equal ones together."""
    rows = [(str(k), k.line, bytes_moved(k.node)) for k in kernels]
    if len(rows) <= MANY:
        return rows
    times = Counter((what, line) for what, line, _ in rows)
    moved = Counter[tuple[str, SourceLine | None]]()
    for what, line, size in rows:
        moved[what, line] += size
    return [(f"{what}, {n} times", line, moved[what, line]) for (what, line), n in times.items()]


def _listed(kernels: Sequence[Kernel]) -> list[str]:
    return [
        f"{number}. {what}" + (f"  ({line.where})" if line else "")
        for number, (what, line, _) in enumerate(alike(kernels), 1)
    ]


def _beside_kernels(facts: Facts) -> list[str]:
    """What the list of kernels does not number."""
    found = []
    if facts.packings:
        found.append(f"and {count(facts.packings, 'packing')} of a matrix into panels")
    if facts.in_place:
        names = ", ".join(dict.fromkeys(node.op.name for node in facts.in_place))
        found.append(f"no step at all: {names}, as it is made in place or empty")
    return found if facts.kernels else [*found, "none: nothing is left to compute"]


def _reasons(breaks: Sequence[Break]) -> list[str]:
    if not breaks:
        return ["nothing: every op is in a kernel with its neighbours"]
    found: dict[str, list[str]] = {}
    for each in breaks:
        times = f" ({each.times} times)" if each.times > 1 else ""
        told = f"  {each.ops}: {each.reason}{times}"
        found.setdefault(str(each.line or "?"), []).append(told)
    return [text for line, told in found.items() for text in (line, *told)]


def eager_text(eager: Eager) -> str:
    """The page of a call that runs eagerly."""
    return (
        f"{eager.name} runs eagerly, and has no plan for this call\n"
        f"  why      {eager.reason}\n"
        f"  where    {eager.line or '?'}\n"
        f"  instead  {instead_of(eager.reason)}\n"
    )


# ---- what the compiler made


def dump(calls: Calls, trace: Trace, folder: str) -> None:
    """Write every stage of a new trace as text: one file a stage, numbered as recorded."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    stem = f"{calls.function.__name__.strip('<>')}.{calls.num_traces}"
    for stage, graph in trace.program.stages.items():
        (target / f"{stem}.{stage}.ir").write_text(str(graph), "utf-8")
    if trace.program.walked:
        from .launches import cuda_source

        (target / f"{stem}.cu").write_text(cuda_source(trace), "utf-8")
    else:
        (target / f"{stem}.plan").write_text(str(trace.program.plan), "utf-8")
        (target / f"{stem}.ll").write_text(llvm(trace), "utf-8")


def llvm(trace: Trace) -> str:
    """The LLVM IR of every distinct kernel of the plan, before optimisation."""
    return "\n".join(each.ir for each in compiled(trace.program.plan).values())


def assembly(trace: Trace) -> str:
    """The machine code of every distinct kernel of the plan."""
    return "\n".join(each.asm() for each in compiled(trace.program.plan).values())


def compiled(plan: Plan) -> dict[Generated, Compiled]:
    """The distinct kernels of the plan in the order of their first use."""
    from ..backends.llvm.jit import compile_kernel  # the code generator is loaded when it is needed

    codes = dict.fromkeys(step.code for step in plan.steps)
    return {code: compile_kernel(code) for code in codes if isinstance(code, (Loop, Reduce))}
