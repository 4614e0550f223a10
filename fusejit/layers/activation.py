"""Activations as layers take them: a function, or the name of one in fj.nn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from .. import nn
from ..errors import FuseJitError
from ..tensor import Tensor

Activation: TypeAlias = "Callable[[Tensor], Tensor]"

ACTIVATIONS: dict[str, Activation] = {
    "elu": nn.elu,
    "gelu": nn.gelu,
    "leaky_relu": nn.leaky_relu,
    "relu": nn.relu,
    "sigmoid": nn.sigmoid,
    "silu": nn.silu,
    "softmax": nn.softmax,
    "softplus": nn.softplus,
    "tanh": nn.tanh,
}


def get_activation(given: Activation | str | None) -> Activation | None:
    """The activation of that name; a function is one already.

    Raises:
        FuseJitError: there is none of this name.
    """
    if not isinstance(given, str):
        return given
    if given not in ACTIVATIONS:
        raise FuseJitError(f"no activation {given!r}; there are {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[given]
