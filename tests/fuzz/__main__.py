"""Fuzz for a while: `python -m tests.fuzz --minutes 10`. Prints a small script for each finding."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.fuzz.programs import program
from tests.fuzz.worker import Worker

SCRIPT = """\
# {problem}
# Check it again: python this_file.py, from the root of the repository.
{text}
if __name__ == "__main__":
    from tests.fuzz.checks import check_program

    check_program(open(__file__).read().partition("if __name__")[0])
"""


def minimal(worker: Worker, text: str, problem: str) -> tuple[str, str]:
    """The program with as few lines and results as still show the same problem."""
    wanted, lines = signature(problem), text.splitlines()
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate in _smaller(lines):
            found = worker.check("\n".join(candidate) + "\n")
            if found is not None and signature(found) == wanted:
                lines, problem, shrunk = candidate, found, True
                break
    return "\n".join(lines) + "\n", problem


def _smaller(lines: list[str]) -> Iterator[list[str]]:
    """Without a statement, without a result, or with a value replaced by what it is made of."""
    for i in reversed(range(len(lines))):
        if lines[i].startswith("    return ") and lines[i].count(",") > 1:
            names = lines[i].removeprefix("    return ").rstrip(",").split(", ")
            for k in range(len(names)):
                kept = ", ".join(names[:k] + names[k + 1 :])
                yield [*lines[:i], f"    return {kept},", *lines[i + 1 :]]
        elif lines[i].startswith("    ") and "return" not in lines[i]:
            yield [*lines[:i], *lines[i + 1 :]]
            made, _, body = lines[i].strip().partition(" = ")
            for operand in set(re.findall(r"\b[tx]\d+\b", body)):
                rest = [re.sub(rf"\b{made}\b", operand, line) for line in lines[i + 1 :]]
                yield [*lines[:i], *rest]


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
    seed, findings = options.seed, 0
    while time.monotonic() - began < 60 * options.minutes and findings < options.findings:
        text = program(seed)
        problem = worker.check(text)
        if problem is not None:
            findings += 1
            print(f"---- program {seed}\n{script(*minimal(worker, text, problem))}", flush=True)
        seed += 1
    worker.close()
    print(
        f"{seed - options.seed} programs, {findings} findings, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
