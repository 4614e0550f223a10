"""Every op of the registry, decorated: fused it gives what it gives eagerly, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.errors import FuseJitError
from fusejit.op import OPS, Assembly, Contraction, Elementwise, Op, Opaque, Reduction, View
from fusejit.tensor import Tensor
from fusejit.testing import samples

DTYPES = ["bool", "int8", "uint8", "int32", "uint32", "int64", "uint64", "float32", "float64"]
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "scalar": ((), (), ()),
    "empty": ((0, 3), (3,), (1, 3)),
    "one": ((1,), (1,), (1,)),
    "row": ((5, 7), (7,), (1, 7)),
    "column": ((5, 1), (5, 7), (1,)),
    "with scalar": ((70,), (), (70,)),
    "outer": ((3, 1, 2), (4, 1), (1,)),
}
LAYOUTS = ("contiguous", "transposed", "strided", "reversed")


def assert_same(found: Any, expected: Any) -> None:
    """The same dtype, shape and bits, but any NaN equals any other."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if found.dtype.kind in "fc":
        found, expected = (np.where(np.isnan(x), np.nan, x) for x in (found, expected))
    same = found.tobytes() == expected.tobytes()
    assert same, f"fused {found}, eager {expected}"


def check(function: Callable[..., Any], *args: Any, compare: Any = assert_same) -> None:
    """`function` decorated, called twice so that it is replayed, equals the undecorated one."""
    expected = function(*args)
    decorated = fj.function(function)
    decorated(*args)
    found = decorated(*args)
    assert decorated.num_traces == 1, "the second call did not find the plan of the first"
    if not isinstance(expected, (tuple, list)):
        found, expected = [found], [expected]
    for one, other in zip(found, expected, strict=True):
        compare(one, other)


def laid_out(array: Any, layout: str) -> Tensor:
    """A Tensor of `array` that lies in memory otherwise."""
    if layout == "transposed":
        return fj.constant(array.T.copy()).T
    if layout == "strided":
        return (
            fj.constant(np.repeat(array, 2, axis=-1))[..., ::2]
            if array.ndim
            else fj.constant(array)
        )
    if layout == "reversed":
        return fj.flip(fj.constant(np.flip(array).copy()))
    return fj.constant(array)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, domain: Any) -> Any:
    dtype = np.dtype(dtype)
    found = rng.uniform(*domain, shape)
    if dtype.kind == "b":
        return np.asarray(found > np.mean(domain))
    if dtype.kind in "iu":
        found = rng.integers(-5 if dtype.kind == "i" and domain[0] < 0 else 0, 6, shape)
    return np.asarray(found).astype(dtype)


def applied(op: Op, params: dict[str, Any], count: int = 1) -> Callable[..., Any]:
    """A function of `count` arguments that calls `op`."""
    return {
        0: lambda: op(**params),
        1: lambda a: op(a, **params),
        2: lambda a, b: op(a, b, **params),
        3: lambda a, b, c: op(a, b, c, **params),
    }[count]


def takes(op: Elementwise, dtype: str) -> bool:
    try:
        op.dtype.common(op.name, np.dtype(dtype))
    except FuseJitError:
        return False
    return True


