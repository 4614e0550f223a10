"""Measures fusejit on a GPU beside PyTorch, JAX, CuPy and cuDNN, each in a process of its own.

    python bench/gpu.py [--minutes 5] [--only lstm] [--tiny]

A run writes bench/results/gpu-<name>-<date>.json and the same as a table, .md. It ends in time:
what is not measured by then is left out, and the table says so. With FUSEJIT_GPU=emulated and
--tiny it runs without a GPU, for its own sake; then the numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cases import Case
from gpu_cases import CASES, LARGE, MOVES, RIVALS, SHARE, THREE_TIMES, TINY, TRAINING
from table import Row, Section, mark, ratio_cell, section_of, time_cell
from worker import HERE, LIMIT, Worker, installed

OWN = ("gpu eager", "gpu fused")
OTHERS = ("gpu torch", "gpu torch-compile", "gpu jax", "gpu cupy", "gpu cudnn")
ROUNDS = 3
LAUNCHES = 200  # in a program, to find out what one takes
AGREEMENT = 1e-3  # relative, of norms; products of the libraries add in different orders

NOTE = (
    "Median time of a call, many in a row, with the device's work. The ratio is of fused to the "
    "faster of torch.compile and JAX; '-' is what a library cannot do, or what there was no time "
    "for. No library may use TF32."
)


@dataclass
class Found:
    """What one peer has shown of one case."""

    first: float
    result: float
    calls: list[float] = field(default_factory=list)
    host: list[float] = field(default_factory=list)


class Run:
    """Peers that take turns until there is no more time."""

    def __init__(self, names: Sequence[str], minutes: float, seconds: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.seconds = seconds
        cache = self._cache = tempfile.TemporaryDirectory()
        environment = {"FUSEJIT_CACHE_DIR": cache.name}  # empty: first calls compile
        self.workers = {short(name): Worker(name, environment) for name in names}

    def left(self) -> float:
        return self.end - time.monotonic()

    def ask(self, name: str, **request: object) -> dict[str, Any]:
        if self.left() < 1:
            return {"error": "no time"}
        return self.workers[name].ask(limit=min(LIMIT, self.left()), **request)

    def measure(self, case: Case) -> dict[str, Found]:
        """All peers that can run the case."""
        found: dict[str, Found] = {}
        for name in self.workers:
            answer = self.ask(name, case=str(case))
            if "first" in answer:
                found[name] = Found(answer["first"], answer["result"])
            elif "error" in answer:
                print(f"{name} has no {case}: {answer['error']}", file=sys.stderr)
        for _ in range(ROUNDS):
            for name, each in found.items():
                answer = self.ask(name, seconds=self.seconds)
                if "call" in answer:
                    each.calls.append(answer["call"])
                    each.host.append(answer["host"])
        compare(case, found)
        return {name: each for name, each in found.items() if each.calls}

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()
        self._cache.cleanup()


def short(name: str) -> str:
    return name.removeprefix("gpu ")


def compare(case: Case, found: dict[str, Found]) -> None:
    """All must compute the same; cuDNN's LSTM starts from other weights."""
    wanted = found.get("fused")
    for name, each in found.items():
        if wanted is None or name == "cudnn":
            continue
        if not math.isclose(each.result, wanted.result, rel_tol=AGREEMENT):
            print(f"{case}: {name} computes {each.result}, fused {wanted.result}", file=sys.stderr)


# ---- tables


def times(results: dict[Case, dict[str, Found]], names: Sequence[str]) -> Section:
    rows = [
        Row(
            str(case),
            {name: statistics.median(each.calls) for name, each in found.items()},
            case.target,
            RIVALS,
        )
        for case, found in results.items()
    ]
    return section_of("Calls", NOTE, rows, names)


