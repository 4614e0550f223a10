"""JAX, under jit, on the CPU."""

from __future__ import annotations

import os
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp

from cases import LEARNING_RATE, PARAMETERS, Case, Function, loss, operands, program
from protocol import Call, serve


def function_of(case: Case) -> Function:
    run = program(case.program, jax.nn.sigmoid, jnp.tanh)
    if case.mode == "forward":
        return run
    if case.mode == "gradient":
        return jax.grad(loss(run), argnums=tuple(range(len(operands(case)))))
    gradients = jax.grad(loss(run), argnums=tuple(range(PARAMETERS)))

    def step(*inputs: Any) -> Any:
        found = gradients(*inputs)
        return [p - LEARNING_RATE * g for p, g in zip(inputs, found, strict=False)]

    return step


def prepare(case: Case) -> Call:
    arrays = [jnp.asarray(array) for array in operands(case)]
    function = jax.jit(function_of(case))
    return lambda: jax.block_until_ready(function(*arrays))


serve(prepare)
