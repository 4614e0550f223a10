"""What must hold for a program: eager, fused, every stage of its graph, other data, gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.llvm.runtime import StoppedAt
from fusejit.backends.lower import computed_results, lower
from fusejit.device import on_host
from fusejit.eager import run
from fusejit.frozen import replace
from fusejit.ir.graph import GUARD, Constant, Graph, Node
from fusejit.ir.interpreter import fold, interpret
from fusejit.ir.verifier import verify
from fusejit.op import Elementwise, Opaque
from fusejit.passes import PIPELINE

Array = Any
STAGES = ("recorded", *(run.__name__ for run in PIPELINE))


class Wrong(Exception):
    """A check failed; str() says which and shows the values."""


def check_program(text: str) -> None:
    """Run all checks on a program (see `programs`); Wrong or any other exception is a finding."""
    space: dict[str, Any] = {"__name__": "program"}
    exec(compile(text, "program.py", "exec"), space)
    function, variable = space["f"], space["v0"]
    arguments = [inputs_of(space["INPUTS"], seed) for seed in (1, 2)]
    eager = [_outcome(function, variable, given) for given in arguments]
    if any(isinstance(found, Exception) for found in eager):
        _check_raises(function, variable, arguments, eager)
        return
    decorated = fj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in (0, 0, 1, 1, 0):
            found = _outcome(decorated, variable, arguments[number], catch=False)
            compare(found, eager[number], f"data {number + 1}: fused, eager")
    variable.assign(np.ones(variable.shape, variable.dtype))
    for given in arguments:
        stages = {name: decorated.graph(*given, stage=name) for name in STAGES}
        named = {f"x{i}": x.numpy() for i, x in enumerate(given)} | {"v0": variable.numpy()}
        _check_stages(stages, [named[name] for name in stages["recorded"].input_names])


def inputs_of(types: Sequence[Any], seed: int) -> list[Any]:
    """The arguments of a program: Tensors of seeded numbers of each kind."""
    rng = np.random.default_rng(seed)
    return [fj.constant(_numbers(rng, *given)) for given in types]


def _numbers(rng: np.random.Generator, dtype: str, shape: tuple[int, ...], kind: str) -> Array:
    if kind == "small":
        return np.asarray(rng.integers(1, 7, shape)).astype(dtype)
    found = np.asarray(rng.normal(0, 2, shape))
    if dtype == "bool":
        return np.asarray(found > 0)
    if dtype[0] == "f":
        if kind == "special":
            odd = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 1e30]
            found = np.where(rng.random(shape) < 0.3, rng.choice(odd, shape), found)
        return np.asarray(found).astype(dtype)
    if kind == "special":
        limits = np.iinfo(dtype)
        odd = [limits.min, limits.max, 0, -1, 1]
        return np.asarray(rng.choice(odd, shape)).astype(dtype)
    return np.asarray(np.round(found)).astype(dtype)


def _outcome(function: Callable[..., Any], variable: Any, given: Any, catch: bool = True) -> Any:
    """The results and the Variable's value afterwards, as arrays; or what was raised."""
    variable.assign(np.ones(variable.shape, variable.dtype))
    try:
        results = function(*given)
    except Exception as error:
        if not catch:
            raise
        return error
    return [np.array(x.numpy()) for x in (*results, variable.read())]


def _check_raises(function: Any, variable: Any, arguments: Any, eager: Any) -> None:
    decorated = fj.function(function)
    for given, expected in zip(arguments, eager, strict=True):
        found = _outcome(decorated, variable, given)
        if isinstance(expected, Exception):
            if type(found) is not type(expected):
                raise Wrong(f"eager raises {expected!r}, decorated gives {found!r}")
        elif isinstance(found, Exception):
            raise found
        else:
            compare(found, expected, "fused, eager (one call raises)")


