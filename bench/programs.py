"""What each program computes, once for all libraries.

A program is made from a library's own functions, asked for by the names of the maker's parameters;
peers/*.py hold them. The rest is operators, slices and methods that the libraries share.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cases import Case

Function = Callable[..., Any]
LEARNING_RATE = 0.01
RATE, FIRST, SECOND, EPSILON = 1e-3, 0.9, 0.999, 1e-8  # Adam's, as published


class Unable(Exception):
    """The library has no such thing."""


def add() -> Function:
    return lambda a, b: a + b


def gates(sigmoid: Function, tanh: Function) -> Function:
    def run(a: Any, b: Any, c: Any, d: Any) -> Any:
        return sigmoid(a * b + c) * tanh(d)

    return run


def mixed(sigmoid: Function) -> Function:
    return lambda a, b, k: sigmoid(a * b) + k


def chain() -> Function:
    def run(a: Any, b: Any) -> Any:
        x = a
        for _ in range(10):
            x = x * b + a
        return x

    return run


def gelu(gelu: Function) -> Function:
    return lambda x: gelu(x)


def softmax(softmax: Function) -> Function:
    return lambda x: softmax(x)


def layer_norm(layer_norm: Function) -> Function:
    return lambda x, gain, shift: layer_norm(x, gain, shift)


def cross_entropy(cross_entropy: Function) -> Function:
    return lambda logits, labels: cross_entropy(logits, labels)


def adam(sqrt: Function) -> Function:
    def run(p: Any, m: Any, v: Any, g: Any, step: Any) -> Any:
        step = step + 1
        m = FIRST * m + (1 - FIRST) * g
        v = SECOND * v + (1 - SECOND) * g * g
        size = RATE / (1 - FIRST**step)
        return p - size * m / (sqrt(v) / sqrt(1 - SECOND**step) + EPSILON), m, v, step

    return run


def lstm(sigmoid: Function, tanh: Function) -> Function:
    def run(x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any) -> Any:
        z = x @ w + h @ u + bias
        n = h.shape[1]
        keep = sigmoid(z[:, :n])
        write = sigmoid(z[:, n : 2 * n])
        show = sigmoid(z[:, 2 * n : 3 * n])
        c = keep * c + write * tanh(z[:, 3 * n :])
        return show * tanh(c), c

    return run


def layer_norm_lstm(sigmoid: Function, tanh: Function, layer_norm: Function) -> Function:
    """Ba, Kiros and Hinton, 2016: both products and the state are normalized."""

    def run(
        x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any, scale: Any, other: Any, last: Any
    ) -> Any:
        z = layer_norm(x @ w, scale, bias) + layer_norm(h @ u, other, bias)
        n = h.shape[1]
        keep = sigmoid(z[:, :n])
        write = sigmoid(z[:, n : 2 * n])
        show = sigmoid(z[:, 2 * n : 3 * n])
        c = keep * c + write * tanh(z[:, 3 * n :])
        return show * tanh(layer_norm(c, last, last)), c

    return run


def peephole_lstm(sigmoid: Function, tanh: Function) -> Function:
    """Gers and Schmidhuber, 2000: the gates see the state."""

    def run(
        x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any, keeper: Any, writer: Any, shower: Any
    ) -> Any:
        z = x @ w + h @ u + bias
        n = h.shape[1]
        keep = sigmoid(z[:, :n] + keeper * c)
        write = sigmoid(z[:, n : 2 * n] + writer * c)
        c = keep * c + write * tanh(z[:, 3 * n :])
        show = sigmoid(z[:, 2 * n : 3 * n] + shower * c)
        return show * tanh(c), c

    return run


def gru(sigmoid: Function, tanh: Function) -> Function:
    def run(x: Any, h: Any, w: Any, u: Any, bias: Any) -> Any:
        n = h.shape[1]
        a, b = x @ w + bias, h @ u
        update = sigmoid(a[:, :n] + b[:, :n])
        reset = sigmoid(a[:, n : 2 * n] + b[:, n : 2 * n])
        return update * h + (1 - update) * tanh(a[:, 2 * n :] + reset * b[:, 2 * n :])

    return run


def elman(tanh: Function) -> Function:
    return lambda x, h, w, u, bias: tanh(x @ w + h @ u + bias)


def unrolled_lstm(sigmoid: Function, tanh: Function) -> Function:
    cell = lstm(sigmoid, tanh)

    def run(w: Any, u: Any, bias: Any, xs: Any, y: Any) -> Any:
        """The mean squared error of the last state."""
        h = c = 0 * y
        for t in range(xs.shape[0]):
            h, c = cell(xs[t], h, c, w, u, bias)
        return ((h - y) * (h - y)).mean()

    return run


def mlp(relu: Function, cross_entropy: Function) -> Function:
    return lambda w, b, v, c, x, labels: cross_entropy(relu(x @ w + b) @ v + c, labels)


def make(name: str, library: Any) -> Function:
    """The program `name` of a case, made from the functions that are attributes of `library`."""
    maker = globals()[name.replace(" ", "_")]
    wishes = inspect.signature(maker).parameters
    lacking = [wish for wish in wishes if not hasattr(library, wish)]
    if lacking:
        raise Unable(f"no {', '.join(lacking)}")
    made: Function = maker(*(getattr(library, wish) for wish in wishes))
    return made


def loss_of(program: Function) -> Function:
    """The sum of squares of all that a program returns."""

    def loss(*operands: Any) -> Any:
        found = program(*operands)
        outputs = found if isinstance(found, tuple) else (found,)
        return sum((y * y).sum() for y in outputs)

    return loss


def spelled_out(function: Function, count: int) -> Function:
    """`function` with `count` named parameters, as one would write it, in place of *args."""
    names = ", ".join(f"x{i}" for i in range(count))
    written: Function = eval(f"lambda {names}: function({names})", {"function": function})
    return written


def operands(case: Case) -> list[np.ndarray[Any, Any]]:
    """The same numbers for every library."""
    program = case.shape
    shapes = program.inputs(*case.size)
    found = []
    for i, shape in enumerate(shapes):
        dtype = np.dtype(program.dtypes[i] if program.dtypes else case.dtype)
        if i == program.labels:
            array: Any = np.eye(shape[-1])[_integers(0, shape[-1], shape[:-1], i)]
        elif dtype.kind == "i":
            array = _integers(-9, 9, shape, i)
        else:
            # Scaled as weights are: sums over an axis of n elements stay near 1.
            array = _spread(shape, i) / np.sqrt(shape[0] if shape else 1)
        array = np.abs(array) if program.positive else array
        found.append(np.asarray(array, dtype))
    return found


# To load numpy.random takes 10 ms of a start that is timed, and not every library needs it.


def _uniform(shape: tuple[int, ...], stream: int) -> np.ndarray[Any, Any]:
    """Numbers in [0, 1), others in each stream: SplitMix64 of Steele, Lea and Flood, 2014."""
    z = np.arange(math.prod(shape), dtype=np.uint64) + np.uint64(stream << 40)
    z *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    return (z >> np.uint64(11)).reshape(shape) * 2.0**-53


def _integers(low: int, high: int, shape: tuple[int, ...], stream: int) -> np.ndarray[Any, Any]:
    return (low + (high - low) * _uniform(shape, stream)).astype(np.int64)


def _spread(shape: tuple[int, ...], stream: int) -> np.ndarray[Any, Any]:
    """Of mean 0 and variance 1."""
    return np.sqrt(12) * (_uniform(shape, stream) - 0.5)
