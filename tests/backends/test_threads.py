"""The thread pool of native code: every chunk once, whoever runs it, whatever goes on beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusejit as fj
from fusejit.backends.llvm import threads
from tests.backends.pool import Pool, pool, worked

pytestmark = pytest.mark.usefixtures("four_threads")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there are no pool threads elsewhere")


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 1000])
@pytest.mark.parametrize("grain", [1, 3, 64, 2000])
@pytest.mark.parametrize("workers", [0, 1, 2, 4, 9])
def test_every_chunk_runs_once(count: int, grain: int, workers: int) -> None:
    for _ in range(5):
        pool().run(count, grain, workers)


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(1, 40), st.integers(1, 8), st.integers(1, 6)),
        min_size=1,
        max_size=20,
    )
)
@settings(deadline=None)
def test_jobs_one_after_the_other(jobs: list[tuple[int, int, int, int]]) -> None:
    for count, grain, workers, limit in jobs:
        fj.set_num_threads(limit)
        pool().run(count, grain, workers)


@LINUX
def test_threads_help() -> None:
    rows = pool().run(8, 1, 4, sleep=20_000)
    assert len(worked(rows)) > 1


@pytest.mark.parametrize("workers, limit", [(1, 4), (0, 4), (4, 1)])
def test_one_worker_runs_the_chunks_in_order(workers: int, limit: int) -> None:
    fj.set_num_threads(limit)
    rows = pool().run(100, 7, workers)
    assert worked(rows) == {0}
    assert (rows[:, 4] == np.arange(100) // 7).all()


def test_a_job_inside_a_task_runs_at_once() -> None:
    total = np.zeros(1, np.int64)
    pool().call("job", "nest", total, 50, 1, 4)
    assert total[0] == 50 * sum(range(10))


def test_many_tiny_jobs() -> None:
    total = np.zeros(1, np.int64)
    pool().call("jobs", "add", total, 5, 1, 4, 100_000)
    assert total[0] == 100_000 * sum(range(5))


def test_jobs_after_pauses_in_which_threads_fall_asleep() -> None:
    for pause in (0.0, 2e-5, 4e-5, 6e-5, 1e-4, 1e-3, 5e-3) * 20:
        time.sleep(pause)
        pool().run(40, 1, 4)


def test_python_threads_share_the_pool() -> None:
    def caller(seed: int) -> None:
        for i in range(200):
            pool().run(1 + (seed * 37 + i) % 200, 1 + i % 5, 4, sleep=50 if i % 20 == 0 else 0)

    pool()
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(caller, range(8)))


def test_a_busy_machine() -> None:
    program = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(program) for _ in range(2)]
    try:
        for i in range(300):
            pool().run(30, 1 + i % 4, 4, sleep=100 if i % 30 == 0 else 0)
    finally:
        for other in others:
            other.kill()
            other.wait()


@LINUX
def test_threads_take_no_signals() -> None:
    faults = {signal.SIGILL, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV}
    before = set(os.listdir("/proc/self/task"))
    Pool(threads.text()).run(8, 1, 4, sleep=1000)
    ours = set(os.listdir("/proc/self/task")) - before
    assert len(ours) == 3
    for task in ours:
        status = Path(f"/proc/self/task/{task}/status").read_text()
        mask = int(status.partition("SigBlk:")[2].split()[0], 16)
        open_ = {number for number in signal.valid_signals() if not mask >> (number - 1) & 1}
        assert open_ == {*faults, signal.SIGKILL, signal.SIGSTOP}  # the last cannot be blocked


def test_a_system_without_threads() -> None:
    alone = Pool(threads.text("plan9", "mips"))
    rows = alone.run(100, 3, 4)
    assert worked(rows) == {0}
    assert alone.limit.value == 1


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_linux_has_threads(machine: str) -> None:
    assert "declare i32 @pthread_create" in threads.text("linux", machine)