def compare(found: Sequence[Array], expected: Sequence[Array], what: str) -> None:
    """The same dtypes, shapes and bits, but any NaN equals any other."""
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            types = f"{one.dtype}{one.shape}, {other.dtype}{other.shape}"
            raise Wrong(f"{what}: result {number} has types {types}")
        if _bits(one) != _bits(other):
            at = np.flatnonzero(~_equal(one, other))[:5]
            pairs = [(int(i), one.ravel()[i], other.ravel()[i]) for i in at]
            raise Wrong(f"{what}: result {number} differs: (index, ...) {pairs}")


def _bits(array: Array) -> bytes:
    return (
        np.where(np.isnan(array), np.nan, array).tobytes()
        if array.dtype.kind == "f"
        else array.tobytes()
    )


def _equal(one: Array, other: Array) -> Array:
    same = one == other
    if one.dtype.kind == "f":
        same &= np.signbit(one) == np.signbit(other)
        same |= np.isnan(one) & np.isnan(other)
    return same


def _check_stages(stages: dict[str, Graph], arrays: Sequence[Array]) -> None:
    """Each stage is well-formed and means the same; the interpreter agrees node by node."""
    expected = fold(stages["recorded"], arrays, _near_numpy, _literal)
    for name, graph in stages.items():
        verify(graph)
        compare(fold(graph, arrays, _by_kernels, _literal), expected, f"stage {name}, recorded")
        interpret(_unguarded(graph), arrays)
    fused = stages["fuse"]
    for reuse in (True, False):
        plan = load_plan(lower(fused, reuse=reuse))
        found = plan.run([np.ascontiguousarray(a) if a.ndim else a for a in arrays])
        if isinstance(found, StoppedAt):
            continue
        made = dict(zip(computed_results(fused), found, strict=True))
        pairs = [(made[v], e) for v, e in zip(fused.results, expected, strict=True) if v in made]
        compare(*zip(*pairs, strict=True), f"plan with reuse={reuse}, recorded") if pairs else None


def _literal(constant: Constant) -> Array:
    return constant.array


def _by_kernels(node: Node, operands: list[Array]) -> list[Array]:
    """A node as eager execution runs it."""
    if node.op is GUARD:
        return []
    result = run(node.op, operands, node.params)
    results = result if isinstance(result, tuple) else (result,)
    return [np.asarray(on_host(r)) for r in results]


def _near_numpy(node: Node, operands: list[Array]) -> list[Array]:
    """The same, compared with NumPy's result for the node on the way."""
    found = _by_kernels(node, operands)
    if node.op is GUARD or isinstance(node.op, Opaque):
        return found
    with np.errstate(all="ignore"):
        (expected,) = [np.asarray(node.op.eager(operands, node.params))]
    if found[0].dtype.kind != "f":
        compare(found, [expected], f"{node.op.name}: eager, NumPy")
        return found
    if not isinstance(node.op, Elementwise) and not all(map(_moderate, operands)):
        return found  # products and sums of extremes depend on their order
    magnitudes = operands if isinstance(node.op, Elementwise) else [np.abs(a) for a in operands]
    with np.errstate(all="ignore"):
        scale = np.abs(expected) + np.abs(node.op.eager(magnitudes, node.params))
        bound = 1e3 * np.finfo(expected.dtype).eps * scale + np.finfo(expected.dtype).tiny
        apart = np.abs(found[0] - expected) > bound
    if np.any(apart & np.isfinite(expected) & np.isfinite(found[0])):
        at = np.flatnonzero(apart)[:3]
        pairs = [(found[0].ravel()[i], expected.ravel()[i]) for i in at]
        raise Wrong(f"{node.op.name}: eager and NumPy differ: {pairs}")
    return found


def _moderate(array: Array) -> bool:
    """Whether no finite element is so large or small that partial results leave the range."""
    sizes = np.abs(array[np.isfinite(array) & (array != 0)])
    return bool(np.all((sizes > 1e-6) & (sizes < 1e6)))


def _unguarded(graph: Graph) -> Graph:
    return replace(graph, nodes=tuple(n for n in graph.nodes if n.op is not GUARD))
