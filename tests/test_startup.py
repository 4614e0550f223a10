"""What a process loads, and when: import little, compile once, survive forks and exits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fusejit.backends import ready


def run(program: str, cache: Path | str) -> str:
    """What a fresh interpreter prints, warnings being errors."""
    command = [sys.executable, "-W", "error", "-c", program]
    environment = {**os.environ, "FUSEJIT_CACHE_DIR": str(cache)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_importing_and_decorating_load_no_compiler_and_start_no_thread(tmp_path: Path) -> None:
    program = """
import sys, threading, fusejit as fj
fj.function(lambda x: fj.tanh(x) + 1.0)
heavy = ("llvmlite", "fusejit.passes", "fusejit.backends.plan", "fusejit.backends.llvm.jit",
         "fusejit.capture.calls", "fusejit.testing", "fusejit.demo", "importlib.resources",
         "numpy.fft", "numpy.random", "secrets", "logging", "optree", "ml_dtypes", "string",
         "json", *("fusejit." + fj.__later__[name] for name in fj.__later__))
print([name for name in heavy if name in sys.modules], threading.active_count())
"""
    assert run(program, tmp_path) == "[] 1\n"
    assert list(tmp_path.iterdir()) == []


MODULES = ("nn", "linalg", "fft", "random", "layers", "train", "data", "export")


def test_submodules_are_attributes() -> None:
    program = f"""
import fusejit as fj
assert set({MODULES}) < set(dir(fj))
print(*(getattr(fj, name).__name__ for name in {MODULES}))
try:
    fj.no_such_thing
except AttributeError as error:
    print(error)
"""
    names, error = run(program, "").splitlines()
    assert names.split() == ["fusejit." + name for name in MODULES]
    assert error == "module 'fusejit' has no attribute 'no_such_thing'"


def test_all_names_are_there_for_whoever_imports_all() -> None:
    program = """
import fusejit as fj
from fusejit import *
print(Network is fj.Network, load is fj.load, Iterator is fj.data.Iterator, layers is fj.layers)
"""
    assert run(program, "") == "True True True True\n"


def test_a_recorded_call_may_be_the_first_to_load_a_part() -> None:
    """Then its functions are reached and guarded as if they had been there."""
    program = """
import sys, fusejit as fj
@fj.function
def f(x):
    return fj.train.clip_by_global_norm([x], 1.0)[0] * 2.0
assert "fusejit.train" not in sys.modules
print([float(f(fj.constant([3.0, 4.0]))[0]) for _ in range(3)], f.num_traces)
fj.train.clip_by_global_norm = lambda gradients, norm: [gradients[0] + 1.0]
print(float(f(fj.constant([3.0, 4.0]))[0]))
"""
    first, changed = run(program, "").splitlines()
    assert first.endswith("] 1") and len(set(first[1:].split("]")[0].split(", "))) == 1
    assert float(first[1:].split(",")[0]) == pytest.approx(1.2)
    assert changed == "8.0"


CELL = """
import fusejit as fj
@fj.function
def f(x, w):
    z = x @ w
    if fj.sum(z) > 1e9:
        return x
    return fj.tanh(z) * fj.nn.sigmoid(x)
x, w = fj.ones((2, 8)), fj.ones((8, 8)) * 0.25
found = [f(x, w) for _ in range(3)]
assert all((each.numpy() == found[0].numpy()).all() for each in found)
from fusejit.backends import ready
ready._finish()  # what compiles behind the plan counts as well
info = fj.cache_info()
print(found[0].numpy().tobytes().hex(), f.num_traces, info.num_compiles, info.num_loads, info.files)
"""
NO_COMPILER = "from fusejit.backends.llvm import codegen\ncodegen._parse = codegen._inline = None\n"


def test_nothing_is_compiled_that_is_on_disk(tmp_path: Path) -> None:
    cold, warm = run(CELL, tmp_path).split(), run(NO_COMPILER + CELL, tmp_path).split()
    bits, traces, compiles, loads, files = cold
    assert traces == "1" and loads == "0"
    assert int(files) > int(compiles) > 2, "the native runtime is kept as well"
    assert warm == [bits, traces, "0", compiles, files]


def test_without_a_cache_the_quick_runtime_computes_the_same(tmp_path: Path) -> None:
    kept, quick = run(CELL, tmp_path).split(), run(CELL, "").split()
    assert kept[:4] == quick[:4] and quick[4] == "0"


def test_a_guard_an_error_and_a_tape_through_the_quick_runtime() -> None:
    program = """
