"""Measures fusejit, eager and fused, beside NumPy and, if asked, JAX and PyTorch.

Every peer lives in its own process and prepares the same case; then they take turns, round after
round, so that whatever else the machine does meets all of them. A row is the median of the rounds.
BLAS with several threads waits for all of them, so on a busy machine only --one-core is fair.

    python bench/run.py [--peers jax,torch,torch-compile] [--one-core] [--only lstm] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from cases import CASES, Case

HERE = Path(__file__).parent
RESULTS = HERE / "results"

# name -> (file, its argument, the package that it needs)
PEERS = {
    "numpy": ("numpy_peer.py", "", "numpy"),
    "eager": ("fusejit_peer.py", "eager", "fusejit"),
    "fused": ("fusejit_peer.py", "fused", "fusejit"),
    "jax": ("jax_peer.py", "", "jax"),
    "torch": ("torch_peer.py", "eager", "torch"),
    "torch-compile": ("torch_peer.py", "compile", "torch"),
}
ALWAYS = ("numpy", "eager", "fused")

LABEL = 36  # columns for the name of a case

Row = dict[str, Any]


class Worker:
    """A peer in its own process; see peers/protocol.py."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name = name
        file, argument, _ = PEERS[name]
        command = [sys.executable, str(HERE / "peers" / file), argument]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, bufsize=1, env=environment
        )

    def ask(self, **request: object) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise SystemExit(f"{self.name} ended while it was asked {request}; its error is above.")
        found: dict[str, float] = json.loads(answer)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(case: Case, workers: Sequence[Worker], rounds: int, seconds: float) -> Row:
    """{peer: {"first": s, "call": s}} of one case, for the peers that have it."""
    firsts = {worker: worker.ask(case=astuple(case)) for worker in workers}
    able = [worker for worker in workers if firsts[worker]]
    calls: dict[Worker, list[float]] = {worker: [] for worker in able}
    for number in range(rounds):
        # Each round begins with another peer: the first may find the caches colder.
        turn = number % len(able)
        for worker in able[turn:] + able[:turn]:
            calls[worker].append(worker.ask(seconds=seconds)["call"])
    return {
        worker.name: {**firsts[worker], "call": statistics.median(calls[worker])} for worker in able
    }


def import_times(names: Sequence[str], rounds: int) -> Row:
    """How long a fresh process takes to import each peer's package, NumPy included."""
    times: dict[str, list[float]] = {name: [] for name in names}
    program = "import sys, time; t = time.perf_counter(); __import__(sys.argv[1])"
    program += "; print(time.perf_counter() - t)"
    for _ in range(rounds):
        for name in names:
            command = [sys.executable, "-c", program, PEERS[name][2]]
            times[name].append(float(subprocess.check_output(command, text=True)))
    return {name: {"call": statistics.median(found)} for name, found in times.items()}


def table(rows: dict[str, Row], names: Sequence[str]) -> str:
    """Times of every peer, and what fusing gains over NumPy and over eager."""
    ratios = [("fused", name) for name in ("numpy", "eager")]
    head = [*names, *(f"{slow}/{fast}" for fast, slow in ratios)]
    lines = [f"{'':{LABEL}}" + "".join(f"{name:>14}" for name in head)]
    for label, row in rows.items():
        cells = [_time(row[name]["call"]) if name in row else "-" for name in names]
        for fast, slow in ratios:
            both = fast in row and slow in row
            cells.append(f"{row[slow]['call'] / row[fast]['call']:.2f}x" if both else "-")
        lines.append(f"{label:{LABEL}}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def run(options: argparse.Namespace) -> dict[str, Row]:
    names = [*ALWAYS, *installed(options.peers)]
    rounds, seconds = (3, 0.02) if options.quick else (9, 0.1)
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as cache:
        # An empty cache, or a first call would be as fast as the last run left it.
        environment = {**os.environ, "FUSEJIT_CACHE_DIR": cache, "PYTHONPATH": str(HERE)}
        workers = [Worker(name, environment) for name in names]
        for case in CASES:
            if options.only in str(case):
                rows[str(case)] = measure(case, workers, rounds, seconds)
                print(table({str(case): rows[str(case)]}, names).splitlines()[-1], flush=True)
        for worker in workers:
            worker.close()
    firsts = {
        f"first call: {label}": {
            name: {"call": found["first"]} for name, found in row.items() if name != "numpy"
        }
        for label, row in rows.items()
        if label.startswith(("lstm", "sequence"))
    }
    if not options.only:
        firsts["import"] = import_times([n for n in names if n != "fused"], rounds)
    return {**rows, **firsts}


def installed(peers: Sequence[str]) -> list[str]:
    """Those of `peers` that can be imported; one line for each other."""
    found = []
    for name in peers:
        package = PEERS[name][2]
        probe = [sys.executable, "-c", f"import {package}"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            found.append(name)
        else:
            print(f"{name}: skipped, {package} is not installed here")
    return found


def save(rows: dict[str, Row], options: argparse.Namespace) -> None:
    """bench/results/bench.json and, if matplotlib is there, bench.png."""
    RESULTS.mkdir(exist_ok=True)
    machine = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    record = {"machine": machine, "options": vars(options), "rows": rows}
    (RESULTS / "bench.json").write_text(json.dumps(record, indent=1) + "\n")
    try:
        from plot import plot
    except ImportError:
        print("No plot: matplotlib is not installed (the extra `bench` has it).")
    else:
        plot(rows, RESULTS / "bench.png")
    print(f"Wrote {RESULTS}/")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--peers", type=_peers, default=[], help="of jax, torch, torch-compile")
    found.add_argument("--one-core", action="store_true", help="hold every process to one core")
    found.add_argument("--only", default="", help="only the cases whose name has this in it")
    found.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    return found


def _peers(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PEERS or name in ALWAYS:
            raise argparse.ArgumentTypeError(f"no peer {name!r}")
    return names


def main() -> None:
    options = parser().parse_args()
    if options.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # children inherit it
    rows = run(options)
    print("\n" + table(rows, [name for name in PEERS if any(name in row for row in rows.values())]))
    save(rows, options)


if __name__ == "__main__":
    main()