ELEMENTWISE = [op for op in OPS.values() if isinstance(op, Elementwise)]


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise(op: Elementwise, shapes: Any, rng: np.random.Generator) -> None:
    params = samples(op, rng)[0].params
    for dtype in DTYPES:
        if takes(op, dtype):
            leading = [str(d) for d in op.dtype.leading]
            dtypes = [*leading, *[dtype] * (len(op.inputs) - len(leading))]
            given = zip(shapes, dtypes, strict=False)
            arrays = [fj.constant(numbers(rng, s, d, op.domain)) for s, d in given]
            check(applied(op, params, len(op.inputs)), *arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_of_views(op: Elementwise, layout: str, rng: np.random.Generator) -> None:
    """The operands are views made inside the function, and Tensors laid out so outside of it."""
    for arrays, params in samples(op, rng, np.float32):
        call = applied(op, params, len(arrays))
        check(call, *(laid_out(a, layout) for a in arrays))
        inside = applied(
            lambda *xs, **params: op(*(laid_out_again(x, layout) for x in xs), **params),
            params,
            len(arrays),
        )
        check(inside, *map(fj.constant, arrays))


def laid_out_again(x: Any, layout: str) -> Tensor:
    if layout == "transposed":
        return fj.asarray(x).T.T
    if layout == "strided":
        return fj.repeat(x, 2, axis=-1)[..., 1::2]
    if layout == "reversed":
        return fj.flip(fj.flip(x))
    return fj.asarray(x)


@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_casts(source: str, target: str, rng: np.random.Generator) -> None:
    x = fj.constant(numbers(rng, (40,), source, (-300, 300)))
    check(lambda x: fj.astype(x, target), x)


REDUCED: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((), ()),
    ((0,), (0,)),
    ((1,), (0,)),
    ((3, 0), (0,)),
    ((130,), (0,)),
    ((9000,), (0,)),
    ((4, 70), (1,)),
    ((300, 3), (0,)),
    ((2, 3, 5), (0, 2)),
    ((2, 3, 5), (1,)),
    ((2, 1, 3, 4), (1, 3)),
    ((2, 3, 2, 3), (0, 2)),
    ((2, 3, 4), (0, 1, 2)),
    ((2, 3), ()),
]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize(("shape", "axes"), REDUCED, ids=str)
@pytest.mark.parametrize(
    "op", [op for op in OPS.values() if isinstance(op, Reduction)], ids=lambda op: op.name
)
def test_reductions(
    op: Reduction, shape: Any, axes: Any, keepdims: bool, rng: np.random.Generator
) -> None:
    boolean = op.name in ("any", "all")
    call = applied(op, {"axes": axes, "keepdims": keepdims})
    for dtype in ["bool"] if boolean else ["int32", "uint8", "float32", "float64"]:
        x = fj.constant(numbers(rng, shape, dtype, (0.9, 1.1)))
        check(call, x)
        check(call, laid_out(x.numpy(), "transposed"))
        check(lambda x: call(fj.logical_not(x) if boolean else -x * x), x)
        check(lambda x: call(laid_out_again(x, "reversed").T), fj.constant(x.numpy().T.copy()))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex64", "complex128"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_reductions_by_numpy_of_views(dtype: str, layout: str, rng: np.random.Generator) -> None:
    """NumPy adds in the order of memory, and a plan has its arrays laid out anew."""
    x = fj.astype(fj.constant(rng.normal(size=(257, 130))), dtype)
    check(lambda x: fj.sum(laid_out_again(x, layout), axis=0), x)
    check(lambda x: fj.mean(laid_out_again(x, layout).T), x)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_complex_products_of_views(layout: str, rng: np.random.Generator) -> None:
    """NumPy rounds them one way where elements lie side by side, and otherwise another."""
    x = fj.constant(rng.normal(size=(65, 66)).view("complex128").astype("complex64"))
    check(lambda x: laid_out_again(x, layout) * x, x)
    check(lambda x: fj.square(fj.flip(x)) + 1.0, laid_out(x.numpy(), layout))


def tolerance(k: int, dtype: Any, a: Any, b: Any) -> Any:
    return 2 * k * np.finfo(dtype).eps * np.matmul(np.abs(a), np.abs(b), dtype="f8")


