"""CuPy: elementwise programs by cupy.fuse, others op by op. It has no gradients."""

from __future__ import annotations

import sys
from typing import Any

import cupy

from cases import Case
from gpu_protocol import Device, serve
from programs import Function, Unable, make
from protocol import Peer

ELEMENTWISE = ("gates", "chain", "adam")

tanh = cupy.tanh
sqrt = cupy.sqrt


def sigmoid(x: Any) -> Any:
    return 1 / (1 + cupy.exp(-x))


def softmax(x: Any) -> Any:
    powers = cupy.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def layer_norm(x: Any, gain: Any, shift: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return centred / cupy.sqrt(variance + 1e-5) * gain + shift


def cross_entropy(logits: Any, labels: Any) -> Any:
    shifted = logits - logits.max(-1, keepdims=True)
    logs = shifted - cupy.log(cupy.exp(shifted).sum(-1, keepdims=True))
    return -(labels * logs).sum(-1).mean()


def function_of(case: Case) -> Function:
    if case.mode in ("gradient", "step"):
        raise Unable("CuPy has no gradients")
    run = make(case.program, sys.modules[__name__])
    return cupy.fuse()(run) if case.program in ELEMENTWISE else run


if __name__ == "__main__":
    wait = cupy.cuda.get_current_stream().synchronize
    serve(Device(Peer(function_of, cupy.asarray, cupy.asnumpy), wait))
