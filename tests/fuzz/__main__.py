"""Fuzz for a while: `python -m tests.fuzz --minutes 10`. Prints a small script for each finding.

Programs (see `programs`), stories (see `states`) and programs that several threads call at once
(see `threads`) take turns.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from tests.fuzz.programs import program
from tests.fuzz.script import minimal, script
from tests.fuzz.states import story
from tests.fuzz.worker import Worker

KINDS = {"program": program, "story": story, "threads": program}


def examine(worker: Worker, kind: str, seed: int) -> str | None:
    """A script that shows what is wrong with a program, as small as it gets; None if nothing is."""
    text = KINDS[kind](seed)
    problem = worker.check(text, kind)
    if problem is None:
        return None
    return script(*minimal(lambda smaller: worker.check(smaller, kind), text, problem), kind)


def main(arguments: Any = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--findings", type=int, default=5, help="stop after this many")
    parser.add_argument("--only", choices=KINDS, help="one kind only")
    options = parser.parse_args(arguments)
    kinds = [options.only] if options.only else list(KINDS)
    worker, began = Worker(), time.monotonic()
    seed, findings = options.seed, 0
    while time.monotonic() - began < 60 * options.minutes and findings < options.findings:
        for kind in kinds:
            found = examine(worker, kind, seed)
            if found is not None:
                findings += 1
                print(f"---- {kind} {seed}\n{found}", flush=True)
        seed += 1
    worker.close()
    count, spent = (seed - options.seed) * len(kinds), time.monotonic() - began
    print(f"{count} programs, {findings} findings, {spent:.0f} s", flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
