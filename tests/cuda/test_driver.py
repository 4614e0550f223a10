"""What drivers promise: nothing runs before somebody waits; contexts, errors, the end."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fusejit.backends.cuda import emulated, emulation
from fusejit.backends.cuda.device import Gpu
from fusejit.backends.cuda.emulated import EmulatedDriver
from fusejit.config import config
from fusejit.errors import DeviceError
from tests.cuda import devices
from tests.cuda.fake_driver import build
from tests.cuda.programs import ADD, F32, N, sum_of_times

X = np.arange(N, dtype=np.float32)


@pytest.fixture(params=["emulated", "fake"])
def late(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    """A device on which everything happens as late as it may."""
    made = devices.make(request.param)
    yield made
    made.close()


class _Impatient:
    """An event that nobody waits for."""

    def __init__(self, event: Any) -> None:
        self.record = event.record

    def synchronize(self) -> None:
        pass


def test_a_forgotten_wait_is_noticed(late: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = late.load(sum_of_times(2))
    assert (loaded.run([late.upload(X)])[0].host() == 3 * X).all()
    event = late.driver.event
    monkeypatch.setattr(late.driver, "event", lambda: _Impatient(event()))
    late._staging._blocks.clear()
    result = loaded.run([late.upload(X)])[0].host()
    assert not (result == 3 * X).any()


def test_pinned_memory_used_too_early_is_noticed(
    late: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = late.driver.event
    with monkeypatch.context() as patch:
        patch.setattr(late.driver, "event", lambda: _Impatient(event()))
        there = [late.upload(np.full(10, i, np.float32)) for i in range(20)]
    late.synchronize()
    late._staging._blocks.clear()
    assert [each.host()[0] for each in there] != list(range(20))


def test_nothing_has_run_before_somebody_waits(late: Gpu) -> None:
    loaded, x = late.load(sum_of_times(1)), late.upload(X)
    result = loaded.run([x])[0]
    target = late.driver.pinned(4 * N) if late.driver.enter() is None else None
    late.driver.download(target, result.address, late.stream)
    assert not np.array_equal(target.view(np.float32), 2 * X)
    late.driver.leave()
    late.synchronize()
    assert np.array_equal(target.view(np.float32), 2 * X)


def test_a_stream_does_not_grow_without_end(late: Gpu) -> None:
    loaded, x = late.load(sum_of_times(1)), late.upload(X)
    for _ in range(3000):
        result = loaded.run([x])[0]
    if isinstance(late.stream, emulated.EmulatedStream):
        assert late.stream.given - late.stream.done == emulated._PENDING
    assert (result.host() == 2 * X).all()


def test_events_tell_how_long(device: Gpu) -> None:
    with device:
        first, last = device.driver.event(), device.driver.event()
        first.record(device.stream)
        device.load(sum_of_times(3)).run([device.upload(X)])
        last.record(device.stream)
        last.synchronize()
        assert 0 <= last.time_since(first) < 10_000


# ---- the emulator's own rules


@pytest.fixture
def driver() -> Iterator[EmulatedDriver]:
    if emulation.why_not() is not None:
        pytest.skip(emulation.why_not())
    made = EmulatedDriver(0)
    made.enter()
    yield made
    made.leave()


def test_the_device_must_be_current(driver: EmulatedDriver) -> None:
    seen: list[BaseException] = []

    def use() -> None:
        try:
            driver.allocate(10)
        except emulated.EmulatorError as error:
            seen.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "not current on this thread" in str(seen[0])


def test_copies_go_through_pinned_memory(driver: EmulatedDriver) -> None:
    address, stream = driver.allocate(100), driver.stream()
    with pytest.raises(emulated.EmulatorError, match="not pinned"):
        driver.upload(address, np.zeros(100, np.uint8), stream)
    pinned = driver.pinned(100)
    with pytest.raises(emulated.EmulatorError, match=r"101 bytes at 0x.* are not on the device"):
        driver.copy(address, address, 101, stream)
    with pytest.raises(emulated.EmulatorError, match="not on the device"):
        driver.download(pinned, 12345, stream)


def test_a_captured_stream_cannot_be_waited_for(driver: EmulatedDriver) -> None:
    with pytest.raises(emulated.EmulatorError, match="captured"):
        driver.capture(lambda stream: stream.synchronize())


def test_memory_that_is_used_again_holds_nothing(driver: EmulatedDriver) -> None:
    gpu = Gpu(0, driver)
    first = gpu.upload(np.ones(100, np.float32))
    address = first.address
    del first
    again = gpu.empty(F32, (100,))
    assert again.address == address
    assert np.isnan(again.host()).all()


# ---- PyCUDA


@pytest.fixture(params=["fake", pytest.param("gpu", marks=pytest.mark.gpu)])
def pycuda_device(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    made = devices.make(request.param)
    yield made
    made.close()


def test_the_callers_context_is_put_back(pycuda_device: Gpu) -> None:
    import pycuda.driver as cuda

    if cuda.Device.count() < 2:
        pytest.skip("there is one device")
    assert not _current()
    others = cuda.Device(1).retain_primary_context()
    others.push()
    try:
        assert _current() == others.handle
        pycuda_device.load(sum_of_times(2)).run([pycuda_device.upload(X)])[0].host()
        assert _current() == others.handle
    finally:
        others.pop()
        assert not _current()
        others.detach()
        ctypes.CDLL("libcuda.so.1").cuCtxPopCurrent_v2(None)  # see PyCudaDriver.close


def test_a_context_that_pycuda_does_not_know_is_put_back(pycuda_device: Gpu) -> None:
    import pycuda.driver as cuda

    if cuda.Device.count() < 2:
        pytest.skip("there is one device")
    library, theirs = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
    assert library.cuDevicePrimaryCtxRetain(ctypes.byref(theirs), 1) == 0
    assert library.cuCtxPushCurrent_v2(theirs) == 0
    pycuda_device.upload(X).host()
    assert _current() == theirs.value
    assert library.cuCtxPopCurrent_v2(ctypes.byref(theirs)) == 0
    assert library.cuDevicePrimaryCtxRelease_v2(1) == 0


def test_each_thread_has_its_own_context(pycuda_device: Gpu) -> None:
    found: list[Any] = []

    def work() -> None:
        found.append((pycuda_device.upload(X).host(), _current()))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all((array == X).all() and not context for array, context in found)


def test_what_the_driver_refuses_is_a_device_error(pycuda_device: Gpu) -> None:
    function = pycuda_device.functions([ADD])[0]
    with pytest.raises(DeviceError, match=r"device /gpu:0: cuLaunchKernel failed"), pycuda_device:
        function.launch((1, 1, 1), (2048, 1, 1), bytes(32), 0, pycuda_device.stream)


def _current() -> int | None:
    context = ctypes.c_void_p()
    ctypes.CDLL("libcuda.so.1").cuCtxGetCurrent(ctypes.byref(context))
    return context.value


_PROGRAM = """
import numpy as np
from tests.cuda import devices
from tests.cuda.programs import N, sum_of_times
from fusejit.backends.cuda import device