import fusejit as fj
@fj.function
def f(x, n):
    return x * 2.0 if fj.sum(x) > 0 else x - float(n)
for value in (1.0, -1.0, 1.0, -1.0, 1.0):
    x = fj.ones((3,)) * value
    assert (f(x, 3).numpy() == f.eager(x, 3).numpy()).all()
assert float(fj.gradients_function(lambda x: fj.sum(f(x, 3)))(fj.ones(3))[0][0]) == 2.0
try:
    f("text", 3)
except Exception as error:
    print(type(error).__name__, f.num_traces)
"""
    kind, traces = run(program, "").split()
    assert kind.endswith("Error") and int(traces) >= 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_right_after_the_first_call_waits_for_the_compiler() -> None:
    program = """
import os, sys, threading, fusejit as fj
f = fj.function(lambda x: fj.tanh(x) + 1.0)
f(fj.constant(0.0))
assert threading.active_count() == 2
child = os.fork()
assert threading.active_count() == 1
answer = float(f(fj.constant(0.0))), float(f(fj.constant(0.0)))
if child == 0:
    os._exit(0 if answer == (1.0, 1.0) else 1)
print(answer, os.waitpid(child, 0)[1])
"""
    assert run(program, "") == "(1.0, 1.0) 0\n"


@pytest.mark.parametrize("ending", ["", "sys.exit()", "raise SystemExit"])
def test_a_process_that_ends_at_once_ends_well(ending: str) -> None:
    call = "fj.function(lambda x: fj.tanh(x) + 1.0)(fj.constant(0.0))\n"
    assert run("import sys, fusejit as fj\n" + call + ending, "") == ""


def test_the_first_call_needs_no_compiler_and_the_second_waits_for_it() -> None:
    program = """
import sys, fusejit as fj
from fusejit.capture import calls
begun = []
calls.ahead = lambda *what: begun.append(what)  # nothing starts by itself
@fj.function
def f(x, w):
    return fj.sigmoid(fj.sum(fj.tanh(x @ w), axis=0))
x, w = fj.ones((2, 8)) * 0.5, fj.ones((8, 8)) * 0.25
first = f(x, w).numpy()
heavy = ("llvmlite", "fusejit.passes", "fusejit.backends.plan", "fusejit.backends.llvm.jit",
         "fusejit.backends.llvm.runtime", "fusejit.capture.explain", "logging", "optree",
         "numpy.random")
print([name for name in heavy if name in sys.modules], len(begun), f.num_traces)
second = f(x, w).numpy()
print(first.tobytes() == second.tobytes(), "llvmlite" in sys.modules, f.num_traces)
"""
    assert run(program, "") == "[] 1 1\nTrue True 1\n"


def test_drawing_from_a_generator_that_the_call_loads_is_seen() -> None:
    program = """
import sys, warnings
import numpy as np, fusejit as fj
warnings.simplefilter("ignore")
plain = fj.function(lambda x: np.exp(x))
plain(fj.ones(3))
print("numpy.random" in sys.modules, plain.num_traces)
f = fj.function(lambda x: x * float(np.random.normal()))
found = {float(f(fj.constant(1.0))) for _ in range(4)}
print("numpy.random" in sys.modules, len(found))
import random
g = fj.function(lambda x: x * random.random())
print(len({float(g(fj.constant(1.0))) for _ in range(4)}))
"""
    assert run(program, "") == "False 1\nTrue 4\n4\n"


def test_bfloat16_is_loaded_when_asked_for() -> None:
    program = """
import sys, fusejit as fj
print(fj.ones(2).dtype, "ml_dtypes" in sys.modules)
f = fj.function(lambda x: fj.astype(x, fj.bfloat16))
print(*(f(fj.ones(2)).dtype for _ in range(3)), f.num_traces, fj.bfloat16 is fj.bfloat16)
"""
    assert run(program, "") == "float32 False\nbfloat16 bfloat16 bfloat16 1 True\n"


def test_what_waits_for_the_plan() -> None:
    program = """
import fusejit as fj
def fresh():
    f = fj.function(lambda x: fj.tanh(x) * 2.0)
    f(fj.ones(3))
    return f
x = fj.ones(3)
f = fresh()
assert f.num_traces == 1 and f.num_compiles >= 1
assert "1 kernel" in fresh().explain(x) and "kernel" in f.llvm(x) and f.signatures()
assert fj.cache_info().traces == 2
fj.clear_caches()
assert fj.cache_info().traces == 0
with fj.no_recompile():
    try:
        f(x)
    except fj.RecompileError:
        print("recorded again")
