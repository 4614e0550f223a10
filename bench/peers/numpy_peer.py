"""NumPy, as one would write it. It has no gradients, and no erf."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from cases import Case
from programs import EPSILON, FIRST, RATE, SECOND, Function, Unable, make
from protocol import Peer, serve

tanh = np.tanh
sqrt = np.sqrt


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softmax(x: Any) -> Any:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def layer_norm(x: Any, gain: Any, shift: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain + shift


def cross_entropy(logits: Any, labels: Any) -> Any:
    shifted = logits - logits.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -(labels * logs).sum(-1).mean()


def adam_in_place(p: Any, m: Any, v: Any, g: Any, step: Any) -> tuple[Any, ...]:
    """NumPy's user updates parameters where they lie."""
    step += 1
    m *= FIRST
    m += (1 - FIRST) * g
    v *= SECOND
    v += (1 - SECOND) * g * g
    root = np.sqrt(v)
    root /= np.sqrt(1 - SECOND**step)
    root += EPSILON
    p -= RATE / (1 - FIRST**step) * m / root
    return p, m, v, step


def function_of(case: Case) -> Function:
    if case.mode in ("gradient", "step"):
        raise Unable("NumPy has no gradients")
    return adam_in_place if case.mode == "update" else make(case.program, sys.modules[__name__])


if __name__ == "__main__":
    serve(Peer(function_of, own=lambda array: array, array=np.asarray))
