"""The emulator finds what it is there for: planted bugs, each of which a GPU might let pass."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fusejit.backends.cuda import emulation
from fusejit.backends.cuda.emulation import Order
from fusejit.backends.cuda.program import Launch, Source
from fusejit.backends.cuda.text import library
from fusejit.errors import FuseJitError
from tests.cuda import suite
from tests.cuda.emulate import KERNELS, Array, orders, run
from tests.cuda.kernels import needs_emulator

pytestmark = needs_emulator

ROOT = Path(__file__).parents[2]
_PRELUDE = library("device.cuh")


def kernel(name: str, body: str) -> Source:
    """One block of threads with `t` its number, floats x and y, and shared floats s."""
    head = "struct Params { const float* x; float* y; };\n"
    signature = f'extern "C" __global__ void {name}(const Params p) {{\n'
    opening = "const int t = threadIdx.x; float* const s = (float*)shared_memory();\n"
    return Source(name, f"{_PRELUDE}{head}{signature}{opening}{body}\n}}\n")


def launched(source: Source, threads: int = 64, order: Order = Order.FORWARD) -> Array:
    x, y = np.arange(threads, dtype="f") + 1, np.zeros(threads, "f")
    found = emulation.loaded(emulation.compiled(source), source.name)
    parameters = struct.pack("2Q", x.ctypes.data, y.ctypes.data)
    found.launch((1, 1, 1), (threads, 1, 1), 4 * threads, parameters, order)
    return y


_SHIFT = "s[t] = p.x[t]; {} p.y[t] = t ? s[t - 1] : 0;"


def test_a_missing_barrier_shows_in_another_order_of_threads() -> None:
    right = kernel("right", _SHIFT.format("block_barrier();"))
    expected = np.arange(64, dtype="f")
    for order in Order:
        assert np.array_equal(launched(right, order=order), expected)
    wrong = kernel("wrong", _SHIFT.format(""))
    assert np.array_equal(launched(wrong), expected)  # as by luck on a GPU
    for order in (Order.REVERSE, Order.SHUFFLED):
        assert not np.array_equal(launched(wrong, order=order), expected)


def test_shared_memory_that_nobody_wrote_is_nan() -> None:
    assert np.isnan(launched(kernel("unwritten", "block_barrier(); p.y[t] = s[t];"))).all()


def test_a_divergent_barrier() -> None:
    body = "if (t < 32) { block_barrier(); } else {\n block_barrier(); } p.y[t] = 0;"
    with pytest.raises(FuseJitError, match=r"divergent: a divergent barrier, line \d+"):
        launched(kernel("divergent", body))


def test_a_barrier_that_some_threads_do_not_reach() -> None:
    with pytest.raises(FuseJitError, match=r"a barrier after some threads have ended|deadlock"):
        launched(kernel("ended", "if (t == 5) return; block_barrier(); p.y[t] = 0;"))


def test_a_shuffle_that_some_lanes_do_not_reach() -> None:
    body = "p.y[t] = 0; if (t < 60) p.y[t] = shuffle_down(p.x[t], 1);"
    with pytest.raises(FuseJitError, match=r"a shuffle without all lanes|deadlock"):
        launched(kernel("partly", body))


def test_shuffles() -> None:
    found = launched(kernel("shuffles", "p.y[t] = shuffle_down(p.x[t], 3);"))
    x = np.arange(64, dtype="f").reshape(2, 32) + 1
    assert np.array_equal(found, np.concatenate([x[:, 3:], x[:, -3:]], 1).ravel())


def test_a_write_beyond_the_shared_memory() -> None:
    body = "s[t + 1] = 0; block_barrier(); p.y[t] = 0;"
    with pytest.raises(FuseJitError, match="a write beyond the shared memory"):
        launched(kernel("far", body))


def test_parameters_of_another_size() -> None:
    source = kernel("sized", "p.y[t] = s[t];")
    found = emulation.loaded(emulation.compiled(source), source.name)
    with pytest.raises(FuseJitError, match="expected 16 bytes of parameters, got 8"):
        found.launch((1, 1, 1), (32, 1, 1), 128, bytes(8))


def test_a_launch_of_too_many_threads() -> None:
    with pytest.raises(FuseJitError, match="too many threads"):
        launched(kernel("crowd", "p.y[t] = 0;"), threads=1025)


def test_a_kernel_that_does_not_compile_says_why() -> None:
    with pytest.raises(FuseJitError, match=r"does not compile broken:(.|\n)*nonsense"):
        launched(kernel("broken", "nonsense;"))


def _planted(change: Callable[[str], str]) -> suite.Case:
    """A softmax whose kernel is changed."""
    x = np.random.default_rng(0).normal(size=(40, 64)).astype("f")
    case = suite.case("softmax", suite._softmax, x)
    (launch,) = case.program.commands
    assert isinstance(launch, Launch)
    text = change(launch.source.text)
    assert text != launch.source.text
    name = launch.source.name + "_changed"
    source = Source(name, text.replace(launch.source.name, name))
    KERNELS[name] = emulation.loaded(emulation.compiled(source), name)
    changed = Launch(source, *(getattr(launch, field) for field in _REST))
    object.__setattr__(case.program, "commands", (changed,))
    return case


_REST = ("grid", "block", "shared", "operands", "constants", "where", "written")


def test_a_generated_kernel_without_one_of_its_barriers_is_caught() -> None:
    case = _planted(lambda text: text.replace("    }\n    block_barrier();\n", "    }\n", 3))
    with pytest.raises(AssertionError, match="the order of threads shows"):
        orders(case.program, case.inputs)


def test_a_generated_kernel_that_writes_too_far_is_caught() -> None:
    case = _planted(lambda text: text.replace("store(e_y0 +", "store(e_y0 + 4 +"))
    with pytest.raises(AssertionError, match="a write out of bounds"):
        run(case.program, case.inputs)


_PORTABLY = """
import sys
import pytest
from fusejit.backends.cuda import emulation

built = emulation._built
def portable(name, text, flags):
    extra = "#define EMULATED_PORTABLY\\n" if name == "the emulator" else ""
    return built(name, extra + text, flags)

emulation._built = portable
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "not portably", sys.argv[1]]))
"""


def test_portably() -> None:
    """The same on processors for which the emulator has no switch of stacks of its own."""
    program = [sys.executable, "-W", "ignore", "-c", _PORTABLY, __file__]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
