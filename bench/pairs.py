"""fusejit against itself: is fused ever slower than eager, and what does decorating one op cost?

Both sides run in one process and take turns; what counts is the ratio within a turn.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

from cases import pairs
from options import Options
from table import FAIL, PASS, Section, ratio_cell, time_cell
from worker import Worker

ROUNDS = 15
LOW, HIGH = 3, 11
"""Of 15 ordered ratios, the fourth and the twelfth: the median lies between them with 96 %
probability, whatever the distribution (binomial, n = 15, p = 1/2)."""
TARGET = 1.05
TINY_TARGET = 150e-9  # seconds more than the op alone
TINY = ("add", "multiply", "tanh", "sum", "matmul")


def run(options: Options) -> Section:
    """fused / eager for every program of two or more ops, down to the smallest sizes."""
    rows, data = [], {}
    with Worker("pair", options.environment) as worker:
        for case in pairs():
            label = str(case)
            if options.only not in label:
                continue
            answer = worker.ask(case=label, rounds=ROUNDS)
            if "error" in answer:
                print(f"pair has no {label}: {answer['error']}", file=sys.stderr)
                rows.append([label, *["-"] * 6])
                continue
            ratios = sorted(f / e for e, f in zip(answer["eager"], answer["fused"], strict=True))
            middle, low, high = statistics.median(ratios), ratios[LOW], ratios[HIGH]
            met = PASS if middle <= TARGET or low <= 1 <= high else FAIL
            times = [time_cell(statistics.median(answer[name])) for name in ("eager", "fused")]
            interval = f"{ratio_cell(low)} to {ratio_cell(high)}"
            rows.append([label, *times, ratio_cell(middle), interval, f"{TARGET:g}", met])
            data[label] = {**answer, "ratio": middle, "interval": [low, high]}
            print(f"pair: {label}: {middle:.2f}", file=sys.stderr)
    note = (
        "Medians of 15 turns. The ratio meets its target if its median does, or if 1 lies in the "
        "interval that holds the median with 96 % probability."
    )
    head = ["", "eager", "fused", "fused / eager", "interval", "target", "met"]
    return Section("Fused against eager", note, head, rows, data)


def run_tiny(options: Options) -> Section:
    """One op on four elements, alone and as a decorated function."""
    rows, data = [], {}
    with Worker("tiny", options.environment) as worker:
        for op in TINY:
            answer = worker.ask(case=op, rounds=ROUNDS)
            if "error" in answer:
                print(f"tiny has no {op}: {answer['error']}", file=sys.stderr)
                rows.append([op, *["-"] * 5])
                continue
            found = _difference(answer["eager"], answer["fused"])
            times = [time_cell(statistics.median(answer[name])) for name in ("eager", "fused")]
            met = PASS if found <= TINY_TARGET else FAIL
            rows.append([op, *times, f"{found * 1e9:.0f} ns", f"{TINY_TARGET * 1e9:.0f} ns", met])
            data[op] = {**answer, "difference": found}
    note = "One op on four elements: the op itself, and a decorated function of that op alone."
    head = ["", "the op", "decorated", "difference", "target", "met"]
    return Section("One op decorated", note, head, rows, data)


def _difference(eager: Sequence[float], fused: Sequence[float]) -> float:
    return statistics.median(f - e for e, f in zip(eager, fused, strict=True))
