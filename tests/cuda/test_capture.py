"""Decorated functions on a GPU: what is particular to it. The contract is test_elsewhere's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.capture.launches import listed
from fusejit.ir.devices import cut
from tests.capture.helpers import same

GPU = "/gpu:0"


@pytest.fixture
def x(gpus: str) -> fj.Tensor:
    return fj.constant(np.linspace(-1, 2, 12, dtype=np.float32).reshape(3, 4)).to("gpu")


def agrees(f: Any, *args: Any, traces: int = 1) -> None:
    """Three calls give what the undecorated function gives, on the same devices."""
    for _ in range(3):
        found, expected = f(*args), f.eager(*args)
        assert same(found, expected)
        pairs = zip(fj.function(lambda v: v).eager((found,)), (expected,), strict=True)
        assert all(getattr(a, "device", None) == getattr(b, "device", None) for a, b in pairs)
    assert f.num_traces == traces


def test_a_branch_goes_on_with_what_the_stopped_program_holds(x: fj.Tensor) -> None:
    @fj.function
    def f(x: Any, limit: Any) -> Any:
        y = fj.sort(fj.tanh(x) @ fj.ones((4, 4)).to("gpu"))
        if fj.sum(y) > limit:
            return y * 2.0
        return y - 1.0

    low, high = fj.constant(-100.0), fj.constant(100.0)
    agrees(f, x, low)
    agrees(f, x, high, traces=2)
    agrees(f, x, low, traces=2)
    branch = next(trace.branch for trace in f._calls.traces if trace.branch is not None)
    assert branch.carried, "the sorted product is not computed again"


def test_parts_on_both_devices(x: fj.Tensor) -> None:
    @fj.function
    def f(c: Any, x: Any) -> Any:
        total = fj.sum(c * 2.0)
        y = c.to("gpu") * x + total
        back = fj.exp(y).to("cpu") + c
        if float(back[0, 0]) > 1e6:
            return back
        return y, back, total, back.to("gpu") - x

    c = x.to("cpu")
    agrees(f, c, x)
    y, back, total, last = f(c, x)
    assert [t.device for t in (y, back, total, last)] == [GPU, "/cpu:0", "/cpu:0", GPU]
    parts = cut(f.graph(c, x)).parts
    assert [part.device for part in parts] == ["/cpu:0", GPU, "/cpu:0", GPU]
    agrees(f, c * 100.0, x, traces=2)
    agrees(f, c, x, traces=2)


def test_state_on_both_devices(x: fj.Tensor) -> None:
    with fj.device("gpu"):
        w = fj.Variable(np.zeros((3, 4), np.float32), name="w")
    count = fj.Variable(0.0, name="count", trainable=False)

    @fj.function
    def step(x: Any) -> Any:
        count.assign_add(1.0)
        w.assign_add(x * count)
        with fj.device("gpu"):
            return w.read() + fj.random.normal((3, 4))

    def run(f: Callable[..., Any]) -> list[Any]:
        fj.random.seed(5)
        w.assign(np.zeros((3, 4), np.float32))
        count.assign(0.0)
        return [f(x).numpy().tobytes() for _ in range(4)] + [float(count), w.numpy().tobytes()]

    assert run(step) == run(step.eager)
    assert step.num_traces == 1 and w.device == GPU


def test_where_a_call_makes_tensors_is_part_of_what_it_reads(x: fj.Tensor) -> None:
    @fj.function
    def f() -> Any:
        return fj.ones(3) * 2.0

    for device in ("cpu", "gpu", "cpu", "gpu"):
        with fj.device(device):
            for _ in range(2):
                assert f().device == f.eager().device
    assert f.num_traces == 2


def test_a_function_takes_arguments_of_either_device(x: fj.Tensor) -> None:
    f = fj.function(lambda x: fj.nn.softmax(x) * 2.0)
    for _ in range(3):
        assert f(x).device == GPU and f(x.to("cpu")).device == "/cpu:0"
    assert f.num_traces == 2
    np.testing.assert_allclose(f(x).numpy(), f(x.to("cpu")).numpy(), rtol=1e-6)


def test_new_sizes_and_numbers(x: fj.Tensor) -> None:
    f = fj.function(lambda x, by: x * by + 1.0)
    for n in (2, 3, 2):
        for by in (0.5, 2.0):
            y = fj.ones((n, n)).to("gpu")
            assert same(f(y, by), f.eager(y, by))
    assert f.num_traces == 2


def test_an_ndarray_argument_is_read_anew(x: fj.Tensor) -> None:
    f = fj.function(lambda a, x: (x + a, fj.asarray(a).to("gpu")))
    a = np.ones((3, 4), np.float32)
    for k in range(3):
        a[...] = k
        found = f(a, x)
        assert same(found, f.eager(a, x))
        kept = found[1].numpy()
        a[...] = -1
        assert (kept == k).all() and (found[1].numpy() == k).all()
    assert f.num_traces == 1


def test_mixed_devices_raise_as_they_do_eagerly(x: fj.Tensor) -> None:
    f = fj.function(lambda x, y: x * 2.0 + y)
    agrees(f, x, x)
    with pytest.raises(fj.DeviceError, match="add: operand 0 is on /gpu:0, operand 1 is on /cpu"):
        f(x, x.to("cpu"))
    agrees(f, x, x)


def test_gradients_of_any_order_through_calls(x: fj.Tensor) -> None:
    f = fj.function(lambda x: fj.sum(fj.tanh(x) * x.to("cpu").to("gpu")))
    g = fj.gradients_function(lambda x: f(x))
    gg = fj.gradients_function(lambda x: fj.sum(g(x)[0] * x))
    plain = fj.gradients_function(lambda x: f.eager(x))
    second = fj.gradients_function(lambda x: fj.sum(plain(x)[0] * x))
    for _ in range(3):
        for found, expected in ((g(x), plain(x)), (gg(x), second(x))):
            assert found[0].device == GPU
            np.testing.assert_allclose(found[0].numpy(), expected[0].numpy(), rtol=1e-5)
    assert f.num_traces == 1


def test_the_pointwise_part_of_an_lstm_cell_is_one_kernel_each_way(gpus: str) -> None:
    @fj.function
    def pointwise(gates: Any, c: Any) -> Any:
        keep, write, show, new = fj.split(gates, 4, axis=1)
        c = fj.sigmoid(keep) * c + fj.sigmoid(write) * fj.tanh(new)
        return fj.sigmoid(show) * fj.tanh(c), c

    rng = np.random.default_rng(0)
    gates, c = (fj.constant(rng.normal(size=(8, n))).to("gpu") for n in (64, 16))
    pointwise(gates, c)
    with fj.GradientTape() as tape:
        tape.watch([gates, c])
        results = pointwise(gates, c)
    gradients = tape.gradient(results, [gates, c])
    assert [g.device for g in gradients] == [GPU, GPU]
    (differentiable,) = pointwise._calls._gradients.values()
    (forward,) = differentiable._forward.values()
    ((backward, _),) = forward.vjp._made.values()
    for program in (forward.program, backward):
        assert len(list(listed(program.walk))) == 1


def test_what_is_explained(x: fj.Tensor) -> None:
    f = fj.function(lambda x, w: fj.nn.softmax(x @ w))
    w = fj.ones((4, 4)).to("gpu")
    page = f.explain(x, w)
    assert "launches, in order\n  /gpu:0  " in page and "x is f32[3,4]" in page
    assert "CUDA C of all kernels" in page.html
    assert "%x: f32[3,4] /gpu:0" in f.ir(x, w)
    assert "__global__" in f.cuda_source(x, w)
    assert f.benchmark(x, w).kernels_after <= 3


def test_cuda_source_needs_no_gpu() -> None:
    program = """
import sys
sys.modules["pycuda"] = None
import fusejit as fj
f = fj.function(lambda x: fj.nn.softmax(fj.tanh(x)))
text = f.cuda_source(fj.ones((8, 16)))
print(text.count("__global__"), "include" in text, f.num_traces)
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "1 False 1\n"


def test_a_process_without_a_gpu_loads_nothing_of_it() -> None:
    program = """
import sys, fusejit as fj
f = fj.function(lambda x: fj.tanh(x) + fj.random.uniform((3,)))
for _ in range(3): f(fj.ones(3))
fj.gradients_function(lambda x: f(x))(fj.ones(3))
print([name for name in sys.modules if "cuda" in name])
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
