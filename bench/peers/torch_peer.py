"""PyTorch on the CPU: `eager` or `compile` (torch.compile), and how many threads."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.nn import functional
from torch.optim.adam import adam as update_all

from cases import Case
from programs import EPSILON, FIRST, LEARNING_RATE, RATE, SECOND, Function, loss_of, make
from protocol import Peer, serve

COMPILED = sys.argv[1] == "compile"
torch.set_num_threads(int(sys.argv[2]))

sigmoid = torch.sigmoid
tanh = torch.tanh
relu = torch.relu
gelu = functional.gelu
cross_entropy = functional.cross_entropy


def softmax(x: Any) -> Any:
    return torch.softmax(x, -1)


def layer_norm(x: Any, gain: Any, shift: Any) -> Any:
    return functional.layer_norm(x, x.shape[-1:], gain, shift)


def maybe_compiled(function: Function) -> Function:
    return torch.compile(function) if COMPILED else function


def adam(p: Any, m: Any, v: Any, g: Any, step: Any) -> tuple[Any, ...]:
    """torch.optim's own, in its fastest form, which updates in place."""
    update_all(
        [p],
        [g],
        [m],
        [v],
        [],
        [step],
        fused=True,
        amsgrad=False,
        beta1=FIRST,
        beta2=SECOND,
        lr=RATE,
        weight_decay=0.0,
        eps=EPSILON,
        maximize=False,
    )
    return p, m, v, step


def function_of(case: Case) -> Function:
    if case.mode == "update":
        return maybe_compiled(adam)
    run = make(case.program, sys.modules[__name__])
    if case.mode == "forward":
        return maybe_compiled(run)
    watched = case.shape.parameters
    loss_function = maybe_compiled(loss_of(run) if case.mode == "gradient" else run)

    def gradients(*inputs: Any) -> Any:
        return torch.autograd.grad(loss_function(*inputs), [inputs[at] for at in watched])

    def step(*inputs: Any) -> Any:
        parameters = [inputs[at] for at in watched]
        loss = loss_function(*inputs)
        found = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.sub_(gradient, alpha=LEARNING_RATE)
        return *parameters, loss

    return gradients if case.mode == "gradient" else step


def watched(array: Any) -> Any:
    return torch.tensor(array, requires_grad=True)


if __name__ == "__main__":
    serve(Peer(function_of, torch.tensor, lambda tensor: tensor.detach().numpy(), watched))
