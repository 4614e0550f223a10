"""JAX, under jit, on the CPU; what a step replaces is donated."""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np

from cases import Case
from programs import LEARNING_RATE, Function, loss_of, make
from protocol import Peer, replaced_by, serve

sigmoid = jax.nn.sigmoid
tanh = jnp.tanh
sqrt = jnp.sqrt
relu = jax.nn.relu
softmax = jax.nn.softmax


def gelu(x: Any) -> Any:
    return jax.nn.gelu(x, approximate=False)


def layer_norm(x: Any, gain: Any, shift: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5) * gain + shift


def cross_entropy(logits: Any, labels: Any) -> Any:
    return -(labels * jax.nn.log_softmax(logits)).sum(-1).mean()


def plain(case: Case) -> Function:
    run = make(case.program, sys.modules[__name__])
    parameters = case.shape.parameters
    if case.mode == "gradient":
        return jax.grad(loss_of(run), argnums=parameters)
    if case.mode != "step":
        return run
    gradients = jax.value_and_grad(run, argnums=parameters)

    def step(*inputs: Any) -> Any:
        loss, found = gradients(*inputs)
        updates = zip(parameters, found, strict=True)
        return (*(inputs[at] - LEARNING_RATE * g for at, g in updates), loss)

    return step


def function_of(case: Case) -> Function:
    # Without it JAX would compute in float32 what is asked for in float64.
    jax.config.update("jax_enable_x64", case.dtype == "float64")
    function = jax.jit(plain(case), donate_argnums=replaced_by(case))
    return lambda *inputs: jax.block_until_ready(function(*inputs))


if __name__ == "__main__":
    serve(Peer(function_of, own=jnp.array, array=np.asarray))
