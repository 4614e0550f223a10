"""What is made in the background: by one thread that waits for more, and for nobody who is gone."""

from __future__ import annotations

import threading

import pytest

from fusejit.backends import ready
from tests.test_startup import run

BEGIN = """
import gc, os, threading, time, fusejit as fj
from fusejit.backends import ready
from fusejit.capture import calls

def until(condition):
    for _ in range(6000):
        if condition():
            return True
        time.sleep(0.01)

f = fj.function(lambda x: fj.tanh(x) + 1.0)
f(fj.zeros(2))
assert until(lambda: ready._workers)
"""


def test_plans_of_new_sizes_are_made_by_one_thread_without_another_call() -> None:
    program = """
for size in range(3, 9):
    f(fj.zeros(size))
    assert until(lambda: f._calls._pending.compiled.results)
print(sorted(t.name for t in threading.enumerate()), len(f._calls.traces))
"""
    assert run(BEGIN + program, "") == "['MainThread', 'fusejit-worker'] 7\n"


def test_a_fork_ends_the_thread_and_both_processes_go_on() -> None:
    program = """
f(fj.zeros(3))
child = os.fork()
assert threading.active_count() == 1
answer = [float(f(fj.zeros(size))[0]) for size in (3, 4, 4)]
assert until(lambda: ready._workers)
if child == 0:
    os._exit(0 if answer == [1.0, 1.0, 1.0] else 1)
print(answer, os.waitpid(child, 0)[1])
"""
    assert run(BEGIN + program, "") == "[1.0, 1.0, 1.0] 0\n"


@pytest.mark.parametrize("ending", ["", "sys.exit()", "raise SystemExit"])
def test_the_process_ends_well_with_a_plan_under_way(ending: str) -> None:
    program = "import sys\nf(fj.zeros(3))\nf(fj.zeros((4, 4)))\n"
    assert run(BEGIN + program + ending, "") == ""


def test_nothing_is_made_for_a_function_that_is_gone() -> None:
    program = """
from fusejit.backends.llvm import jit
begun = []
calls.ahead = lambda once, afterwards: begun.append(once)
g = fj.function(lambda x: fj.sinh(x) / 3.0)
g(fj.zeros(3))
del g
gc.collect()
before = jit.statistics()
begun[0]()
print(jit.statistics() == before, len(begun))
"""
    assert run(BEGIN + program, "") == "True 1\n"


def test_what_fails_does_not_end_the_thread() -> None:
    program = """
def fail():
    raise ValueError
once, worker = ready.Once(fail), ready._workers[0]
ready.ahead(once, lambda: None)
later = ready.Once(lambda: 3)
ready.ahead(later, lambda: None)
assert until(lambda: later.results)
print(once.results, worker.is_alive(), ready._workers == [worker])
"""
    assert run(BEGIN + program, "") == "[] True True\n"


def test_llvm_is_not_called_by_the_thread_that_interrupts_reach() -> None:
    """A KeyboardInterrupt inside llvmlite's lock would leave it locked for good."""
    program = """
import fusejit as fj, threading
from llvmlite.binding import ffi
from fusejit.backends import ready
from fusejit.capture import calls
callers = set()
ffi.register_lock_callback(lambda: callers.add(threading.current_thread()), lambda: None)
calls.ahead = lambda *what: None  # so that the second call makes the plan
f = fj.function(lambda x: fj.tanh(x) + 1.0)
for _ in range(3):
    f(fj.zeros(2))
fj.sum(fj.exp(fj.ones((300, 300))), axis=0)
f.asm(fj.zeros(2))
print(len(callers) > 0, threading.main_thread() in callers, ready._beginners)
"""
    assert run(program, "") == "True False set()\n"


def test_collection_goes_on_when_the_plan_is_made_or_cannot_be() -> None:
    program = """
f(fj.zeros(3))
assert until(gc.isenabled)
calls.ahead = lambda *what: False  # no more threads
f(fj.zeros(4))
print(gc.isenabled(), f.num_traces)
"""
    assert run(BEGIN + program, "") == "True 3\n"


def test_a_thread_that_logs_does_not_hold_up_a_fork() -> None:
    """logging prepares for forks by taking a lock: after us, if it was loaded after us."""
    program = """
heard = []
def listen():
    import logging
    class Listener(logging.Handler):
        def emit(self, record):
            heard.append(record.getMessage())
    logger = logging.getLogger("fusejit")
    logger.setLevel(logging.INFO)
    logger.addHandler(Listener())

def say(reason, meanwhile):
    started, go = threading.Event(), threading.Event()
    def work():
        started.set()
        go.wait()
        time.sleep(0.05)  # the fork has begun
        objects._say(reason)
    ready.ahead(ready.Once(work), lambda: None)
    started.wait()
    meanwhile()
    threading.Timer(0.01, go.set).start()
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not [t for t in threading.enumerate() if "fusejit" in t.name]

assert "logging" not in sys.modules
say("by the worker, at once", listen)
f(fj.zeros(5))
assert until(lambda: ready._workers)
say("by the worker", lambda: None)
say("by a beginner", lambda: None)
print([text for text in heard if text.startswith("by")])
"""
    head = "import sys\nfrom fusejit.backends import objects\n"
    assert run(BEGIN + head + program, "") == "['by the worker', 'by a beginner']\n"


def test_where_there_can_be_no_more_threads_the_caller_does_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    try:
        raise ValueError
    except ValueError:  # the error has a context then, too
        assert ready.undisturbed(threading.get_ident)() == threading.get_ident()


def test_an_interrupt_while_a_thread_begins_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt of Condition.wait, in which `start` waits, may become another error."""

    def start(thread: threading.Thread) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        ready.undisturbed(threading.get_ident)()
