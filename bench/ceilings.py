"""How fast this machine can be: memory and multiply-adds, measured on one core and on all."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from worker import Worker

SECONDS = 1.0
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "FUSEJIT_NUM_THREADS": "1"}


def measure(environment: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """{"1 core": {"bytes": a second, "flops": a second}, "2 cores": ...}; empty if it fails.

    All cores: one process each, at the same time, and their rates added.
    """
    found = {}
    count = len(os.sched_getaffinity(0))
    for cores in sorted({1, count}):
        workers = [Worker("ceiling", {**environment, **ONE_THREAD}) for _ in range(cores)]
        with ThreadPoolExecutor(cores) as pool:
            # The first answer is thrown away: by then all processes have started.
            list(pool.map(lambda worker: worker.ask(seconds=0.1), workers))
            answers = list(pool.map(lambda worker: worker.ask(seconds=SECONDS), workers))
        for worker in workers:
            worker.close()
        if any("error" in answer for answer in answers):
            print(f"no roofline: {answers}", file=sys.stderr)
            return {}
        label = f"{cores} core" + "s" * (cores > 1)
        found[label] = {key: sum(each[key] for each in answers) for key in ("bytes", "flops")}
    return found
