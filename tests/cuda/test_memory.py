"""Memory of a device: taken, kept, given back, copied; and what happens when there is none."""

from __future__ import annotations

import gc

import ml_dtypes
import numpy as np
import pytest

from fusejit.backends.cuda import emulation, graphs, memory
from fusejit.backends.cuda.device import Gpu
from fusejit.backends.cuda.emulated import EmulatedDriver
from fusejit.backends.cuda.memory import size_class
from fusejit.errors import DeviceError
from tests.cuda.programs import F32, sum_of_times


def test_size_classes_waste_at_most_an_eighth() -> None:
    for nbytes in [0, 1, 511, 512, 513, 4096, 5000, 10**6, 2**20, 2**20 + 1, 3 * 10**9]:
        size = size_class(nbytes)
        assert nbytes <= size and size % 512 == 0 and size_class(size) == size
        assert size <= max(nbytes * 9 / 8, nbytes + 512)


def test_what_is_free_is_used_again(device: Gpu) -> None:
    first = device.empty(F32, (1000,))
    address = first.address
    del first
    again = device.empty(F32, (1000,))
    assert again.address == address
    use = device.memory_use()
    assert (use.used, use.kept, use.blocks) == (again.buffer.nbytes, 0, 1)


def test_use_and_peak_are_counted(device: Gpu) -> None:
    arrays = [device.empty(F32, (1024,)) for _ in range(3)]
    del arrays[0]
    use = device.memory_use()
    assert (use.used, use.peak, use.kept, use.blocks) == (2 * 4096, 3 * 4096, 4096, 3)
    device.allocator.reset_peak()
    assert device.memory_use().peak == 2 * 4096
    assert device.release_memory() == 4096
    assert device.memory_use().blocks == 2


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3), np.float32),
        np.array(2.5),
        np.array([True, False]),
        np.arange(6).reshape(2, 3).T,
        np.arange(3).astype(ml_dtypes.bfloat16),
        np.array([1 + 2j]),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_arrays_of_every_kind_come_back(device: Gpu, array: np.ndarray) -> None:
    there = device.upload(array)
    back = there.host()
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert (there.nbytes, there.size, there.ndim) == (array.nbytes, array.size, array.ndim)
    assert np.array_equal(back, array)


def test_large_arrays_are_copied_in_pieces(device: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CHUNK", 1000)
    array = np.arange(12345, dtype=np.float32)
    there = device.upload(array)
    assert (there.host() == array).all()


def test_what_was_uploaded_may_be_changed_at_once(device: Gpu) -> None:
    array = np.ones(1000, np.float32)
    there = [device.upload(array) for _ in range(2 * memory._DEPTH)]
    array[:] = 2
    assert all((each.host() == 1).all() for each in there)


# ---- not enough


@pytest.fixture
def small() -> Gpu:
    """An emulated device with one megabyte."""
    reason = emulation.why_not()
    if reason is not None:
        pytest.skip(reason)
    return Gpu(0, EmulatedDriver(0, capacity=1 << 20))


def test_what_is_kept_makes_room(small: Gpu) -> None:
    del [small.empty(F32, (100_000,))][0]
    held = small.empty(F32, (150_000,))
    assert small.memory_use().blocks == 1
    assert held.nbytes == 600_000


def test_what_only_a_cycle_holds_makes_room(small: Gpu) -> None:
    gc.disable()
    try:
        cycle: list[object] = [small.empty(F32, (200_000,))]
        cycle.append(cycle)
        del cycle
        small.empty(F32, (150_000,))
    finally:
        gc.enable()


def test_the_memory_of_graphs_makes_room(small: Gpu) -> None:
    loaded, x = small.load(sum_of_times(30, n=20_000)), small.upload(np.ones(20_000, np.float32))
    for _ in range(graphs.RUNS + 2):
        result = loaded.run([x])
    assert loaded._graph is not None and loaded._graph.captured
    large = small.empty(F32, (150_000,))
    assert not loaded._graph.captured and large.nbytes == 600_000
    del large
    for each in (result, loaded.run([x])):
        assert isinstance(each, list) and (each[0].host() == 31).all()


def test_out_of_memory_says_what_is_used_and_changes_nothing(small: Gpu) -> None:
    held = small.upload(np.arange(100_000, dtype=np.float32))
    with pytest.raises(DeviceError, match=r"/gpu:0: out of memory: an array needs 1\.1 MiB; of 1"):
        small.empty(F32, (300_000,))
    assert (held.host() == np.arange(100_000)).all()
    assert small.empty(F32, (1000,)).nbytes == 4000


def test_a_run_without_memory_launches_nothing(small: Gpu) -> None:
    loaded = small.load(sum_of_times(3, n=50_000))
    x = small.upload(np.ones(50_000, np.float32))
    held = [small.empty(F32, (50_000,)) for _ in range(3)]
    with pytest.raises(DeviceError, match="out of memory"):
        loaded.run([x])
    del held
    result = loaded.run([x])
    assert isinstance(result, list) and (result[0].host() == 4).all()
