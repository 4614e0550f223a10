"""Programs that tests of generated kernels share: every op of the registry, and what is fused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.backends.cuda.lowering import program_of
from fusejit.backends.cuda.program import Launch, Limits, Program
from fusejit.errors import FuseJitError
from fusejit.ir.graph import Graph
from fusejit.op import OPS, Contraction, Op, Opaque, Reduction
from fusejit.testing import samples

Array = np.ndarray[Any, Any]

LIMITS = Limits(sms=4, shared=48 * 1024)
DTYPES = ("bool", "int8", "uint8", "int32", "uint32", "int64", "uint64", "float32", "float64")


@dataclass(frozen=True)
class Case:
    """A program, its inputs, what the CPU gives for them, and whether to the last bit."""

    name: str
    program: Program
    inputs: list[Array]
    expected: list[Array]
    exact: bool


def graph_of(function: Callable[..., Any], *arrays: Array) -> tuple[Graph, list[Array]]:
    """The fused graph of a call, and its inputs in the graph's order."""
    tensors = [fj.constant(array) for array in arrays]
    decorated = fj.function(function)
    graph = decorated.graph(*tensors, stage="fuse")
    names = list(inspect.signature(function).parameters)
    if len(names) != len(arrays):  # *args
        names = [f"{names[0]}{i}" for i in range(len(arrays))]
    found = dict(zip(names, arrays, strict=True))
    return graph, [found[name] for name in graph.input_names]


def case(name: str, function: Callable[..., Any], *arrays: Array, exact: bool = False) -> Case:
    """A case without a BLAS."""
    graph, inputs = graph_of(function, *arrays)
    found = function(*map(fj.constant, arrays))
    results = found if isinstance(found, (tuple, list)) else [found]
    program = program_of(graph, LIMITS, blas=False)
    return Case(name, program, inputs, [np.asarray(r) for r in results], exact)


@cache
def of_ops() -> tuple[Case, ...]:
    """Every op that has a kernel, for each dtype that it takes."""
    found = []
    for op in dict.fromkeys(OPS.values()):
        for dtype in DTYPES:
            for number, sample in enumerate(_samples(op, dtype)):
                made = _case_of(f"{op.name}-{dtype}-{number}", op, sample)
                if made is not None:
                    found.append(made)
    return tuple(found)


def _samples(op: Op, dtype: str) -> list[Any]:
    if isinstance(op, Opaque):
        return []  # NumPy runs it
    if isinstance(op, Reduction) and isinstance(op.identity(np.dtype(dtype)), bool):
        dtype = "bool"  # of other dtypes the public function makes bools first
    rng = np.random.default_rng(0)
    try:
        return samples(op, rng, np.dtype(dtype))
    except (FuseJitError, TypeError, ValueError):
        return []


def _case_of(name: str, op: Op, sample: Any) -> Case | None:
    """None if the op does not take the sample, or NumPy runs it."""

    def apply(*tensors: Any) -> Any:
        return op(*tensors, **sample.params)

    names = (f"x{number}" for number in range(len(sample.arrays)))
    apply.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in names]
    )
    exact = not isinstance(op, (Reduction, Contraction))
    try:
        made = case(name, apply, *sample.arrays, exact=exact)
    except (FuseJitError, TypeError):
        return None
    return made if all(isinstance(c, Launch) for c in made.program.commands) else None


def _softmax(x: Any) -> Any:
    return fj.nn.softmax(x)


def _log_softmax(x: Any) -> Any:
    return fj.nn.log_softmax(x)


def _layer_norm(x: Any, scale: Any, bias: Any) -> Any:
    centred = x - fj.mean(x, axis=-1, keepdims=True)
    variance = fj.mean(centred * centred, axis=-1, keepdims=True)
    return centred / fj.sqrt(variance + 1e-5) * scale + bias


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return fj.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def _lstm(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any) -> Any:
    gates = x @ w + h @ u + b
    size = h.shape[1]
    i, f, g, o = (gates[:, n * size : (n + 1) * size] for n in range(4))
    cell = fj.nn.sigmoid(f) * c + fj.nn.sigmoid(i) * fj.tanh(g)
    return fj.nn.sigmoid(o) * fj.tanh(cell), cell


