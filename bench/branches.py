"""Python that branches on values: the same lines in every library.

A call goes through all arguments of a program, which take different paths. torch.compile breaks its
graph where a value reaches Python; jax.jit refuses such a function, so it has no column.
"""

from __future__ import annotations

import statistics
import sys
import time

from options import Options
from steady import SETTLE_SECONDS
from table import Row, Section, ratio_cell, section_of
from worker import Worker

PROGRAMS = ("absolute", "newton", "early exit", "collatz")
LIBRARIES = ("numpy", "eager", "fused", "torch", "torch-compile")

NOTE = (
    "Median time of a call of a function whose Python if and while depend on values. absolute: a "
    "scalar, two ways; newton: a square root to a tolerance; early exit: an RNN of 16x64 that "
    "stops when its state is small, 20 steps at most; collatz: the numbers 1 to 27."
)


def run(options: Options) -> Section:
    """Branches on values: fused replays the paths that it has seen."""
    names = [name for name in LIBRARIES if name in options.peers]
    workers = {name: Worker(f"branches {name}", options.environment) for name in names}
    rows = []
    for program in PROGRAMS:
        if options.only not in program:
            continue
        found: dict[str, list[float]] = {name: [] for name in names}
        for number in range(options.rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                time.sleep(SETTLE_SECONDS)
                answer = workers[name].ask(case=program, seconds=options.seconds)
                if "call" in answer:
                    found[name].append(answer["call"])
                else:
                    print(f"{name} has no {program}: {answer.get('error')}", file=sys.stderr)
        seconds = {name: statistics.median(times) for name, times in found.items() if times}
        rivals = [name for name in names if name not in ("eager", "fused")]
        rows.append(Row(program, seconds, None, rivals))
        print(f"{program}: {ratio_cell(rows[-1].ratio)} of {rows[-1].best}", file=sys.stderr)
    for worker in workers.values():
        worker.close()
    return section_of("Branches on values", NOTE, rows, names)
