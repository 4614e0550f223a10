"""Sequential: layers one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ..tensor import Tensor
from .layer import Layer
from .network import Network

Stage: TypeAlias = "Layer | Callable[[Any], Any]"


class Sequential(Network):
    """Applies layers, or functions such as `fj.nn.relu`, in order.

    Args:
        layers: what to apply; each takes what the one before returns.
    Example:
        >>> import fusejit as fj
        >>> model = fj.Sequential([fj.layers.Dense(8), fj.nn.relu, fj.layers.Dense(2)])
        >>> model(fj.zeros((5, 3))).shape
        (5, 2)
        >>> model
        Sequential(
          layers/0: Dense(units=8)
          layers/2: Dense(units=2)
        )
    """

    def __init__(self, layers: Iterable[Stage] = ()) -> None:
        super().__init__()
        self.layers = list(layers)

    def add(self, layer: Stage) -> None:
        """Append a layer."""
        self.layers.append(layer)

    def call(self, x: Any, training: bool = False) -> Tensor:
        for layer in self.layers:
            x = layer(x, training=training) if isinstance(layer, Layer) else layer(x)
        found: Tensor = x
        return found
