"""Network: a layer made of layers, and what one does with a model as a whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

from ..errors import FuseJitError
from ..operators import Operators
from ..ops.creation import zeros
from ..weights import load_weights, save_weights
from .layer import Layer
from .summary import Summary, summarize

AnyLayer = TypeVar("AnyLayer", bound=Layer)


class Network(Layer):
    """A model: subclasses set layers and Variables as attributes and define `call`.

    Layers may be set as attributes, also inside of lists, tuples and dicts, or handed to
    `track_layer`. A network is a layer itself, so networks nest. If `call` has a parameter
    `training`, it gets the one that the network is called with, and hands it on to its layers.

    `build(*shapes)` makes the variables by a call with zeros of these shapes, in which None is 1;
    an array in place of a shape is used as it is, for inputs that are integers.

    Example:
        >>> import fusejit as fj
        >>> class Classifier(fj.Network):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hidden = fj.layers.Dense(32, activation="relu")
        ...         self.dropout = fj.layers.Dropout(0.5)
        ...         self.output = fj.layers.Dense(10)
        ...
        ...     def call(self, x, training=False):
        ...         return self.output(self.dropout(self.hidden(x), training=training))
        >>> model = Classifier()
        >>> model(fj.zeros((2, 784)), training=True).shape
        (2, 10)
        >>> list(model.named_variables())
        ['hidden/kernel', 'hidden/bias', 'output/kernel', 'output/bias']
    """

    def track_layer(self, layer: AnyLayer) -> AnyLayer:
        """Track a layer, and return it. Layers that are attributes need not be handed to this; one
        that is none is named after its class: "dense_0".

        Example:
            >>> import fusejit as fj
            >>> model = fj.Network()
            >>> layer = model.track_layer(fj.layers.Dense(units=10))
            >>> list(model.named_layers())
            ['dense_0']
        """
        if not isinstance(layer, Layer):
            raise FuseJitError(
                f"{self._label}: track_layer expected a layer, got {type(layer).__name__}."
            )
        self._extra = (*self._extra, layer)
        return layer

    def _build(self, shapes: Sequence[Any]) -> None:
        """By a call, since only that knows the shapes of the inner layers' inputs."""
        if not self._called:
            self(*[_example(shape, self.variable_dtype) for shape in shapes])

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Save all variables by path, as safetensors; see `fusejit.weights.save_weights`.

        Raises:
            FileError: there are no variables yet.
            OSError: the file cannot be written; one that was there before is there still.
        """
        save_weights(self, path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load all variables by path; see `fusejit.weights.load_weights`.

        Variables are made at the first call: call the network, or `build` it, before.

        Raises:
            FileError: it is no such file, or names or shapes do not fit; then nothing was loaded.
        Example:
            >>> import fusejit as fj, tempfile
            >>> model = fj.Sequential([fj.layers.Dense(2)])
            >>> model.build((1, 3))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     model.save_weights(folder + "/model.safetensors")
            ...     model.load_weights(folder + "/model.safetensors")
        """
        load_weights(self, path)

    def summary(self) -> Summary:
        """A table of the layers: output type at the first call, parameters, dtype.

        Example:
            >>> import fusejit as fj
            >>> model = fj.Sequential([fj.layers.Dense(2)])
            >>> model.build((1, 3))
            >>> print(model.summary())
            layer                 output    parameters  dtype
            layers/0  Dense       f32[1,2]           8  float32
            (whole)   Sequential  f32[1,2]
            8 parameters
        """
        return summarize(self)


def _example(given: Any, dtype: object) -> Any:
    is_array = isinstance(given, Operators) or hasattr(given, "dtype")
    return given if is_array else zeros([1 if n is None else n for n in given], dtype=dtype)
