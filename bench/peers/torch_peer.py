"""PyTorch on the CPU: `eager`, or `compile` by torch.compile."""

from __future__ import annotations

import sys
from typing import Any

import torch

from cases import LEARNING_RATE, PARAMETERS, Case, Function, loss, operands, program
from protocol import Call, serve

COMPILED = sys.argv[1] == "compile"


def function_of(case: Case) -> Function:
    run = program(case.program, torch.sigmoid, torch.tanh)
    if case.mode == "forward":
        return run
    total = torch.compile(loss(run)) if COMPILED else loss(run)

    def gradients(*inputs: Any) -> Any:
        return torch.autograd.grad(total(*inputs), [x for x in inputs if x.requires_grad])

    def step(*inputs: Any) -> Any:
        found = gradients(*inputs)
        with torch.no_grad():
            return [p - LEARNING_RATE * g for p, g in zip(inputs, found, strict=False)]

    return gradients if case.mode == "gradient" else step


def prepare(case: Case) -> Call:
    arrays = operands(case)
    watched = {"forward": 0, "gradient": len(arrays), "step": PARAMETERS}[case.mode]
    tensors = [torch.tensor(a, requires_grad=i < watched) for i, a in enumerate(arrays)]
    function = function_of(case)
    if COMPILED and case.mode == "forward":
        function = torch.compile(function)
    return lambda: function(*tensors)


serve(prepare)