def bandwidth(results: dict[Case, dict[str, Found]], run: Run) -> Section:
    """What the rows that only move memory reach of the speed of a copy."""
    rows, data = [], {}
    for case, found in results.items():
        if case.program not in MOVES or "fused" not in found:
            continue
        answer = run.ask("fused", copy=int(case.bytes) // 8 * 4)  # it reads and writes them
        copied = answer.get("call")
        taken = statistics.median(found["fused"].calls)
        share = copied / taken if copied else None
        wanted = 1 / SHARE if case.bytes >= LARGE else None
        met = mark(1 / share, wanted) if share else "-"
        rate = f"{case.bytes / taken / 1e9:.0f} GB/s"
        rows.append([str(case), f"{case.bytes / 2**20:.0f} MiB", rate, ratio_cell(share), met])
        data[str(case)] = {"bytes": case.bytes, "seconds": taken, "copy": copied}
    large = f"From {LARGE >> 20} MiB on {SHARE} is aimed at."
    note = f"A copy on the device that moves as many bytes is 1. {large}"
    return Section("Bandwidth", note, ["", "bytes", "speed", "of a copy", "met"], rows, data)


def costs(
    results: dict[Case, dict[str, Found]], peaks: dict[str, int], launch: float | None
) -> Section:
    """Host time, first calls and memory, of fusejit and PyTorch."""
    rows, data = [], {}
    for case, found in results.items():
        cells = [str(case)]
        for name in ("eager", "fused", "torch-compile"):
            each = found.get(name)
            cells += [
                time_cell(each and statistics.median(each.host)),
                time_cell(each and each.first),
            ]
        rows.append(cells)
        data[str(case)] = {name: asdict(each) for name, each in found.items()}
    peak = ", ".join(f"{name} {n / 2**20:.0f} MiB" for name, n in peaks.items())
    note = (
        "Time until a call returns, and first calls, compilation included. "
        f"Peak memory: {peak}. Host time of a launch that is in no graph: {time_cell(launch)}."
    )
    head = [
        "",
        *(f"{n}, {what}" for n in ("eager", "fused", "compile") for what in ("host", "first")),
    ]
    return Section("Host time, first calls, memory", note, head, rows, data)


def training(results: dict[Case, dict[str, Found]]) -> str:
    """The aim of the training step, in a line."""
    found = results.get(TRAINING, {})
    if "fused" not in found or "torch" not in found:
        return f"{TRAINING}: not measured beside PyTorch's eager mode."
    ratio = statistics.median(found["torch"].calls) / statistics.median(found["fused"].calls)
    met = "met" if ratio >= THREE_TIMES else "NOT met"
    return f"{TRAINING}: {ratio:.2f} times as fast as PyTorch's eager mode; {THREE_TIMES:g}: {met}."


def device_name() -> str:
    from fusejit.backends.cuda.device import gpu

    return gpu(0).driver.name


def save(text: str, data: dict[str, Any], name: str, folder: Path) -> None:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    path = folder / f"gpu-{plain}-{time.strftime('%Y-%m-%d')}"
    folder.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    path.with_suffix(".md").write_text(text)
    print(f"Wrote {path}.md and .json")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="when to stop")
    parser.add_argument("--only", default="", help="only the cases whose name has this in it")
    parser.add_argument("--tiny", action="store_true", help="small sizes, fusejit alone")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    cases = [case for case in (TINY if asked.tiny else CASES) if asked.only in str(case)]
    names = (*OWN, *([] if asked.tiny else installed(OTHERS)))
    run = Run(names, asked.minutes, seconds=0.02 if asked.tiny else 0.2)
    results: dict[Case, dict[str, Found]] = {}
    for case in cases:
        if run.left() > 1:
            results[case] = run.measure(case)
            print(case, {n: time_cell(min(f.calls)) for n, f in results[case].items()}, flush=True)
    peaks = {n: a["peak"] for n in run.workers if "peak" in (a := run.ask(n, peak=True))}
    sections = [
        times(results, [short(name) for name in names]),
        bandwidth(results, run),
        costs(results, peaks, run.ask("fused", launches=LAUNCHES).get("host")),
    ]
    run.close()
    name = device_name()
    missing = [str(case) for case in cases if case not in results]
    head = f"# {name}, {time.strftime('%Y-%m-%d %H:%M')}\n\n{os.cpu_count()} CPU cores.\n"
    ending = f"{training(results)}\n" + (f"No time for: {', '.join(missing)}.\n" if missing else "")
    text = "\n".join([head, *map(str, sections), ending])
    print(text)
    data = {"device": name, "sections": [asdict(section) for section in sections], "peaks": peaks}
    save(text, data, name, asked.out)


if __name__ == "__main__":
    main()
