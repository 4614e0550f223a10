"""JAX on the GPU, under jit; what a step replaces is donated."""

from __future__ import annotations

import os
from typing import Any

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # others need memory too

import jax
import jax.numpy as jnp
import numpy as np

import jax_peer  # puts JAX on the CPU
from cases import Case
from gpu_protocol import Device, serve
from programs import Function
from protocol import Peer, replaced_by

jax.config.update("jax_platforms", "cuda")
jax.config.update("jax_default_matmul_precision", "highest")  # no TF32, as for all peers

_last: list[Any] = [None]


def function_of(case: Case) -> Function:
    function = jax.jit(jax_peer.plain(case), donate_argnums=replaced_by(case))

    def call(*inputs: Any) -> Any:
        _last[0] = function(*inputs)
        return _last[0]

    return call


if __name__ == "__main__":
    serve(Device(Peer(function_of, jnp.array, np.asarray), lambda: jax.block_until_ready(_last[0])))