"""
    assert run(program, "") == "recorded again\n"


@pytest.mark.parametrize("error", ["LoweringError('no such instruction')", "MemoryError('full')"])
def test_what_cannot_be_compiled_is_said_by_the_next_call(error: str) -> None:
    program = f"""
import warnings, fusejit as fj
from fusejit.capture import entries
def entry_of(trace):
    raise {error.replace("LoweringError", "fj.LoweringError")}
entries.entry_of = entry_of
f = fj.function(lambda x: fj.tanh(x) + 1.0)
x = fj.constant(0.0)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    found = [(float(f(x)), len(seen)) for _ in range(3)]
print(found, f.num_traces, "could not be compiled" in str(seen[0].message), seen[0].filename)
"""
    assert run(program, "") == "[(1.0, 0), (1.0, 1), (1.0, 1)] 1 True <string>\n"


def test_an_interrupt_while_waiting_changes_nothing() -> None:
    program = """
import fusejit as fj
from fusejit.capture import calls, pending
calls.ahead = lambda once, afterwards: None
made = pending._made
def interrupted(*what):
    pending._made = made
    raise KeyboardInterrupt
pending._made = interrupted
f = fj.function(lambda x: fj.tanh(x) + 1.0)
x = fj.constant(0.0)
first = float(f(x))
try:
    f(x)
except KeyboardInterrupt:
    print(first, float(f(x)), f.num_traces)
"""
    assert run(program, "") == "1.0 1.0 1\n"


def test_threads_that_meet_an_uncompiled_recording_wait_for_one_plan() -> None:
    program = """
import threading, fusejit as fj
f = fj.function(lambda x: fj.tanh(x) + 1.0)
x = fj.constant(0.0)
f(x)
found = []
threads = [threading.Thread(target=lambda: found.append(float(f(x)))) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(set(found), f.num_traces, len(f._calls.traces))
"""
    assert run(program, "") == "{1.0} 1 1\n"


def test_eager_ops_alone_get_kernels_once_they_have_been_evaluated_enough() -> None:
    program = """
import sys, numpy as np, fusejit as fj
from fusejit.backends.llvm import cold
x = fj.asarray(np.linspace(-3, 3, 64, dtype=np.float32))
few = fj.tanh(x).numpy()
assert "llvmlite" not in sys.modules
cold.ENOUGH = 0.0
many = fj.tanh(x).numpy()
assert "llvmlite" in sys.modules and few.tobytes() == many.tobytes()
large = fj.tanh(fj.ones(100_000))
print(fj.cache_info().kernels)
"""
    assert run(program, "") == "1\n"


def test_no_thread_can_be_started() -> None:
    program = """
import threading, fusejit as fj
def start(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = start
f = fj.function(lambda x: fj.tanh(x) + 1.0)
print(float(f(fj.constant(0.0))), float(f(fj.constant(0.0))), f.num_traces)
"""
    assert run(program, "") == "1.0 1.0 1\n"


def test_without_llvmlite_the_background_is_silent() -> None:
    program = """
import sys, warnings
sys.modules["llvmlite"] = None
warnings.simplefilter("ignore")
import fusejit as fj
f = fj.function(lambda x: x + 1.0)
print(float(f(fj.constant(0.0))))
"""
    assert run(program, "") == "1.0\n"


def test_once_computes_once_for_all_threads() -> None:
    begun, go = [], threading.Event()

    def slow() -> object:
        begun.append(threading.get_ident())
        go.wait(10)
        return object()

    once = ready.Once(slow)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(once())) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert len(begun) == 1 and len(set(map(id, found))) == 1 and len(found) == 8


def test_once_tries_again_after_an_error() -> None:
    answers = iter([ValueError("not yet"), 7])

    def sometimes() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    once = ready.Once(sometimes)
    with pytest.raises(ValueError, match="not yet"):
        once()
    assert once() == once() == 7


def test_ops_of_the_first_call_are_compiled_behind_its_plan() -> None:
    program = """
import fusejit as fj
from fusejit.backends import ready
from fusejit.device import backend
f = fj.function(lambda x: fj.tanh(x) * 2.0)
f(fj.ones(3))
compiler = backend("cpu")
print(len(compiler._ready))
ready._finish()
print(len(compiler._ready), len(compiler._evaluated))
first = fj.tanh(fj.ones(5) * 0.3).numpy().tobytes()
compiler._ready.clear()
print(first == fj.tanh(fj.ones(5) * 0.3).numpy().tobytes())
"""
    assert run(program, "").split() == ["0", "1", "0", "True"]
