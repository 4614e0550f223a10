"""How much slower fused gets when another process keeps a core busy."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cases import MAIN
from options import Options
from table import Section, mark, ratio_cell, time_cell
from worker import Worker

TARGET = 2.5
SECONDS = 0.1  # a turn: longer than the time slices that a scheduler gives


class Burner:
    """A process that keeps the last core busy, except while it is stopped."""

    def __init__(self) -> None:
        program = (
            "import os; os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\nwhile 1: pass"
        )
        self._process = subprocess.Popen([sys.executable, "-c", program])
        time.sleep(0.2)  # until it burns
        self._signal(signal.SIGSTOP)

    @contextmanager
    def burning(self) -> Iterator[None]:
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _signal(self, number: int) -> None:
        os.kill(self._process.pid, number)


def run(options: Options) -> Section:
    """Every row with a target, quiet and busy by turns."""
    rows, data = [], {}
    burner = Burner()
    try:
        with Worker("fused", options.environment) as worker:
            for case in MAIN:
                if options.only in str(case):
                    found = _measure(worker, burner, str(case), options.rounds)
                    quiet, busy = found or (None, None)
                    ratio = None if quiet is None or busy is None else busy / quiet
                    cells = [time_cell(quiet), time_cell(busy), ratio_cell(ratio)]
                    rows.append([str(case), *cells, f"{TARGET:g}", mark(ratio, TARGET)])
                    data[str(case)] = {"quiet": quiet, "busy": busy, "ratio": ratio}
    finally:
        burner.end()
    note = "Median time of a fused call, alone and while another process burns one core."
    head = ["", "quiet", "busy", "busy / quiet", "target", "met"]
    return Section("One core kept busy", note, head, rows, data)


def _measure(worker: Worker, burner: Burner, name: str, rounds: int) -> tuple[float, float] | None:
    if "error" in worker.ask(case=name):
        return None
    quiet, busy = [], []
    for _ in range(rounds):
        quiet.append(worker.ask(seconds=SECONDS)["call"])
        with burner.burning():
            busy.append(worker.ask(seconds=SECONDS)["call"])
    return statistics.median(quiet), statistics.median(busy)
