"""fusejit: `eager`, or `fused` by @fj.function. What an optimizer updates are Variables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import fusejit as fj
from cases import Case
from programs import LEARNING_RATE, Function, loss_of, make, spelled_out
from protocol import Peer, replaced_by, serve

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
    if case.mode == "update":
        return updating(run, replaced_by(case))
    if case.mode != "step":
        return run
    gradients = fj.value_and_gradients_function(run, params=parameters)

    def step(*inputs: Any) -> Any:
        loss, found = gradients(*inputs)
        for at, gradient in zip(parameters, found, strict=True):
            inputs[at].assign_sub(LEARNING_RATE * gradient)
        return (*(inputs[at] for at in parameters), loss)

    return step


def updating(run: Function, replaced: Sequence[int]) -> Function:
    """`run`, which assigns its results to some of its operands and returns those."""

    def update(*inputs: Any) -> Any:
        for at, value in zip(replaced, run(*inputs), strict=True):
            inputs[at].assign(value)
        return tuple(inputs[at] for at in replaced)

    return update


def fused(case: Case) -> Function:
    function = eager(case)
    if case.mode != "forward":
        function = spelled_out(function, len(case.shape.inputs(*case.size)))
    return fj.function(function)


def peer(function_of: Callable[[Case], Function]) -> Peer:
    return Peer(function_of, fj.asarray, lambda x: x.numpy(), kept=fj.Variable)


if __name__ == "__main__":
    serve(peer(fused if sys.argv[1] == "fused" else eager))
