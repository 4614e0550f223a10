"""The thread pool of native code: every chunk once, whoever runs it, whatever goes on beside it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusejit as fj
from fusejit.backends.llvm import abi, threads
from fusejit.backends.llvm.jit import link
from fusejit.config import MOST_THREADS, Config, Settings, from_environment
from fusejit.errors import FuseJitError

ROOT = Path(__file__).parent.parent.parent
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there are no pool threads elsewhere")

# A task that writes down who ran which index in which chunk, and whether two threads were the same
# worker at once: then it traps. Its context: flags of the workers, rows of (runs, begin, end,
# worker, turn), the turns so far, microseconds to sleep in each chunk.
TASKS = """
%Notes = type { ptr, ptr, i64, i64 }
%Note = type { i64, i64, i64, i64, i64 }
declare i32 @usleep(i32)
declare void @llvm.trap()

define void @note(ptr %notes, i64 %begin, i64 %end, i64 %worker) {
entry:
  %flags = load ptr, ptr %notes
  %flag = getelementptr i64, ptr %flags, i64 %worker
  %was = atomicrmw xchg ptr %flag, i64 1 acq_rel
  %shared = icmp ne i64 %was, 0
  br i1 %shared, label %stop, label %go

stop:
  call void @llvm.trap()
  unreachable

go:
  %turns = getelementptr %Notes, ptr %notes, i32 0, i32 2
  %turn = atomicrmw add ptr %turns, i64 1 monotonic
  %rows.at = getelementptr %Notes, ptr %notes, i32 0, i32 1
  %rows = load ptr, ptr %rows.at
  br label %loop

loop:
  %i = phi i64 [ %begin, %go ], [ %next, %loop ]
  %runs = getelementptr %Note, ptr %rows, i64 %i
  %more = atomicrmw add ptr %runs, i64 1 monotonic
  %begin.at = getelementptr %Note, ptr %rows, i64 %i, i32 1
  store i64 %begin, ptr %begin.at
  %end.at = getelementptr %Note, ptr %rows, i64 %i, i32 2
  store i64 %end, ptr %end.at
  %worker.at = getelementptr %Note, ptr %rows, i64 %i, i32 3
  store i64 %worker, ptr %worker.at
  %turn.at = getelementptr %Note, ptr %rows, i64 %i, i32 4
  store i64 %turn, ptr %turn.at
  %next = add i64 %i, 1
  %left = icmp slt i64 %next, %end
  br i1 %left, label %loop, label %rest

rest:
  %sleep.at = getelementptr %Notes, ptr %notes, i32 0, i32 3
  %sleep = load i64, ptr %sleep.at
  %sleep.32 = trunc i64 %sleep to i32
  %sleeps = icmp ne i64 %sleep, 0
  br i1 %sleeps, label %sleep.it, label %done

sleep.it:
  %slept = call i32 @usleep(i32 %sleep.32)
  br label %done

done:
  store atomic i64 0, ptr %flag release, align 8
  ret void
}

; A task whose every chunk is a job of its own: adds up the indices.
define void @add(ptr %total, i64 %begin, i64 %end, i64 %worker) {
  %sum = atomicrmw add ptr %total, i64 %begin monotonic
  ret void
}

define void @nest(ptr %total, i64 %begin, i64 %end, i64 %worker) {
  call void @parallel(ptr @add, ptr %total, i64 10, i64 1, i64 8)
  ret void
}

define void @job(ptr %task, ptr %context, i64 %count, i64 %grain, i64 %workers) {
  call void @parallel(ptr %task, ptr %context, i64 %count, i64 %grain, i64 %workers)
  ret void
}

