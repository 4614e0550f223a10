"""Checks for ops and functions, fusejit's own and yours: gradients, traces, rounding, samples."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .autodiff import trees
from .autodiff.repeated import full
from .autodiff.tags import is_differentiable
from .autodiff.tape import GradientTape
from .op import Array, Assembly, Contraction, Elementwise, Op, Reduction, Source, View
from .opdoc import parameters
from .tensor import Tensor, asarray
from .variable import Variable

# A central difference in float64 errs by about STEP**2 and 1e-16 / STEP, both far below these.
STEP = 1e-5
RELATIVE_TOLERANCE = 1e-5
ABSOLUTE_TOLERANCE = 1e-7


def check_gradients(f: Callable[..., Any], *args: Any, order: int = 2, seed: int = 0) -> None:
    """Compare the gradients of `f` with finite differences, in float64.

    The directional derivative along a random direction is computed both ways; then the gradient
    itself is treated as a function and checked in the same way, up to `order`.

    Args:
        f: a function of Tensors, smooth near args, that returns Tensors in any nesting.
        args: where to check. Floats are converted to float64 and differentiated; integers, booleans
            and everything else are passed on unchanged.
        order: how many derivatives to check.
        seed: of the random directions.
    Raises:
        AssertionError: a gradient is wrong; names f, the order and the relative error.
    Example:
        >>> import fusejit as fj
        >>> from fusejit.testing import check_gradients
        >>> check_gradients(lambda x: x * x * x, 2.0)
    """
    rng = np.random.default_rng(seed)
    name = getattr(f, "__name__", repr(f))
    operands = [_widened(arg) for arg in args]
    for level in range(1, order + 1):
        pullback = _pullback(f, operands)
        weights = [_direction(rng, y) for y in _results(f, operands)]
        _check_direction(f, pullback, operands, weights, rng, f"{name}: order {level}")
        f, operands = pullback, [*operands, *weights]


def _check_direction(
    f: Callable[..., Any],
    pullback: Callable[..., list[Tensor]],
    operands: list[Any],
    weights: list[Tensor],
    rng: np.random.Generator,
    what: str,
) -> None:
    steps = [_direction(rng, a).numpy() if _is_float(a) else None for a in operands]

    def along(t: float) -> list[Tensor]:
        pairs = zip(operands, steps, strict=True)
        return _results(f, [a if s is None else _array(a.numpy() + t * s) for a, s in pairs])

    ahead, behind = along(STEP), along(-STEP)
    differences = [(p.numpy() - q.numpy()) / (2 * STEP) for p, q in zip(ahead, behind, strict=True)]
    numeric = _inner(differences, [w.numpy() for w in weights])
    analytic = _inner(
        [g.numpy() for g in pullback(*operands, *weights)], [s for s in steps if s is not None]
    )
    error = abs(numeric - analytic)
    relative = error / max(abs(numeric), abs(analytic), ABSOLUTE_TOLERANCE)
    if not (error <= ABSOLUTE_TOLERANCE or relative <= RELATIVE_TOLERANCE):
        raise AssertionError(
            f"gradient of {what}: analytic {analytic:.9g}, numeric {numeric:.9g}, "
            f"relative error {relative:.2g}"
        )


def _pullback(f: Callable[..., Any], operands: Sequence[Any]) -> Callable[..., list[Tensor]]:
    """(operands, weights of the results) -> gradients of the weighted sum, one a float operand."""
    count = len(operands)

    def pullback(*everything: Any) -> list[Tensor]:
        given, weights = everything[:count], list(everything[count:])
        sources = [operand for operand in given if _is_float(operand)]
        with GradientTape() as tape:
            tape.watch(sources)
            results = _results(f, given)
        found = tape.gradient(results, sources, weights)
        pairs = zip(found, sources, strict=True)
        return [full(source.type, 0, source.device) if g is None else g for g, source in pairs]

    return pullback


def _results(f: Callable[..., Any], operands: Sequence[Any]) -> list[Tensor]:
    leaves = trees.leaves(f(*operands))
    return [leaf for leaf in leaves if _is_float(leaf)]


def _widened(arg: Any) -> Any:
    if not isinstance(arg, (Tensor, Variable, np.ndarray, np.generic, float, complex, list)):
        return arg
    tensor = asarray(arg)
    wide = {"f": np.float64, "c": np.complex128}.get(tensor.dtype.kind)
    return arg if wide is None else _array(tensor.numpy().astype(wide))


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and is_differentiable(value.dtype)


def _direction(rng: np.random.Generator, like: Tensor) -> Tensor:
    """Random numbers away from zero, so that each element matters."""
    parts = [
        rng.uniform(0.5, 1.0, like.shape) * rng.choice([-1.0, 1.0], like.shape) for _ in range(2)
    ]
    return _array(parts[0] + 1j * parts[1] if like.dtype.kind == "c" else parts[0])


def _array(numbers: Any) -> Tensor:
    """A Tensor of NumPy's numbers; of no axes, they are Python floats, which would be float32."""
    return asarray(np.asarray(numbers))


