"""What never being stale costs: a replayed call of `a + b` that has more and more to compare."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence

from options import Options
from table import FAIL, PASS, Section, time_cell
from worker import Worker

ROUNDS = 15
CASES = ("global ints", "attributes of self", "elements of a list", "Variables")
FIRST, FURTHER = 100e-9, 30e-9
"""Seconds more for the first value that is compared, and for each further one. A replay of this
takes about 150 ns and a kernel some microseconds: so many values may be read at no felt cost."""


def run(options: Options) -> Section:
    """a + b on four elements by how much other state the body reads."""
    rows, data, counts = [], {}, []
    with Worker("guards", options.environment) as worker:
        for case in CASES:
            answer = worker.ask(case=case, rounds=ROUNDS)
            if "error" in answer:
                print(f"guards has no {case}: {answer['error']}", file=sys.stderr)
                continue
            times = {int(count): values for count, values in answer["seconds"].items()}
            counts = list(times)
            first, further = _costs(times)
            met = PASS if first <= FIRST and further <= FURTHER else FAIL
            medians = [time_cell(statistics.median(values)) for values in times.values()]
            rows.append([case, *medians, f"{first * 1e9:.0f} ns", f"{further * 1e9:.0f} ns", met])
            data[case] = {"seconds": times, "first": first, "further": further}
    note = (
        "a + b on four elements, when the body reads so many other values, each compared at every "
        f"call. Wanted: at most {FIRST * 1e9:.0f} ns more for the first and {FURTHER * 1e9:.0f} ns "
        "for each further one."
    )
    head = ["values read", *map(str, counts), "the first", "each further", "met"]
    return Section("What guards cost", note, head, rows, data)


def _costs(times: Mapping[int, Sequence[float]]) -> tuple[float, float]:
    """Medians, over the turns, of what the first value adds, and each of the others."""
    most = max(times)
    first = [one - none for none, one in zip(times[0], times[1], strict=True)]
    further = [(all_ - one) / (most - 1) for one, all_ in zip(times[1], times[most], strict=True)]
    return statistics.median(first), statistics.median(further)
