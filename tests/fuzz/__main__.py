"""Fuzz for a while: `python -m tests.fuzz --minutes 10`. Prints a minimal script for each finding."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.programs import programs
from tests.fuzz.worker import Worker

SCRIPT = """\
# {problem}
# Check it again: python this_file.py, from the root of the repository.
{text}
if __name__ == "__main__":
    from tests.fuzz.checks import check_program

    check_program(open(__file__).read().partition("if __name__")[0])
"""


def search(worker: Worker, seed: int, count: int) -> tuple[int, str | None]:
    """Check `count` programs: (how many were run, a script that shows the first finding)."""
    ran = 0
    last = ""

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(programs())
    def run(text: str) -> None:
        nonlocal ran, last
        ran += 1
        problem = worker.check(text)
        if problem is not None:
            last = script(text, problem)
            # Shrinking must not slide from one finding into another.
            raise AssertionError(signature(problem))

    try:
        run()
    except (AssertionError, hypothesis.errors.FlakyFailure):
        return ran, last
    return ran, None


def signature(problem: str) -> str:
    return problem.strip().splitlines()[-1].split(":")[0]


def script(text: str, problem: str) -> str:
    return SCRIPT.format(problem=problem.strip().replace("\n", "\n# "), text=text)


def main(arguments: Any = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--findings", type=int, default=5, help="stop after this many")
    options = parser.parse_args(arguments)
    worker, began = Worker(), time.monotonic()
    total, findings, seed = 0, 0, options.seed
    while time.monotonic() - began < 60 * options.minutes and findings < options.findings:
        ran, finding = search(worker, seed, 200)
        total, seed = total + ran, seed + 1
        if finding is not None:
            findings += 1
            print(f"---- finding {findings} (seed {seed - 1})\n{finding}", flush=True)
    worker.close()
    print(f"{total} programs, {findings} findings, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
