"""What a process loads, and when: import little, compile once, survive forks and exits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fusejit.backends.llvm import ready


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
heavy = ("llvmlite", "fusejit.passes", "fusejit.backends.lower", "fusejit.backends.llvm.jit",
         "fusejit.capture.calls", "fusejit.testing", "fusejit.demo", "importlib.resources",
         "numpy.fft", "secrets", "logging")
print([name for name in heavy if name in sys.modules], threading.active_count())
"""
    assert run(program, tmp_path) == "[] 1\n"
    assert list(tmp_path.iterdir()) == []


def test_submodules_are_attributes() -> None:
    program = """
import fusejit as fj
print(*(getattr(fj, name).__name__ for name in ("nn", "linalg", "fft", "random")))
"""
    assert run(program, "") == "fusejit.nn fusejit.linalg fusejit.fft fusejit.random\n"


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
import os, sys, fusejit as fj
from fusejit.backends.llvm import ready
f = fj.function(lambda x: fj.tanh(x) + 1.0)
ready.prepare()
child = os.fork()
answer = float(f(fj.constant(0.0))), float(f(fj.constant(0.0)))
if child == 0:
    os._exit(0 if answer == (1.0, 1.0) else 1)
print(answer, os.waitpid(child, 0)[1])
"""
    assert run(program, "") == "(1.0, 1.0) 0\n"


@pytest.mark.parametrize("ending", ["", "sys.exit()", "raise SystemExit"])
def test_a_process_that_ends_at_once_ends_well(ending: str) -> None:
    program = "import sys\nfrom fusejit.backends.llvm import ready\nready.prepare()\n" + ending
    assert run(program, "") == ""


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