def _inner(left: Sequence[Array], right: Sequence[Array]) -> float:
    """The gradient of a real function of complex z is such that its change is Re(gradient * dz)."""
    return float(sum(np.sum(a * b).real for a, b in zip(left, right, strict=True)))


@contextlib.contextmanager
def assert_max_traces(f: Any, n: int) -> Iterator[None]:
    """Fail if the decorated function `f` records more than `n` times inside the block.

    Args:
        f: a function decorated by fj.function.
        n: how many recordings are allowed.
    Raises:
        AssertionError: on leaving the block, if there were more.
    Example:
        >>> import fusejit as fj
        >>> from fusejit.testing import assert_max_traces
        >>> double = fj.function(lambda x: x * 2.0)
        >>> with assert_max_traces(double, 1):
        ...     _ = double(fj.constant([1.0])), double(fj.constant([3.0]))
    """
    before = f.num_traces
    yield
    traces = f.num_traces - before
    if traces > n:
        name = getattr(f, "__name__", repr(f))
        raise AssertionError(
            f"{name}: recorded {traces} times, expected at most {n}; see FUSEJIT_LOG=recompiles"
        )


def ulp_distance(a: Any, b: Any) -> Array:
    """How many floating-point numbers lie between `a` and `b`, elementwise.

    Args:
        a: floats of one dtype: float16, float32 or float64.
        b: floats of the same dtype.
    Returns:
        uint64 numbers: 0 for equal ones, for two NaNs and for zeros of either sign; the greatest
        uint64 where only one is NaN.
    Raises:
        TypeError: the dtypes differ or are not floating.
    Example:
        >>> from fusejit.testing import ulp_distance
        >>> import numpy as np
        >>> int(ulp_distance(1.0, np.nextafter(1.0, 2.0)))
        1
    """
    left, right = np.asarray(a), np.asarray(b)
    if left.dtype != right.dtype or left.dtype.kind != "f":
        raise TypeError(f"expected floats of one dtype, got {left.dtype} and {right.dtype}")
    p, q = _ordered(left), _ordered(right)
    distance = np.maximum(p, q) - np.minimum(p, q)
    nans = np.isnan(left).astype(int) + np.isnan(right)
    apart = np.uint64(np.iinfo(np.uint64).max)
    return np.where(nans == 0, distance, np.where(nans == 2, np.uint64(0), apart))


def _ordered(x: Array) -> Array:
    """uint64 numbers in the order of the floats, consecutive for neighbours."""
    magnitude = abs(x).view(f"u{x.dtype.itemsize}").astype(np.uint64)
    middle = np.uint64(1 << 63)
    return np.where(np.signbit(x), middle - magnitude, middle + magnitude)


class Sample(NamedTuple):
    """What an op may be called with."""

    arrays: Sequence[Array]
    params: dict[str, Any]


