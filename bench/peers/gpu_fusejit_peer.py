"""fusejit on the GPU: `eager` or `fused`; FUSEJIT_GPU=emulated runs it without one."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.backends.cuda import graphs
from fusejit.backends.cuda.device import gpu
from fusejit.backends.cuda.program import Launch, Program, Source
from fusejit.backends.plan import Operand, Role, Slot
from fusejit_peer import eager, fused
from gpu_protocol import Device, serve
from protocol import Call, Peer


def own(array: Any) -> Any:
    return fj.asarray(array).to("gpu")


def variable(array: Any) -> Any:
    with fj.device("gpu"):
        return fj.Variable(array)


def copy(nbytes: int) -> Call:
    device = gpu(0)
    source, target = (device.empty(np.dtype(np.float32), (nbytes // 4,)) for _ in range(2))

    def call() -> None:
        with device:
            device.driver.copy(target.address, source.address, nbytes, device.stream)

    return call


NOTHING = Source(
    "nothing",
    "struct Params { const void* x; void* y; };\n"
    'extern "C" __global__ void nothing(const Params p) {}\n',
)


def launches(number: int) -> Call:
    """Each a launch of its own, none a part of a graph."""
    kind = np.dtype(np.float32)
    slots = (Slot(Role.INPUT, kind, (1,)), Slot(Role.OUTPUT, kind, (1,)))
    launch = Launch(NOTHING, (1, 1, 1), (32, 1, 1), 0, (Operand(0), Operand(1)), b"")
    graphs.RUNS = 10**9
    loaded = gpu(0).load(Program("launches", slots, (launch,) * number, (0,), (1,), 0))
    x = gpu(0).upload(np.zeros(1, np.float32))
    return lambda: loaded.run([x])


if __name__ == "__main__":
    function_of = fused if sys.argv[1] == "fused" else eager
    serve(
        Device(
            Peer(function_of, own, lambda x: x.numpy(), kept=variable),
            wait=lambda: gpu(0).synchronize(),
            copy=copy,
            peak=lambda: gpu(0).memory_use().peak,
            launches=launches,
        )
    )
