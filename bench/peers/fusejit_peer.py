"""fusejit: `eager`, or `fused` by @fj.function."""

from __future__ import annotations

import sys
from typing import Any

import fusejit as fj
from cases import LEARNING_RATE, PARAMETERS, Case, Function, loss, operands, program
from protocol import Call, serve

FUSED = sys.argv[1] == "fused"


def function_of(case: Case) -> Function:
    run = program(case.program, fj.nn.sigmoid, fj.tanh)
    if case.mode == "forward":
        return run
    if case.mode == "gradient":
        return fj.gradients_function(loss(run))
    gradients = fj.gradients_function(loss(run), params=list(range(PARAMETERS)))

    def step(*inputs: Any) -> Any:
        found = gradients(*inputs)
        return [p - LEARNING_RATE * g for p, g in zip(inputs, found, strict=False)]

    return step


def prepare(case: Case) -> Call:
    tensors = [fj.asarray(array) for array in operands(case)]
    function = fj.function(function_of(case)) if FUSED else function_of(case)
    return lambda: function(*tensors)


serve(prepare)
