"""fusejit on the GPU: `eager` or `fused`; FUSEJIT_GPU=emulated runs it without one."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.backends.cuda.device import gpu
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


if __name__ == "__main__":
    function_of = fused if sys.argv[1] == "fused" else eager
    serve(
        Device(
            Peer(function_of, own, lambda x: x.numpy(), kept=variable),
            wait=lambda: gpu(0).synchronize(),
            copy=copy,
            peak=lambda: gpu(0).memory_use().peak,
        )
    )
