"""Programs on a device: what a run computes, that it is asynchronous, and that nothing meets."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest

from fusejit.backends.cuda import graphs
from fusejit.backends.cuda.array import spec_of
from fusejit.backends.cuda.device import Gpu
from fusejit.backends.cuda.runtime import Loaded, Stopped
from fusejit.backends.held import Held
from fusejit.backends.plan import Role
from fusejit.errors import DeviceError
from tests.cuda.programs import ADD, BEYOND, F32, NOTHING, TWICE, Building, N, sum_of_times

X = np.arange(N, dtype=np.float32)


def run(loaded: Loaded, *arrays: np.ndarray) -> list[np.ndarray]:
    """Upload, run, read."""
    found = loaded.run([loaded.gpu.upload(array) for array in arrays])
    assert isinstance(found, list)
    return [each.host() for each in found]


def test_launches_run_in_order(device: Gpu) -> None:
    assert (run(device.load(sum_of_times(5)), X)[0] == 6 * X).all()


def test_results_are_fresh(device: Gpu) -> None:
    loaded = device.load(sum_of_times(2))
    inputs = [device.upload(X + i) for i in range(8)]
    results = [loaded.run([x])[0] for x in inputs]  # before any of them is waited for
    for i, result in enumerate(results):
        assert (result.host() == 3 * (X + i)).all()


def test_a_dropped_result_makes_room_for_the_next(device: Gpu) -> None:
    loaded, x = device.load(sum_of_times(3)), device.upload(X)
    for _ in range(20):
        loaded.run([x])
    assert device.memory_use().blocks <= 4


def test_inputs_of_another_kind_are_refused(device: Gpu) -> None:
    loaded = device.load(sum_of_times(1))
    with pytest.raises(TypeError, match="expected 1 inputs, got 0"):
        loaded.run([])
    with pytest.raises(TypeError, match=r"input 0: expected float32\[1000\] on /gpu:0, got int32"):
        loaded.run([device.upload(X.astype(np.int32))])


def test_specs_of_one_kind_are_one_object(device: Gpu) -> None:
    one, other = device.upload(X), device.empty(F32, (N,))
    assert one.spec is other.spec is spec_of("/gpu:0", F32, (N,))
    shaped = one.reshaped((10, 100))
    assert shaped.shape == (10, 100) and shaped.buffer is one.buffer
    assert (shaped.host() == X.reshape(10, 100)).all()
    with pytest.raises(ValueError, match="cannot have the shape"):
        one.reshaped((3,))
    with pytest.raises(TypeError):
        np.asarray(one, np.float32)


def test_constants_belong_to_the_program(device: Gpu) -> None:
    made = Building()
    x, out = made.slot(Role.INPUT), made.slot(Role.OUTPUT)
    constant = made.slot(Role.CONSTANT, value=np.full(N, 7, np.float32))
    made.launch(ADD, x, constant, out)
    assert (run(device.load(made.program()), X)[0] == X + 7).all()


# ---- commands that look at values


def checked() -> Building:
    """twice x -> t; check that t begins with 2 * x[1]; t + x -> out."""
    made = Building()
    x, out = made.slot(Role.INPUT), made.slot(Role.OUTPUT)
    t = made.slot(Role.TEMPORARY)
    made.launch(TWICE, x, x, t)
    made.check(t, np.float32(2).tobytes(), offset=4)
    made.launch(ADD, t, x, out)
    return made


def test_a_check_that_holds_goes_on(device: Gpu) -> None:
    assert (run(device.load(checked().program()), X)[0] == 3 * X).all()


def test_a_check_that_does_not_hold_stops(device: Gpu) -> None:
    loaded = device.load(checked().program())
    stopped = loaded.run([device.upload(X + 1)])
    assert isinstance(stopped, Stopped)
    assert (stopped.command, stopped.seen) == (1, np.float32(4).tobytes())
    loaded.run([device.upload(X)])  # takes other memory than what the first still holds
    held = stopped.array(Held(2, 8), F32, (N - 2,))
    assert (held.host() == 2 * (X + 1)[2:]).all()
    del stopped
    assert (held.host() == 2 * (X + 1)[2:]).all()


def test_numpy_runs_what_has_no_kernel(device: Gpu) -> None:
    made = Building()
    x, out = made.slot(Role.INPUT), made.slot(Role.OUTPUT)
    t, order = made.slot(Role.TEMPORARY), made.slot(Role.TEMPORARY, dtype=np.dtype(np.int64))
    flipped = made.slot(Role.TEMPORARY)

    def flip(a: np.ndarray, to: np.ndarray, indices: np.ndarray) -> None:
        assert not a.flags.writeable
        to[:] = a[::-1]
        indices[:] = np.argsort(a)

    made.launch(TWICE, x, x, t)
    made.host(flip, t, flipped, order)
    made.launch(ADD, flipped, x, out)
    assert (run(device.load(made.program()), X)[0] == 2 * X[::-1] + X).all()


def test_an_exception_of_a_python_step_reaches_the_caller(device: Gpu) -> None:
    made = Building()
    x, out = made.slot(Role.INPUT), made.slot(Role.OUTPUT)

    def refuse(a: np.ndarray, to: np.ndarray) -> None:
        raise ZeroDivisionError("no")

    made.host(refuse, x, out)
    loaded = device.load(made.program())
    with pytest.raises(ZeroDivisionError, match="no"):
        loaded.run([device.upload(X)])
    assert (run(device.load(sum_of_times(1)), X)[0] == 2 * X).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("batch", [1, 3])
def test_products(
    device: Gpu, rng: np.random.Generator, dtype: str, transposed: tuple[bool, bool], batch: int
) -> None:
    if device.blas is None:
        pytest.skip("nvidia-cublas is not installed")
    m, n, k = 5, 7, 4
    a, b = rng.normal(size=(batch, m, k)), rng.normal(size=(batch, k, n))
    stored = [
        np.ascontiguousarray(x.swapaxes(1, 2) if flip else x).astype(dtype)
        for x, flip in zip((a, b), transposed, strict=True)
    ]
    pairs = zip(stored, transposed, strict=True)
    strides = [(1, x.shape[2]) if flip else (x.shape[2], 1) for x, flip in pairs]
    made = Building()
    slots = [made.slot(Role.INPUT, x.shape, np.dtype(dtype)) for x in stored]
    out = made.slot(Role.OUTPUT, (batch, m, n), np.dtype(dtype))
    meta = (batch, m, n, k, m * k, *strides[0], k * n, *strides[1], m * n, n, 1)
    made.multiply(*slots, out, meta)
    found = run(device.load(made.program()), *stored)[0]
    np.testing.assert_allclose(found, a @ b, rtol=1e-5)


@pytest.mark.parametrize("sizes", [(1, 5, 3), (5, 1, 3), (1, 1, 4), (4, 6, 1), (3, 2, 0)])
def test_products_of_few_rows_or_columns(device: Gpu, sizes: tuple[int, int, int]) -> None:
    if device.blas is None:
        pytest.skip("nvidia-cublas is not installed")
    m, n, k = sizes
    a, b = np.ones((m, k), np.float32), np.full((k, n), 2, np.float32)
    made = Building()
    slots = [made.slot(Role.INPUT, x.shape) for x in (a, b)]
    out = made.slot(Role.OUTPUT, (m, n))
    made.multiply(*slots, out, (1, m, n, k, m * k, max(k, 1), 1, k * n, n, 1, m * n, n, 1))
    assert (run(device.load(made.program()), a, b)[0] == 2 * k).all()


# ---- graphs


def test_a_graph_replays_with_fresh_inputs_and_outputs(device: Gpu) -> None:
    loaded = device.load(sum_of_times(20))
    results = [(i, loaded.run([device.upload(X + i)])[0]) for i in range(graphs.RUNS + 5)]
    assert loaded._graph is not None and loaded._graph.captured
    for i, result in results:
        assert (result.host() == 21 * (X + i)).all()


def test_a_graph_holds_products(device: Gpu) -> None:
    if device.blas is None:
        pytest.skip("nvidia-cublas is not installed")
    made = Building()
    x, out = made.slot(Role.INPUT, (8, 8)), made.slot(Role.OUTPUT, (8, 8))
    turns = [made.slot(Role.TEMPORARY, (8, 8)) for _ in range(2)]
    before = x
    for i in range(10):
        after = out if i == 9 else turns[i % 2]
        made.multiply(before, x, after, (1, 8, 8, 8, 64, 8, 1, 64, 8, 1, 64, 8, 1))
        before = after
    loaded = device.load(made.program())
    matrix = np.eye(8, k=1, dtype=np.float32) + np.eye(8, dtype=np.float32)
    wanted = np.linalg.matrix_power(matrix.astype(int), 11)
    for _ in range(graphs.RUNS + 2):
        assert (run(loaded, matrix)[0] == wanted).all()
    assert loaded._graph is not None and loaded._graph.captured


def test_programs_that_look_at_values_are_walked(device: Gpu) -> None:
    loaded = device.load(checked().program())
    for _ in range(graphs.RUNS + 2):
        assert (run(loaded, X)[0] == 3 * X).all()
    assert loaded._graph is None


def test_without_memory_for_a_graph_the_program_is_walked(
    device: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise DeviceError("no")

    monkeypatch.setattr(graphs, "_Captured", refuse)
    loaded = device.load(sum_of_times(20))
    for _ in range(graphs.RUNS + 3):
        assert (run(loaded, X)[0] == 21 * X).all()


# ---- threads and errors


def test_threads_share_a_program(device: Gpu) -> None:
    loaded = device.load(sum_of_times(12))
    wrong: list[int] = []

    def work(number: int) -> None:
        for i in range(10):
            if not (run(loaded, X + number + i)[0] == 13 * (X + number + i)).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_load_a_kernel_once(device: Gpu) -> None:
    ready, found = threading.Barrier(4), []

    def work() -> None:
        ready.wait()
        found.append(device.functions([ADD])[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(map(id, found))) == 1


def test_a_write_beyond_a_block_is_an_error_that_names_the_kernel(
    device: Gpu, request: pytest.FixtureRequest
) -> None:
    if "[gpu]" in request.node.name:
        pytest.skip("a real device does not notice")
    made = Building()
    x, out = made.slot(Role.INPUT, (1024,)), made.slot(Role.OUTPUT, (1024,))
    made.launch(BEYOND, x, x, out, 1024)
    with pytest.raises(DeviceError, match=r"/gpu:0: .*beyond.* beyond a block"):
        run(device.load(made.program()), np.zeros(1024, np.float32))


def test_parameters_of_another_size_are_an_error(device: Gpu) -> None:
    made = Building()
    x, out = made.slot(Role.INPUT), made.slot(Role.OUTPUT)
    made.launch(ADD, x, x, out)
    launch = made.commands[0]
    object.__setattr__(launch, "constants", bytes(16))
    with pytest.raises(DeviceError):
        run(device.load(made.program()), X)


A_LAUNCH = 4
"""Calls that the emulator makes for one; PyCUDA makes its own, which nobody hears."""


def test_a_launch_is_one_call(device: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the launch itself: all else is done once a run. bench/gpu.py measures what it takes."""
    monkeypatch.setattr(graphs, "RUNS", 10**9)

    def calls(launches: int) -> int:
        loaded = device.load(sum_of_times(launches, NOTHING))
        inputs = [device.upload(X) for _ in range(2)]
        loaded.run(inputs[:1])
        count = 0

        def heard(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(heard)
        try:
            loaded.run(inputs[1:])  # its parameters change
        finally:
            sys.setprofile(None)
        return count

    assert calls(60) - calls(10) <= 50 * A_LAUNCH

