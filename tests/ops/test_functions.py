"""Public functions against NumPy's, over shapes, axes and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.testing import check_gradients

SHAPES: list[tuple[int, ...]] = [(), (1,), (5,), (3, 4), (2, 1, 3), (0,), (2, 0)]
DTYPES = ["float32", "float64", "int64", "int8", "uint16", "bool", "complex64", "float16"]


def array(shape: tuple[int, ...], dtype: str) -> Any:
    numbers = np.random.default_rng(3).uniform(-3, 4, shape)
    if dtype == "bool":
        return numbers > 0
    if dtype.startswith("complex"):
        return (numbers + 1j * numbers[..., ::-1] if shape else numbers + 1j).astype(dtype)
    return (np.abs(numbers) if dtype[0] == "u" else numbers).astype(dtype)


def assert_same(found: Any, expected: Any, tolerance: float = 0.0) -> None:
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=tolerance)


def axes_of(rank: int) -> list[Any]:
    return [None, *range(-rank, rank), tuple(range(rank)), ()] if rank else [None, ()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reductions(shape: tuple[int, ...], dtype: str) -> None:
    x = array(shape, dtype)
    tolerance = {"float16": 1e-2, "float32": 1e-5, "complex64": 1e-5}.get(dtype, 1e-12)
    for axis in axes_of(x.ndim):
        for keepdims in (False, True):
            options = {"axis": axis, "keepdims": keepdims}
            for ours, numpys in ((fj.sum, np.sum), (fj.prod, np.prod)):
                assert_same(ours(x, **options), numpys(x, **options), tolerance)
            for ours, numpys in ((fj.any, np.any), (fj.all, np.all)):
                assert_same(ours(x, **options), numpys(x, **options))
            counted = np.asarray(np.count_nonzero(x, **options), np.int64)
            assert_same(fj.count_nonzero(x, **options), counted)
            if x.size and dtype not in ("complex64",):
                for ours, numpys in ((fj.max, np.max), (fj.min, np.min)):
                    assert_same(ours(x, **options), numpys(x, **options))
            if x.size:
                for ours, numpys in ((fj.mean, np.mean), (fj.var, np.var), (fj.std, np.std)):
                    assert_same(ours(x, **options), numpys(x, **options), tolerance)


def test_more_on_reductions() -> None:
    x = array((3, 4), "float64")
    assert_same(fj.var(x, axis=0, correction=1), np.var(x, axis=0, ddof=1), 1e-12)
    assert np.isnan(fj.var([1.0], correction=1).item())
    assert fj.sum([1.0, 2.0], dtype="int8").dtype == np.dtype("int8")
    assert np.isnan(fj.max([1.0, np.nan, 2.0]).item())
    assert np.isnan(fj.mean(np.zeros(0)).item())
    assert fj.constant(x).sum(0).shape == (4,)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 1, 3)], ids=str)
def test_scans_sorts_and_searches(shape: tuple[int, ...]) -> None:
    for dtype in ("float32", "int8", "bool"):
        x = array(shape, dtype)
        for axis in range(-x.ndim, x.ndim):
            assert_same(fj.cumulative_sum(x, axis=axis), np.cumsum(x, axis), 1e-5)
            assert_same(fj.cumulative_prod(x, axis=axis), np.cumprod(x, axis), 1e-5)
            assert_same(fj.sort(x, axis=axis), np.sort(x, axis))
            assert_same(fj.argsort(x, axis=axis), np.argsort(x, axis, kind="stable"))
            backwards = np.flip(np.sort(x, axis), axis)
            assert_same(fj.sort(x, axis=axis, descending=True), backwards)
            order = fj.argsort(x, axis=axis, descending=True)
            assert_same(fj.take_along_axis(x, order, axis), backwards)
            for keepdims in (False, True):
                assert_same(
                    fj.argmax(x, axis, keepdims=keepdims), x.argmax(axis, keepdims=keepdims)
                )
                assert_same(
                    fj.argmin(x, axis, keepdims=keepdims), x.argmin(axis, keepdims=keepdims)
                )
        assert_same(fj.argmax(x), np.argmax(x))
        assert fj.argmin(x, keepdims=True).shape == (1,) * x.ndim


def test_differences_and_membership() -> None:
    x = array((3, 4), "float64")
    for axis in (0, -1):
        for n in (0, 1, 2):
            assert_same(fj.diff(x, axis, n=n), np.diff(x, n, axis))
    assert fj.diff(np.zeros(0)).shape == (0,)
    assert_same(fj.isin([[1, 2], [3, 4]], [4, 1]), np.isin([[1, 2], [3, 4]], [4, 1]))
    assert fj.isin([1, 2], [2], invert=True).tolist() == [True, False]


def test_stable_descending_order() -> None:
    assert fj.argsort([1, 2, 1, 2], descending=True).tolist() == [1, 3, 0, 2]


def test_cumulative_with_initial() -> None:
    assert fj.cumulative_sum([1, 2], include_initial=True).tolist() == [0, 1, 3]
    assert fj.cumulative_prod([3, 2], include_initial=True).tolist() == [1, 3, 6]
    assert fj.constant([[1, 2], [3, 4]]).cumsum().tolist() == [1, 3, 6, 10]


def test_sets_and_insertion() -> None:
    x = np.array([[3, 1], [3, 2]])
    for ours, numpys in zip(fj.unique_all(x), np.unique_all(x), strict=True):
        assert_same(ours, numpys)
    assert [t.tolist() for t in fj.unique_counts(x)] == [[1, 2, 3], [1, 1, 2]]
    assert fj.unique_inverse(x)[1].tolist() == [[2, 0], [2, 1]]
    assert fj.unique_values(x).tolist() == [1, 2, 3]
    line, places = np.array([1.0, 2.0, 2.0, 5.0]), np.array([[2, 9], [0, 3]])
    for side in ("left", "right"):
        assert_same(fj.searchsorted(line, places, side=side), np.searchsorted(line, places, side))
    shuffled = line[[3, 0, 2, 1]]
    found = fj.searchsorted(shuffled, places, sorter=np.argsort(shuffled))
    assert_same(found, np.searchsorted(line, places))


def test_topk() -> None:
    x = array((3, 5), "float32")
    values, indices = fj.topk(x, 2)
    assert_same(values, np.flip(np.sort(x), -1)[:, :2])
    assert_same(fj.take_along_axis(x, indices), values.numpy())
    assert fj.topk([3, 1, 2], 2, largest=False)[0].tolist() == [1, 2]


CASES: list[tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = [
    ("reshape", lambda x: fj.reshape(x, (4, -1)), lambda x: np.reshape(x, (4, -1))),
    ("permute", lambda x: fj.permute_dims(x, (2, 0, 1)), lambda x: np.transpose(x, (2, 0, 1))),
    ("T", lambda x: fj.constant(x).T, lambda x: x.T),
    ("mT", lambda x: fj.constant(x).mT, lambda x: np.swapaxes(x, -1, -2)),
    ("transpose", lambda x: fj.constant(x).transpose(1, 0, 2), lambda x: x.transpose(1, 0, 2)),
    ("flatten", lambda x: fj.constant(x).flatten(), lambda x: x.flatten()),
    (
        "moveaxis",
        lambda x: fj.moveaxis(x, (0, 1), (-1, 0)),
        lambda x: np.moveaxis(x, (0, 1), (-1, 0)),
    ),
    ("swapaxes", lambda x: fj.swapaxes(x, 0, -1), lambda x: np.swapaxes(x, 0, -1)),
    ("expand_dims", lambda x: fj.expand_dims(x, (0, -1)), lambda x: np.expand_dims(x, (0, -1))),
    ("squeeze", lambda x: fj.squeeze(x[:, :1], 1), lambda x: np.squeeze(x[:, :1], 1)),
    ("squeeze all", lambda x: fj.squeeze(x[:1, :1]), lambda x: np.squeeze(x[:1, :1])),
    ("flip", lambda x: fj.flip(x, (0, 2)), lambda x: np.flip(x, (0, 2))),
    ("flip all", fj.flip, np.flip),
    ("roll", lambda x: fj.roll(x, 5), lambda x: np.roll(x, 5)),
    ("roll axes", lambda x: fj.roll(x, (1, -2), (0, 2)), lambda x: np.roll(x, (1, -2), (0, 2))),
    ("tile", lambda x: fj.tile(x, (2, 1, 1, 3)), lambda x: np.tile(x, (2, 1, 1, 3))),
    ("tile fewer", lambda x: fj.tile(x, 2), lambda x: np.tile(x, 2)),
    (
        "pad",
        lambda x: fj.pad(x, [(1, 0), (0, 2), (0, 0)]),
        lambda x: np.pad(x, [(1, 0), (0, 2), (0, 0)]),
    ),
    ("concat", lambda x: fj.concat([x, x[:1]]), lambda x: np.concatenate([x, x[:1]])),
    ("concat flat", lambda x: fj.concat([x, x], axis=None), lambda x: np.concatenate([x, x], None)),
    ("stack", lambda x: fj.stack([x, x], 1), lambda x: np.stack([x, x], 1)),
    ("split", lambda x: fj.split(x, 2, 2)[1], lambda x: np.split(x, 2, 2)[1]),
    ("split at", lambda x: fj.split(x, [1, 3], 2)[1], lambda x: np.split(x, [1, 3], 2)[1]),
    ("unstack", lambda x: fj.unstack(x, 2)[3], lambda x: x[:, :, 3]),
    ("tril", lambda x: fj.tril(x, k=1), lambda x: np.tril(x, 1)),
    ("triu", lambda x: fj.triu(x, k=-1), lambda x: np.triu(x, -1)),
    ("diagonal", fj.diagonal, lambda x: np.linalg.diagonal(x)),
    ("below", lambda x: fj.diagonal(x, offset=-2), lambda x: np.linalg.diagonal(x, offset=-2)),
    ("above", lambda x: fj.diagonal(x, offset=1), lambda x: np.linalg.diagonal(x, offset=1)),
    ("outside", lambda x: fj.diagonal(x, offset=9), lambda x: np.linalg.diagonal(x, offset=9)),
    ("trace", fj.trace, lambda x: np.linalg.trace(x)),
    ("clip", lambda x: fj.clip(x, 1, 3), lambda x: np.clip(x, 1, 3)),
    ("square", fj.square, np.square),
    ("positive", fj.positive, np.positive),
    ("pow 2", lambda x: fj.pow(x, 2), lambda x: np.power(x, 2)),
]


@pytest.mark.parametrize("dtype", ["float64", "int16"])
@pytest.mark.parametrize(("ours", "numpys"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_shapes(ours: Callable[[Any], Any], numpys: Callable[[Any], Any], dtype: str) -> None:
    x = array((2, 3, 4), dtype)
    assert_same(ours(x), numpys(x), 1e-12)


def test_broadcasting() -> None:
    x, y = array((3, 1), "float32"), array((4,), "float32")
    for ours, numpys in zip(fj.broadcast_arrays(x, y), np.broadcast_arrays(x, y), strict=True):
        assert_same(ours, numpys)
    assert_same(fj.broadcast_to(x, (2, 3, 4)), np.broadcast_to(x, (2, 3, 4)))
    assert fj.broadcast_shapes((3, 1), (4,)) == (3, 4)


PRODUCTS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((5, 2, 3), (3, 4)),
    ((3,), (5, 3, 2)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((0, 3), (3, 2)),
]


@pytest.mark.parametrize(("left", "right"), PRODUCTS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "complex128"])
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], dtype: str) -> None:
    a, b = array(left, dtype), array(right, dtype)
    assert_same(fj.matmul(a, b), a @ b, 1e-5)
    assert_same(fj.constant(a) @ b, a @ b, 1e-5)
    assert_same(a @ fj.constant(b), a @ b, 1e-5)


def test_other_products() -> None:
    a, b = array((3, 4, 5), "float64"), array((4, 3, 2), "float64")
    assert_same(fj.tensordot(a, b, ([1, 0], [0, 1])), np.tensordot(a, b, ([1, 0], [0, 1])), 1e-12)
    assert_same(fj.tensordot(a, a[0].T, 1), np.tensordot(a, a[0].T, 1), 1e-12)
    assert_same(fj.tensordot(a, b[0], 0), np.tensordot(a, b[0], 0), 1e-12)
    assert_same(fj.vecdot(a, a[:1], axis=1), np.vecdot(a, a[:1], axis=1), 1e-12)
    z = array((3, 4), "complex64")
    assert_same(fj.vecdot(z, z), np.vecdot(z, z), 1e-5)
    assert_same(fj.outer(a[0], b[0]), np.outer(a[0], b[0]))
    u, v = array((2, 3), "float64"), array((3,), "float64")
    assert_same(fj.cross(u, v), np.cross(u, v), 1e-12)


EINSUMS = [
    "ij,jk->ik",
    "ij,jk",
    "ij->ji",
    "ij->",
    "ii->i",
    "ii",
    "ij,ij->i",
    "i,j->ij",
    "...ij,...jk->...ik",
    "bij,bjk->bik",
    "ij,jk,kl->il",
    "i...->...",
    "ijj->i",
    "ij,k->k",
    "bi,bj,bk->ijk",
    "ij,...j",
]


@pytest.mark.parametrize("subscripts", EINSUMS)
def test_einsum(subscripts: str, rng: np.random.Generator) -> None:
    parts = subscripts.partition("->")[0].split(",")
    operands = [
        rng.normal(size=(2, 2) * ("..." in p) + (2,) * len(p.replace("...", ""))) for p in parts
    ]
    assert_same(fj.einsum(subscripts, *operands), np.einsum(subscripts, *operands), 1e-12)


def test_einsum_of_other_extents(rng: np.random.Generator) -> None:
    a, b, c = rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 5)), rng.normal(size=(1, 2, 5))
    for subscripts in ("abc,cd,xad->bdx", "abc,cd,...d->...a"):
        operands = (a, b, c)
        assert_same(fj.einsum(subscripts, *operands), np.einsum(subscripts, *operands), 1e-12)
    thin = np.einsum("...i,...i->...", a, c[:, :1, :1])
    assert_same(fj.einsum("...i,...i->...", a, c[:, :1, :1]), thin, 1e-12)
    check_gradients(lambda x, y: fj.einsum("ij,jk->ki", x, y), a[0], b)


def test_closeness() -> None:
    x = [1.0, np.inf, np.nan, 0.0]
    y = [1.0 + 1e-7, np.inf, np.nan, 1e-3]
    assert_same(fj.isclose(x, y), np.isclose(x, y))
    assert_same(fj.isclose(x, y, equal_nan=True), np.isclose(x, y, equal_nan=True))
    assert not fj.allclose(x, y)
    assert fj.array_equal([1, 2], [1.0, 2.0])
    assert not fj.array_equal([1, 2], [1, 2, 3])


def test_operators_of_tensors_and_variables() -> None:
    x = np.array([7, -3, 5])
    for t in (fj.constant(x), fj.Variable(x)):
        assert_same(t // 2 + 2 // t - t % 4 + 9 % t, x // 2 + 2 // x - x % 4 + 9 % x)
        assert_same(
            (t & 6) | (1 ^ t) | (t << 2) | (t >> 1) | ~t,
            (x & 6) | (1 ^ x) | (x << 2) | (x >> 1) | ~x,
        )
        assert_same(1 << abs(t), 1 << abs(x))
        assert_same(-t / 2 - +t, -x / 2 - x)
        assert_same(2.0**t, 2.0**x)
        assert_same(t**2, x**2)
        assert_same(t > 5, x > 5)
        assert_same(t <= 5, x <= 5)
        assert_same(t != 7, x != 7)
        assert (t == None) is False  # noqa: E711
        assert (t != "text") is True
        with pytest.raises(TypeError, match="unsupported operand"):
            t + "text"


def test_augmented_assignment_rebinds() -> None:
    x = y = fj.constant([1.0])
    x += 1
    assert y.tolist() == [1.0]
    assert x.tolist() == [2.0]


def test_results_do_not_alias_the_users_arrays() -> None:
    x = np.zeros((2, 2))
    functions = (fj.positive, fj.real, fj.conj, fj.squeeze, fj.flip, fj.stop_gradient, fj.clip)
    results = [function(x) for function in functions]
    results += [fj.reshape(x, (2, 2)), fj.broadcast_to(x, (2, 2)), fj.permute_dims(x, (0, 1))]
    results += [fj.astype(x, x.dtype), fj.concat([x]), fj.constant(x)[...], fj.tile(x, 1)]
    x[...] = 1
    assert all(not r.numpy().any() for r in results)
    assert all(not r.numpy().flags.writeable for r in results)


def test_gradients_of_products_with_zeros() -> None:
    check_gradients(
        lambda x: fj.prod(x, axis=1), np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 3.0]])
    )
    check_gradients(lambda x: fj.cumulative_prod(x), np.array([2.0, 0.0, 3.0, 0.0, 5.0, 7.0]))
    check_gradients(lambda x: fj.prod(x, axis=(0, 2)), np.arange(8.0).reshape(2, 2, 2))


def test_ties_share_the_gradient() -> None:
    grad = fj.gradients_function(lambda x: fj.max(x))
    assert grad([3.0, 1.0, 3.0])[0].tolist() == [0.5, 0.0, 0.5]
    both = fj.gradients_function(fj.maximum)(1.0, 1.0)
    assert [g.item() for g in both] == [0.5, 0.5]


def test_gradients_of_complex_transforms(rng: np.random.Generator) -> None:
    z = rng.normal(size=4) + 1j * rng.normal(size=4)
    check_gradients(lambda z: fj.fft.fft(z) * fj.conj(z), z)
    check_gradients(lambda z: fj.abs(fj.fft.ifft(z)) ** 2, z)
    check_gradients(lambda x: fj.fft.irfft(fj.fft.rfft(x) ** 2, n=5), z.real)