def samples(op: Op, rng: np.random.Generator, dtype: Any = np.float64) -> list[Sample]:
    """Operands and parameters on which `op` can be tested.

    They come from the op's own `sample`, if it has one, else from its kind, its `domain` and the
    names of its parameters.

    Args:
        op: an op.
        rng: where the numbers come from.
        dtype: the dtype of operands whose dtype the op does not fix.
    Returns:
        Samples; none if the op has parameters that are not known here and no `sample`.
    Example:
        >>> import fusejit as fj, numpy as np
        >>> from fusejit.testing import samples
        >>> [array.shape for array in samples(fj.add, np.random.default_rng(0))[0].arrays]
        [(3, 2), (2,)]
    """
    if op.sample is not None:
        arrays, params = op.sample(rng)
        return [Sample([_as(a, dtype) if a.dtype.kind in "fc" else a for a in arrays], params)]
    if isinstance(op, Elementwise):
        return _elementwise_samples(op, rng, np.dtype(dtype))
    names = frozenset(parameters(op))
    cases = next((c for kind, c in _CASES.items() if isinstance(op, kind)), {})
    low, high = getattr(op, "domain", (-4.0, 4.0))
    return [
        Sample([_as(rng.uniform(low, high, shape), dtype) for shape in shapes], params)
        for shapes, params in cases.get(names, [])
        if not (isinstance(op, View) and op.index is None and len(params["shape"]) > 2)
    ]


def _elementwise_samples(op: Elementwise, rng: np.random.Generator, dtype: Any) -> list[Sample]:
    names = parameters(op)
    if set(names) - {"dtype"}:
        return []
    if dtype.kind not in op.dtype.kinds:
        dtype = np.dtype(np.complex128 if op.dtype.kinds == "c" else np.int64)
    fixed = op.dtype.leading
    arrays = []
    for i in range(len(op.inputs)):
        low, high = (0, 2) if i < len(fixed) else op.domain
        numbers = rng.uniform(low, high, ((3, 2), (2,), (3, 1))[i % 3])
        arrays.append(_as(numbers, fixed[i] if i < len(fixed) else dtype))
    return [Sample(arrays, dict.fromkeys(names, dtype))]


def _as(numbers: Array, dtype: Any) -> Array:
    """Numbers as another dtype: complex ones get an imaginary part, bools come out mixed."""
    wanted = np.dtype(dtype)
    if wanted.kind == "b":
        return np.asarray(np.floor(numbers) % 2 == 0)
    if wanted.kind == "c" and numbers.dtype.kind != "c":
        return (numbers + 0.5j * numbers[..., ::-1]).astype(wanted) if numbers.ndim else numbers
    return numbers.astype(wanted)


_Case = tuple[list[tuple[int, ...]], dict[str, Any]]
# For each kind, by the names of the parameters: shapes of operands, and parameters.
_CASES: dict[type[Op], dict[frozenset[str], list[_Case]]] = {
    Reduction: {
        frozenset({"axes", "keepdims"}): [
            ([(2, 3, 4)], {"axes": (0, 1, 2), "keepdims": False}),
            ([(2, 3, 4)], {"axes": (1,), "keepdims": True}),
            ([(2, 3, 4)], {"axes": (0, 2), "keepdims": False}),
        ]
    },
    View: {
        frozenset(): [([(2, 3)], {})],
        frozenset({"shape"}): [([(3,)], {"shape": (1, 3)}), ([(3, 1)], {"shape": (2, 3, 4)})],
        frozenset({"axes"}): [([(2, 3, 4)], {"axes": (2, 0, 1)})],
        frozenset({"ranges"}): [([(3, 4, 2)], {"ranges": ((1, 1, 2), (3, -2, 2), (0, 1, 2))})],
    },
    Assembly: {
        frozenset({"axis"}): [([(2, 3), (2, 1)], {"axis": 1})],
        frozenset({"shape", "ranges"}): [
            ([(2, 2)], {"shape": (4, 5), "ranges": (((1, 2), (0, 3)),)})
        ],
    },
    Contraction: {frozenset(): [([(2, 3, 4), (4, 5)], {}), ([(3, 4), (2, 4, 1)], {})]},
    Source: {frozenset({"shape"}): [([], {"shape": (2, 3)})]},
}