define void @jobs(ptr %task, ptr %context, i64 %count, i64 %grain, i64 %workers, i64 %times) {
entry:
  br label %loop

loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void @parallel(ptr %task, ptr %context, i64 %count, i64 %grain, i64 %workers)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %loop, label %done

done:
  ret void
}
"""


class Pool:
    """A pool of the tests' own, entered through ctypes, which gives up the GIL."""

    def __init__(self, text: str) -> None:
        exports = ("note", "add", "nest", "job", "jobs", *threads.EXPORTS)
        ir = abi.kernels_text("llvm/api.ll") + text + TASKS
        self.code = link(ir, exports, abi.symbols())
        threads.attach(self.code)
        self.limit = ctypes.c_int64.from_address(self.code["threads.limit"])

    def call(self, name: str, task: str, context: Any, *numbers: int) -> None:
        function: Callable[..., None] = ctypes.CFUNCTYPE(
            None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * len(numbers)
        )(self.code[name])
        function(self.code[task], context.ctypes.data, *numbers)

    def run(self, count: int, grain: int, workers: int, sleep: int = 0) -> Any:
        """One job, checked; a row for each index: runs, begin, end, worker, turn."""
        flags = np.zeros(MOST_THREADS, np.int64)
        notes = np.zeros((count + 1, 5), np.int64)
        context = np.array([flags.ctypes.data, notes.ctypes.data, 0, sleep], np.int64)
        self.call("job", "note", context, count, grain, workers)
        rows, index = notes[:count], np.arange(count)
        begin = index // grain * grain
        assert (rows[:, 0] == 1).all(), "each index once"
        assert (rows[:, 1] == begin).all() and (
            rows[:, 2] == np.minimum(begin + grain, count)
        ).all()
        assert (rows[:, 3] < max(1, min(workers, fj.get_num_threads()))).all()
        assert (notes[count] == 0).all() and context[2] == -(-count // grain)
        return rows


@lru_cache(maxsize=1)
def pool() -> Pool:
    return Pool(threads.text())


def worked(rows: Any) -> set[int]:
    return set(rows[:, 3].tolist())


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    """More threads than there may be cores, so that they meet."""
    with fj.config.override(num_threads=4):
        yield


# ---- jobs


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


# ---- processes


def in_a_process(function: Callable[[], None], *options: str) -> None:
    """Run `function` of this module in a new interpreter that must end well, and silently."""
    program = f"from tests.backends import test_threads as t; t.{function.__name__}()"
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def exit_while_threads_watch() -> None:
    fj.set_num_threads(4)
    pool().run(100, 1, 4)


def exit_while_threads_sleep() -> None:
    exit_while_threads_watch()
    time.sleep(0.02)


def exit_during_a_job() -> None:
    fj.set_num_threads(4)
    Thread(target=pool().run, args=(1000, 1, 4, 10_000), daemon=True).start()
    time.sleep(0.02)


def children(number: int) -> None:
    """Fork children that run jobs, and so on, one inside the other."""
    pool().run(100, 1, 4)
    if number:
        child = os.fork()
        if child == 0:
            children(number - 1)
            assert worked(pool().run(8, 1, 4, sleep=20_000)) > {0}
            os._exit(0)
        pool().run(100, 1, 4)
        assert os.waitpid(child, 0)[1] == 0


def fork_between_jobs() -> None:
    fj.set_num_threads(4)
    for _ in range(5):
        children(2)


def fork_during_a_job() -> None:
    fj.set_num_threads(4)
    caller = Thread(target=pool().run, args=(40, 1, 4, 20_000))
    caller.start()
    time.sleep(0.05)
    children(2)
    assert caller.is_alive()
    caller.join()


@pytest.mark.parametrize(
    "function", [exit_while_threads_watch, exit_while_threads_sleep, exit_during_a_job]
)
def test_a_process_ends_well(function: Callable[[], None]) -> None:
    in_a_process(function)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forks_between_jobs_and_warns_of_nothing() -> None:
    in_a_process(fork_between_jobs, "-W", "always")  # an error there is lost: CPython clears it


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forks_during_a_job() -> None:
    in_a_process(fork_during_a_job, "-W", "ignore::DeprecationWarning")  # of the thread in Python


# ---- how many


def test_set_num_threads() -> None:
    fj.set_num_threads(3)
    assert fj.get_num_threads() == fj.config.num_threads == 3
    for number in (1, 6, 2, MOST_THREADS, 1):
        fj.set_num_threads(number)
        assert pool().limit.value == number
        pool().run(200, 1, 300)


@pytest.mark.parametrize("number", [0, -1, 2.0, True, "2", None, MOST_THREADS + 1])
def test_a_number_of_threads_that_is_none(number: Any) -> None:
    with pytest.raises(ValueError, match=r"set_num_threads: expected an int from 1 to 256, got "):
        fj.set_num_threads(number)
    assert fj.get_num_threads() == 4


def test_the_environment() -> None:
    assert from_environment({"FUSEJIT_NUM_THREADS": "3"}).num_threads == 3
    assert from_environment({"FUSEJIT_NUM_THREADS": "0"}) == Settings()
    for text in ("two", "-1", "1.5", ""):
        with pytest.raises(FuseJitError, match="FUSEJIT_NUM_THREADS: expected a number, got"):
            from_environment({"FUSEJIT_NUM_THREADS": text})
    with pytest.raises(FuseJitError, match="num_threads: expected 0 to 256, got 1000"):
        from_environment({"FUSEJIT_NUM_THREADS": "1000"})


def test_plans_outlive_a_change_of_the_number() -> None:
    config = Config(Settings())
    heard: list[str] = []
    config.on_change(lambda: heard.append("plans"))
    config.on_change(lambda: heard.append("threads"), "num_threads")
    config.num_threads = 2
    config.num_threads = 2
    assert heard == ["threads"]
    config.verify = True
    assert heard == ["threads", "plans"]


def test_the_default_is_what_the_process_may_use() -> None:
    with fj.config.override(num_threads=0):
        assert fj.get_num_threads() == min(threads.usable_cpus(), MOST_THREADS)
    assert 1 <= threads.usable_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    "groups, files, expected",
    [
        ("0::/a/b", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "400000 100000"}, [1.5, 4]),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "cpu.max": "200000 100000"}, [2]),
        ("0::/gone/too", {"cpu.max": "50000 100000"}, [0.5]),
        (
            "3:cpu,cpuacct:/a",
            {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"},
            [3],
        ),
        ("3:cpu:/a", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
        ("1:memory:/a\n0::/", {}, []),
    ],
)
def test_quotas_of_control_groups(
    tmp_path: Path, groups: str, files: dict[str, str], expected: list[float]
) -> None:
    (tmp_path / "groups").write_text(groups + "\n")
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert list(threads.cgroup_quotas(tmp_path / "groups", tmp_path / "mount")) == expected


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert list(threads.cgroup_quotas(tmp_path / "groups", tmp_path)) == []
