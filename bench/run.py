"""Measures fusejit, eager and fused, beside NumPy and, if asked, JAX and PyTorch.

Every peer lives in its own process. What a run finds goes to bench/results: bench.json, table.md
and two plots; a run of some sections leaves what it finds there of the others. OpenBLAS, OpenMP and
XLA with several threads wait for all of them, so on a busy machine only --one-core is fair.

    python bench/run.py [--peers all] [--start] [--robust] [--only lstm] [--quick]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import branches
import ceilings
import costs
import guards
import pairs
import robust
import start
import steady
from options import Options
from table import Section
from worker import HERE, OTHERS, OWN, PEERS, installed

SECTIONS: dict[str, Callable[[Options], Section]] = {
    "steady": steady.run,
    "pairs": pairs.run,
    "tiny": pairs.run_tiny,
    "guards": guards.run,
    "branches": branches.run,
    "start": start.run,
    "memory": costs.run_memory,
    "long": costs.run_long,
    "robust": robust.run,
    "processes": start.run_processes,
}
PACKAGES = ("numpy", "llvmlite", "scipy-openblas64", "jax", "torch")

Record = dict[str, Any]


def measure(names: list[str], options: Options, record: Record) -> Record:
    """`record` with these sections measured anew; each is printed as soon as it is complete."""
    sections = dict(record.get("sections", {}))
    found = {"machine": machine(), "sections": sections, "roof": record.get("roof", {})}
    for name in names:
        section = SECTIONS[name](options)
        print(f"\n{section}", flush=True)
        sections[name] = {**asdict(section), "date": time.strftime("%Y-%m-%d %H:%M")}
    if "steady" in names and not options.only:
        found["roof"] = ceilings.measure(options.environment)
        for label, rates in found["roof"].items():
            rate = f"{rates['bytes'] / 1e9:.1f} GB/s, {rates['flops'] / 1e9:.0f} GFLOP/s float32"
            print(f"{label}: {rate}")
    return found


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    versions = {"python": platform.python_version(), "fusejit": _version("fusejit")}
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {**versions, **{name: _version(name) for name in PACKAGES}},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Its name and family, as Linux has them: virtual machines often hide the model's name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    family, model = named.get("cpu family"), named.get("model")
    return f"{named.get('model name', 'unknown')} (family {family}, model {model})"


def as_text(record: Mapping[str, Any]) -> str:
    """table.md: the machine, and every section."""
    found = record["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in found["versions"].items() if v)
    lines = ["# Benchmarks", "", f"{found['processor']}, {found['cores']} cores. {versions}.", ""]
    for name in SECTIONS:
        if name in record["sections"]:
            values = dict(record["sections"][name])
            date = values.pop("date")
            section = Section(**values)
            lines.append(str(section))
            lines.append(f"Measured on {date}.\n")
    return "\n".join(lines)


def save(record: Record, folder: Path) -> None:
    """bench.json, table.md and, if matplotlib is there, the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / "table.md").write_text(as_text(record))
    try:
        import plot
    except ImportError:
        print("No plots: matplotlib is not installed (the extra `bench` has it).")
    else:
        plot.plot_all(record, folder)
    print(f"Wrote {folder}/")


def load(folder: Path) -> Record:
    """What an earlier run left, or nothing."""
    path = folder / "bench.json"
    found: Record = json.loads(path.read_text()) if path.exists() else {}
    return found


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    others = ", ".join(OTHERS)
    found.add_argument("--peers", type=_peers, default=(), help=f"all, or some of {others}")
    found.add_argument("--one-core", action="store_true", help="hold every process to one core")
    found.add_argument("--only", default="", help="only the cases whose name has this in it")
    found.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    found.add_argument("--all", action="store_true", help="every section")
    for name in SECTIONS:
        text = f"a section: {SECTIONS[name].__doc__}"
        found.add_argument(f"--{name}", action="store_true", help=text)
    found.add_argument(
        "--out",
        type=Path,
        help="where results go (default bench/results; with --only or --quick they are not kept)",
    )
    return found


def _peers(text: str) -> tuple[str, ...]:
    names = OTHERS if text == "all" else tuple(text.split(","))
    for name in names:
        if name not in OTHERS:
            raise argparse.ArgumentTypeError(f"no peer {name!r}; there are {', '.join(OTHERS)}")
    return names


def _default(asked: argparse.Namespace) -> list[str]:
    """The sections of a run that names none: what `only` applies to, and starts beside others."""
    if asked.only:
        return ["steady", "pairs"]
    return ["steady", "pairs", "tiny", *(["start"] if asked.peers else [])]


def main() -> None:
    asked = parser().parse_args()
    if asked.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # children inherit it
    chosen = [name for name in SECTIONS if asked.all or getattr(asked, name)]
    names = chosen or _default(asked)
    partial = asked.quick or asked.only
    folder = asked.out or (None if partial else HERE / "results")
    peers = (*OWN, *installed(asked.peers))
    with tempfile.TemporaryDirectory() as cache:
        # An empty cache, or a first call would be as fast as the last run left it.
        options = Options(
            peers=[name for name in PEERS if name in peers],
            environment={"FUSEJIT_CACHE_DIR": cache},
            only=asked.only,
        )
        options = replace(options, rounds=3, seconds=0.01, quick=True) if asked.quick else options
        record = measure(names, options, load(folder) if folder else {})
    if folder:
        save(record, folder)


if __name__ == "__main__":
    main()