PRODUCTS = [
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((5, 0), (0, 3)),
    ((0, 4), (4, 2)),
    ((70, 33), (33, 1)),
    ((1, 33), (33, 70)),
    ((6, 3, 4), (4, 5)),
    ((3, 4), (6, 4, 5)),
    ((2, 1, 3, 4), (5, 4, 2)),
    ((2, 3, 1, 4), (3, 4, 2)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize(("left", "right"), PRODUCTS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_matmul(left: Any, right: Any, dtype: str, layout: str, rng: np.random.Generator) -> None:
    a, b = numbers(rng, left, dtype, (-2, 2)), numbers(rng, right, dtype, (-2, 2))

    def compare(found: Any, expected: Any) -> None:
        found, expected = found.numpy(), expected.numpy()
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        bound = tolerance(left[-1], dtype, a, b) if dtype != "int32" else 0
        assert np.all(np.abs(found.astype("f8") - expected) <= bound)

    def swapped(a: Any, b: Any) -> Any:
        return fj.matmul(fj.matrix_transpose(a), fj.matrix_transpose(b))

    check(fj.matmul, laid_out(a, layout), laid_out(b, layout), compare=compare)
    check(swapped, *(fj.constant(np.swapaxes(x, -1, -2).copy()) for x in (a, b)), compare=compare)
    check(lambda a, b: fj.matmul(a * 1, b), fj.constant(a), fj.constant(b), compare=compare)


OTHERS = [op for op in OPS.values() if not isinstance(op, (Elementwise, Reduction, Contraction))]


@pytest.mark.parametrize("op", OTHERS, ids=lambda op: op.name)
def test_everything_else(op: Op, rng: np.random.Generator) -> None:
    for dtype in ("float32", "float64", "int32", "bool"):
        for arrays, params in samples(op, rng, dtype):
            tensors = [fj.constant(a) for a in arrays]
            if isinstance(op, Opaque):
                if dtype[0] == "f" and op.infer([t.type for t in tensors], params) is not None:
                    check(applied(op, params, len(tensors)), *tensors)
                continue
            check(applied(op, params, len(tensors)), *tensors)
            if isinstance(op, (View, Assembly)):
                doubled = applied(
                    lambda *xs, **params: op(*map(twice, xs), **params), params, len(tensors)
                )
                check(doubled, *tensors)


def twice(x: Tensor) -> Tensor:
    return x | x if x.dtype == np.bool_ else x + x


def _indexing() -> list[Callable[[Tensor], Tensor]]:
    return [
        lambda x: x[1],
        lambda x: x[-1, 2],
        lambda x: x[1:, ::-2],
        lambda x: x[..., None, 0],
        lambda x: x[::-1, 5:1:-2],
        lambda x: x[2:2],
        lambda x: x[[0, 2, 2]],
        lambda x: x[fj.constant([1, 0])],
        lambda x: fj.take(x, fj.constant([2, 0]), axis=0),
        lambda x: fj.concat([x[:1], x[1:]], axis=0),
        lambda x: fj.stack([x, x + 1.0], axis=1),
        lambda x: fj.roll(x, 2, axis=1),
        lambda x: fj.tile(x, (2, 2)),
        lambda x: fj.repeat(x, 3, axis=0),
        lambda x: fj.pad(x, ((1, 2), (0, 1)), value=2.0),
        lambda x: fj.squeeze(fj.expand_dims(x, 1), 1),
        lambda x: fj.where(x > 0, x, 0.0),
        lambda x: fj.reshape(x, (2, -1)),
        lambda x: fj.reshape(x.T, -1) * 2.0,
        lambda x: fj.arange(6) * x,
        lambda x: fj.mean(x, axis=0),
        lambda x: fj.var(x, axis=1),
        lambda x: fj.std(x),
        lambda x: fj.mean(x * x, axis=(0, 1), keepdims=True),
        lambda x: fj.flip(x, axis=0) - x,
    ]


@pytest.mark.parametrize("function", _indexing(), ids=lambda f: str(f.__code__.co_firstlineno))
def test_public_composites(function: Callable[[Tensor], Tensor], rng: np.random.Generator) -> None:
    for dtype in ("float32", "float64"):
        check(function, fj.constant(rng.normal(size=(4, 6)).astype(dtype)))


NN: Sequence[Callable[[Tensor], Tensor]] = [
    fj.nn.relu,
    fj.nn.leaky_relu,
    fj.nn.elu,
    fj.nn.sigmoid,
    fj.nn.tanh,
    fj.nn.softplus,
    fj.nn.silu,
    fj.nn.gelu,
    lambda x: fj.nn.gelu(x, approximate=True),
    fj.nn.softmax,
    lambda x: fj.nn.softmax(x, axis=0),
    lambda x: fj.nn.softmax(x, axis=(0, 1)),
    fj.nn.log_softmax,
    fj.nn.logsumexp,
    lambda x: fj.nn.logsumexp(x, axis=0, keepdims=True),
    lambda x: fj.nn.softmax_cross_entropy_with_logits(labels=fj.nn.softmax(x), logits=x),
    lambda x: fj.nn.sparse_softmax_cross_entropy_with_logits(
        labels=fj.constant([0, 1, 2]), logits=x
    ),
    lambda x: fj.nn.sigmoid_cross_entropy_with_logits(labels=fj.nn.sigmoid(x), logits=x),
]


@pytest.mark.parametrize("function", NN)
def test_nn(function: Callable[[Tensor], Tensor], rng: np.random.Generator) -> None:
    for dtype in ("float32", "float64"):
        x = fj.constant((rng.normal(size=(3, 37)) * 5).astype(dtype))
        check(lambda x: function(x), x)
        check(lambda x: fj.gradients_function(lambda x: fj.sum(function(x)))(x)[0], x, compare=near)


def near(found: Any, expected: Any) -> None:
    """Gradients regroup sums: equal within a few roundings of the largest."""
    found, expected = found.numpy(), expected.numpy()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    scale = max(1.0, float(np.max(np.abs(expected))))
    assert np.all(np.abs(found - expected) <= 64 * np.finfo(found.dtype).eps * scale)


def test_scalars_are_zero_dimensional() -> None:
    decorated = fj.function(lambda x: (x + 1.0, fj.sum(x), fj.max(x) * 2.0))
    for _ in range(2):
        assert [y.shape for y in decorated(fj.constant(math.pi))] == [(), (), ()]
