"""A thread pool of the tests' own, whose tasks note who ran what."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.backends.llvm import abi, threads
from fusejit.backends.llvm.jit import link
from fusejit.config import MOST_THREADS

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
