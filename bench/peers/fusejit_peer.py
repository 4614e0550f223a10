"""fusejit: `eager`, or `fused` by @fj.function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import fusejit as fj
from cases import Case
from programs import LEARNING_RATE, Function, loss_of, make, spelled_out
from protocol import Peer, serve

sigmoid = fj.sigmoid
tanh = fj.tanh
sqrt = fj.sqrt
relu = fj.nn.relu
gelu = fj.nn.gelu
softmax = fj.nn.softmax


def layer_norm(x: Any, gain: Any, shift: Any) -> Any:
    centred = x - fj.mean(x, -1, keepdims=True)
    variance = fj.mean(centred * centred, -1, keepdims=True)
    return centred / fj.sqrt(variance + 1e-5) * gain + shift


def cross_entropy(logits: Any, labels: Any) -> Any:
    losses = fj.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return fj.mean(losses)


def eager(case: Case) -> Function:
    run = make(case.program, sys.modules[__name__])
    parameters = list(case.shape.parameters)
    if case.mode == "gradient":
        return fj.gradients_function(loss_of(run), params=parameters)
    if case.mode != "step":
        return run
    gradients = fj.value_and_gradients_function(run, params=parameters)

    def step(*inputs: Any) -> Any:
        loss, found = gradients(*inputs)
        updates = zip(parameters, found, strict=True)
        return (*(inputs[at] - LEARNING_RATE * g for at, g in updates), loss)

    return step


def fused(case: Case) -> Function:
    function = eager(case)
    if case.mode in ("gradient", "step"):
        function = spelled_out(function, len(case.shape.inputs(*case.size)))
    return fj.function(function)


def peer(function_of: Callable[[Case], Function]) -> Peer:
    return Peer(function_of, lambda array, watched: fj.asarray(array), lambda x: x.numpy())


if __name__ == "__main__":
    serve(peer(fused if sys.argv[1] == "fused" else eager))