device._driver = lambda setting, ordinal: devices.driver({kind!r}, ordinal)
gpu = device.gpu(0)
loaded, x = gpu.load(sum_of_times(20)), gpu.upload(np.ones(N, np.float32))
results = [loaded.run([x]) for _ in range(6)]
assert results[-1][0].host()[0] == 21
"""


@pytest.mark.parametrize("kind", devices.KINDS)
def test_a_process_ends_well(kind: str) -> None:
    devices.require(kind)
    command = [sys.executable, "-W", "error", "-c", _PROGRAM.format(kind=kind)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "."}
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


_BESIDE = """
import numpy as np
import {other}
from fusejit.backends.cuda.device import gpu
from tests.cuda.programs import N, sum_of_times

theirs = {make}
loaded, x = gpu(0).load(sum_of_times(20)), gpu(0).upload(np.ones(N, np.float32))
for _ in range(6):
    theirs = theirs + 1
    assert loaded.run([x])[0].host()[0] == 21
assert float(theirs.sum()) == 6000
"""


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("other", "make"),
    [("torch", "torch.zeros(1000, device='cuda')"), ("cupy", "cupy.zeros(1000)")],
)
def test_other_libraries_use_the_device_too(other: str, make: str) -> None:
    devices.require("gpu")
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    command = [sys.executable, "-c", _BESIDE.format(other=other, make=make)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "."}
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# ---- which device there is


def test_missing_devices_say_what_is_missing() -> None:
    from fusejit.backends.cuda.device import gpu

    with config.override(gpu="emulated"):
        if emulation.why_not() is None:
            with pytest.raises(DeviceError, match="/gpu:7: there are 2 emulated devices"):
                gpu(7)
            assert gpu(1) is gpu(1) and gpu(1).name == "/gpu:1"


def test_without_pycuda_or_a_driver_the_error_says_so() -> None:
    program = (
        "from fusejit.backends.cuda.device import gpu\n"
        "from fusejit.errors import DeviceError\n"
        "try:\n gpu(0)\nexcept DeviceError as error:\n print(error)"
    )
    if devices._has_driver() and build.headers() is None:
        pytest.skip("there is one")
    environment = {key: value for key, value in os.environ.items() if key != "FUSEJIT_GPU"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert "PyCUDA is not installed" in done.stdout or "no CUDA driver" in done.stdout


def test_importing_the_backend_starts_nothing() -> None:
    program = (
        "import sys, fusejit.backends.cuda.device\n"
        "sys.exit(any(name.split('.')[0] in ('pycuda', 'cuda') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
