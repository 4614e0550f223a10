"""What is bounded: the memory of a long chain of ops, the time to compile a long program."""

from __future__ import annotations

import sys

from cases import LONG, MEMORY, MEMORY_WARM
from options import Options
from table import Section, mark, ratio_cell, time_cell
from worker import Worker

MEMORY_TARGET = 1.05  # of inputs and outputs: the rest is the plan, and the allocator's rounding
LONG_TARGETS = {"forward": 2.0, "step": 5.0}  # seconds


def run_memory(options: Options) -> Section:
    """The most memory of one warm call, beyond that of the process."""
    least = MEMORY.bytes
    rows, data = [], {}
    for name in options.peers:
        with Worker(name, options.environment) as worker:
            answer = worker.ask(memory=[str(MEMORY_WARM), str(MEMORY)])
        peak = answer.get("peak")
        if peak is None:
            print(f"{name}: {answer['error']}", file=sys.stderr)
        ratio = None if peak is None else peak / least
        target = MEMORY_TARGET if name == "fused" else None
        size = "-" if peak is None else f"{peak / 1e6:.0f} MB"
        shown = "" if target is None else f"{target:g}"
        rows.append([name, size, ratio_cell(ratio), shown, mark(ratio, target)])
        data[name] = {"peak": peak, "ratio": ratio}
    note = (
        f"The highest memory while a chain of 20 ops on 1e7 elements runs again, in a fresh "
        f"process: its inputs and output are {least / 1e6:.0f} MB."
    )
    head = ["", "peak", "peak / (inputs + outputs)", "target", "met"]
    return Section("Memory", note, head, rows, data)


def run_long(options: Options) -> Section:
    """An LSTM of 500 steps written out: how long until it is compiled, stage by stage."""
    rows, data = [], {}
    for case in LONG:
        with Worker("long", options.environment) as worker:
            answer = worker.ask(case=str(case))
        if "error" in answer:
            print(f"long has no {case}: {answer['error']}", file=sys.stderr)
            rows.append([str(case), *["-"] * 4])
            continue
        target, nodes = LONG_TARGETS[case.mode], answer["nodes"]
        first = answer["first"] + answer["rest"]
        rows.append(
            [str(case), time_cell(first), f"{nodes} nodes", f"{target:g} s", mark(first, target)]
        )
        rows.append(["- until the call returned", time_cell(answer["first"]), "", "", ""])
        for stage, seconds in answer["stages"].items():
            each = f"{1e6 * seconds / nodes:.1f} us a node"
            rows.append([f"- {stage}", time_cell(seconds), each, "", ""])
        rows.append(["- a warm call", time_cell(answer["again"]), "", "", ""])
        data[str(case)] = answer
    note = (
        "The first call, which runs the body and records, and its plan, which is made behind it; "
        "below, the stages again, each alone, with the kernels already compiled; `load` makes the "
        "plan that native code walks."
    )
    head = ["", "seconds", "size", "target", "met"]
    return Section("A program of 500 steps", note, head, rows, data)
