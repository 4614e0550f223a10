"""What the first calls cost: in fresh processes, at new sizes, and in many processes at once."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cases import RESIZED, START, WARM, Case
from options import Options
from table import FAIL, PASS, Row, Section, section_of, time_cell
from worker import Worker

ROUNDS = 5
PATIENCE = 15.0  # seconds for one peer and row; torch.compile takes that for a single round
PROCESSES = 16

SAME = ("eager", "torch-2")  # they start as fused and torch do
COMPILERS = ("jax", "torch-compile")
FRAMEWORKS = ("jax", "torch", "torch-compile")
SETTLED = 0.3  # seconds of warm calls before a new size: what compiles in the background is done

NOTE = (
    "An LSTM cell in fresh processes. First calls and new sizes are held to the libraries that "
    "compile; a start, imports included, to those and to PyTorch, but not to NumPy, which all of "
    "them import. fusejit leaves part of the work to the background, for which a second call that "
    "follows at once waits: the rows of two calls have all of it. A disk cache, where one is used, "
    "was filled by an earlier process, for every library that has one: fusejit, JAX and "
    "torch.compile."
)
LABELS: dict[str, tuple[str, float | None, Sequence[str]]] = {
    "first": (f"first call, {START}, no disk cache", 0.7, COMPILERS),
    "start": (f"process start to first result, {START}, no disk cache", 0.35, FRAMEWORKS),
    "resize": (f"first call at a new batch size, {WARM} to 17", 0.03, COMPILERS),
    "first two": (f"first and second call, {START}, no disk cache", None, COMPILERS),
    "resize two": (f"first and second call at a new batch size, {WARM} to 17", None, COMPILERS),
    "cached first": (f"first call, {START}, with disk cache", None, COMPILERS),
    "cached start": (f"process start to first result, {START}, with disk cache", 0.25, FRAMEWORKS),
}


def run(options: Options) -> Section:
    """Every peer in processes of its own, started in turn with those of the others."""
    names = [name for name in options.peers if name not in SAME]
    found: dict[str, dict[str, list[float]]] = {key: {} for key in LABELS}
    spent = dict.fromkeys(names, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        kept = {**options.environment, **_caches(folder)}
        for name in names:
            Fresh(name, START, kept).close()  # fills the caches
        for _ in range(1 if options.quick else ROUNDS):
            for name in names:
                if spent[name] < PATIENCE:
                    began = time.perf_counter()
                    for key, seconds in _round(name, options, kept).items():
                        found[key].setdefault(name, []).append(seconds)
                    spent[name] += time.perf_counter() - began
    rows = []
    for key, (label, target, rivals) in LABELS.items():
        medians = {name: statistics.median(values) for name, values in found[key].items()}
        rows.append(Row(label, medians, target, rivals))
    return section_of("Starting", NOTE, rows, names)


def _round(name: str, options: Options, kept: Mapping[str, str]) -> dict[str, float]:
    """Three fresh processes: without a cache, with a cache, and one that meets a new size."""
    found = {}
    with tempfile.TemporaryDirectory() as empty:
        none = {**options.environment, **_caches(empty), "FUSEJIT_CACHE_DIR": ""}
        for prefix, environment in (("", none), ("cached ", kept)):
            fresh = Fresh(name, START, environment)
            if "first" in fresh.answer:
                found[prefix + "first"] = fresh.answer["first"]
                found[prefix + "start"] = fresh.seconds
                if not prefix:
                    found["first two"] = fresh.answer["first"] + fresh.again()
            fresh.close()
        fresh = Fresh(name, WARM, none)
        found |= fresh.resize()
        fresh.close()
    print(f"{name} started", file=sys.stderr)
    return found


class Fresh:
    """A process that was just started, and its first result."""

    def __init__(self, name: str, case: Case, environment: Mapping[str, str]) -> None:
        began = time.perf_counter()
        self._worker = Worker(name, environment)
        self.answer = self._worker.ask(case=str(case))
        self.seconds = time.perf_counter() - began
        if "error" in self.answer:
            print(f"{name} did not start: {self.answer['error']}", file=sys.stderr)

    def resize(self) -> dict[str, float]:
        """What the first call at another size takes once this size is warm."""
        self._worker.ask(seconds=SETTLED)
        answer = self._worker.ask(resize=str(RESIZED))
        if "first" not in answer:
            return {}
        return {"resize": answer["first"], "resize two": answer["first"] + self.again()}

    def again(self) -> float:
        """Seconds of the call that follows, which may wait for what the first left to do."""
        seconds: float = self._worker.ask(again=True).get("again", float("nan"))
        return seconds

    def close(self) -> None:
        self._worker.close()


def _caches(folder: str) -> dict[str, str]:
    """Where each library may keep compiled code."""
    return {
        "FUSEJIT_CACHE_DIR": f"{folder}/fusejit",
        "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/torch",
    }


def run_processes(options: Options) -> Section:
    """Many processes at once that share a cache: none may fail, or read what is half written."""
    rows, data = [], {}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**options.environment, **_caches(folder)}
        for label in ("empty", "filled"):
            began = time.perf_counter()
            with ThreadPoolExecutor(PROCESSES) as pool:
                fresh = list(
                    pool.map(lambda _: Fresh("fused", START, environment), range(PROCESSES))
                )
            seconds = time.perf_counter() - began
            results = [each.answer.get("result") for each in fresh]
            for each in fresh:
                each.close()
            right = sum(result is not None and result == results[0] for result in results)
            files = sum(path.is_file() for path in Path(folder).rglob("*"))
            met = PASS if right == PROCESSES else FAIL
            rows.append([label, f"{right} of {PROCESSES}", time_cell(seconds), str(files), met])
            data[label] = {"right": right, "seconds": seconds, "files": files}
    note = f"{PROCESSES} processes start at once and share a cache: {START}."
    head = ["cache before", "right results", "until the last", "files after", "met"]
    return Section("Many processes at once", note, head, rows, data)