def _gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    """The gradients of a sum over the function's results, weighted by what they are."""

    def loss(*args: Any) -> Any:
        found = function(*args)
        results = found if isinstance(found, tuple) else (found,)
        return sum((fj.sum(r * r) for r in results[1:]), fj.sum(results[0] * results[0]))

    names = list(inspect.signature(function).parameters.values())
    loss.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]

    def gradients(*args: Any) -> Any:
        return fj.gradients_function(loss, params=list(range(len(names))))(*args)

    gradients.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]
    return gradients


@cache
def of_strips() -> tuple[Case, ...]:
    """Softmax and what is like it, in rows of all lengths, and their gradients."""
    rng = np.random.default_rng(1)
    found = []
    for rows, length in (
        (6, 3),
        (500, 10),
        (40, 64),
        (7, 1001),
        (300, 1024),
        (4, 9000),
    ):
        x, scale, bias = (rng.normal(size=s).astype("f") for s in ((rows, length), length, length))
        labels = np.eye(length, dtype="f")[rng.integers(0, length, rows)]
        size = f"{rows}x{length}"
        found += [
            case(f"softmax {size}", _softmax, x),
            case(f"log_softmax {size}", _log_softmax, x),
            case(f"layer_norm {size}", _layer_norm, x, scale, bias),
            case(f"cross_entropy {size}", _cross_entropy, labels, x),
        ]
        if rows * length < 10**5:
            found += [
                case(f"softmax' {size}", _gradients(_softmax), x),
                case(f"log_softmax' {size}", _gradients(_log_softmax), x),
                case(f"layer_norm' {size}", _gradients(_layer_norm), x, scale, bias),
                case(f"cross_entropy' {size}", _gradients(_cross_entropy), labels, x),
            ]
    for shape in ((5, 7, 33), (3, 40, 65), (300, 33, 2)):
        x = rng.normal(size=shape).astype("f")
        size = "x".join(map(str, shape))
        found.append(case(f"softmax of columns {size}", lambda x: fj.nn.softmax(x, axis=1), x))
    x = rng.normal(size=(256, 13000)).astype("f")  # rows that shared memory does not hold
    return (*found, case("softmax 256x13000", _softmax, x))


@cache
def of_products() -> tuple[Case, ...]:
    """Products of all shapes, with loops after them."""
    rng = np.random.default_rng(2)

    def normal(*shape: int, dtype: str = "f") -> Array:
        return rng.normal(size=shape).astype(dtype)

    found = []
    for m, k, n in (
        (5, 7, 3),
        (64, 50, 70),
        (1, 30, 20),
        (33, 1, 17),
        (200, 40, 300),
        (300, 9, 260),
    ):
        for dtype in ("f", "d"):
            a, b, c = normal(m, k, dtype=dtype), normal(k, n, dtype=dtype), normal(n, dtype=dtype)
            size = f"{m}x{k}x{n} {dtype}"
            found += [
                case(f"product {size}", lambda a, b: a @ b, a, b),
                case(f"turned {size}", lambda a, b: a.T @ b.T, a.T.copy(), b.T.copy()),
                case(f"dense {size}", lambda a, b, c: fj.tanh(a @ b + c), a, b, c),
                case(f"kept {size}", lambda a, b: (a @ b, fj.nn.relu(a @ b)), a, b),
            ]
    found += [
        case("stack", lambda a, b: a @ b, normal(3, 5, 6), normal(3, 6, 7)),
        case("stack and one", lambda a, b: a @ b, normal(2, 3, 5, 6), normal(6, 7)),
        case("vector", lambda a, b: a @ b, normal(5, 6), normal(6)),
        case("nothing", lambda a, b: a @ b + 1, normal(3, 0), normal(0, 4)),
    ]
    for batch in (1, 6, 40):
        args = [
            normal(*s) for s in ((batch, 8), (batch, 20), (batch, 20), (8, 80), (20, 80), (80,))
        ]
        found += [
            case(f"lstm {batch}", _lstm, *args),
            case(f"lstm' {batch}", _gradients(_lstm), *args),
        ]
    return tuple(found)


def everything() -> tuple[Case, ...]:
    return (*of_ops(), *of_strips(), *of_products())
