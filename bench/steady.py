"""Calls that are warm: every peer prepares the same case, then they take turns, round after round.

So whatever else the machine does meets all of them. A time is the median of the rounds.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Sequence

from cases import CASES, Case
from options import Options
from table import Row, Section, ratio_cell, section_of, time_cell
from worker import Worker

SETTLE_SECONDS = 0.03
"""Between two turns. OpenBLAS's and OpenMP's threads go on spinning for up to 25 ms after a call,
on a core that the next peer may need."""
AGREEMENT = 1e-4  # relative, of the norms of float32 results that add in different orders

NOTE = (
    "Median time of a warm call. The ratio is of fused to the fastest other library, fusejit's own "
    "eager mode left out. torch-2 is PyTorch with two threads; '-' is what a library cannot do."
)


def measure(case: Case, workers: Sequence[Worker], options: Options) -> Row:
    """The seconds of each peer that can run the case."""
    able, results = [], {}
    for worker in workers:
        answer = worker.ask(case=str(case))
        if "first" in answer:
            able.append(worker)
            results[worker.name] = answer["result"]
        elif "error" in answer:
            complain(worker, case, answer["error"])
    for name, result in results.items():
        if not math.isclose(result, results.get("fused", result), rel_tol=AGREEMENT):
            print(f"{case}: {name} computes {result}, fused {results['fused']}", file=sys.stderr)
    calls: dict[str, list[float]] = {worker.name: [] for worker in able}
    for number in range(options.rounds):
        # Each round begins with another peer: the first may find the caches colder.
        turn = number % max(1, len(able))
        for worker in able[turn:] + able[:turn]:
            time.sleep(SETTLE_SECONDS)
            answer = worker.ask(seconds=options.seconds)
            if "call" in answer:
                calls[worker.name].append(answer["call"])
            else:
                complain(worker, case, answer["error"])
    seconds = {name: statistics.median(found) for name, found in calls.items() if found}
    return Row(str(case), seconds, case.target, case.rivals)


def complain(worker: Worker, case: Case, error: str) -> None:
    print(f"{worker.name} has no {case}: {error}", file=sys.stderr)


def run(options: Options) -> Section:
    """All cases, or those whose name has `options.only` in it."""
    names = options.peers
    workers = [Worker(name, options.environment) for name in names]
    rows = []
    for case in CASES:
        if options.only in str(case):
            rows.append(measure(case, workers, options))
            fused = time_cell(rows[-1].seconds.get("fused"))
            beside = f"{ratio_cell(rows[-1].ratio)} of {rows[-1].best}"
            print(f"{case}: {fused}, {beside}", file=sys.stderr)
    for worker in workers:
        worker.close()
    return section_of("Warm calls", NOTE, rows, names)
