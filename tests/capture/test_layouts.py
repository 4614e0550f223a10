"""Arrays that do not lie as native code walks them: each call copies them, and records no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import one_eager_warning, same


def unaligned(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray[Any, Any]:
    """An array one byte beyond where its elements are aligned."""
    values = np.arange(1.0, np.prod(shape) + 1.0).astype(dtype).reshape(shape)
    block = np.empty(values.nbytes + values.itemsize, np.uint8)
    start = (1 - block.ctypes.data) % values.itemsize
    array: np.ndarray[Any, Any] = block[start : start + values.nbytes].view(dtype).reshape(shape)
    array[...] = values
    assert not array.flags.aligned and array.flags.c_contiguous
    return array


def shared(array: np.ndarray[Any, Any]) -> Any:
    """A Tensor on the memory of `array`."""
    return fj.asarray(array, copy=False)


BODIES: list[Callable[[Any], Any]] = [
    lambda x: fj.exp(x),
    lambda x: -x,
    lambda x: fj.sum(fj.tanh(x), axis=0),
    lambda x: x @ x.T,
    lambda x: fj.sort(x, axis=-1) * 2.0,
    lambda x: (x[1:], x.reshape(-1), x.astype("float64")),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("body", BODIES)
def test_ops_on_unaligned_arrays(body: Callable[[Any], Any], dtype: str) -> None:
    array = unaligned((3, 4), dtype)
    expected = body(fj.asarray(array))
    assert same(body(shared(array)), expected)
    assert same(body(shared(array.T)), body(fj.asarray(array.T)))
    assert same(body(shared(array[:, ::2])), body(fj.asarray(array[:, ::2])))


@pytest.mark.parametrize("shape", [(), (1,), (1000,), (0, 3)])
def test_shapes_of_unaligned_arrays(shape: tuple[int, ...]) -> None:
    block = np.zeros(4 * int(np.prod(shape)) + 4, np.uint8)[1:]
    array = block[: 4 * int(np.prod(shape))].view("float32").reshape(shape)
    f = fj.function(lambda x: fj.exp(x) + fj.sum(x))
    for x in (array, shared(array)):
        assert same(fj.exp(x), fj.ones(shape, dtype="float32"))
        for _ in range(2):
            assert same(f(x), fj.ones(shape, dtype="float32"))


def test_a_shared_unaligned_array_is_not_copied() -> None:
    array = unaligned((4,))
    assert np.shares_memory(shared(array).numpy(), array)


@pytest.mark.parametrize("body", BODIES)
def test_unaligned_tensors_replay(body: Callable[[Any], Any]) -> None:
    f = fj.function(body)
    for _ in range(4):
        array = unaligned((3, 4))
        assert same(f(shared(array)), body(fj.asarray(array)))
    assert f.num_traces == 1


def test_unaligned_tensors_and_variables_that_are_reached_replay() -> None:
    tensor, variable = shared(unaligned((3,))), fj.Variable(shared(unaligned((3,))))
    f = fj.function(lambda x: fj.exp(x * tensor) + variable)
    expected = fj.exp(fj.ones(3) * fj.asarray(unaligned((3,)))) + fj.asarray(unaligned((3,)))
    for _ in range(4):
        assert same(f(fj.ones(3)), expected)
    assert f.num_traces == 1


LAYOUTS: dict[str, Any] = {
    "contiguous": lambda a: a.copy(),
    "turned": lambda a: a.T.copy().T,
    "sliced": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "repeated": lambda a: np.broadcast_to(a[:1], a.shape),
    "unaligned": lambda a: unaligned(a.shape),
}


@pytest.mark.parametrize("first", LAYOUTS)
def test_ndarray_arguments_of_every_layout_take_one_recording(first: str) -> None:
    f = fj.function(lambda x, y: fj.exp(x) * 2.0 + y)
    array = unaligned((3, 4))
    for lay in [LAYOUTS[first], *LAYOUTS.values()] * 2:
        given = lay(array)
        before = given.copy()
        assert same(f(given, array), fj.exp(fj.asarray(given)) * 2.0 + fj.asarray(array))
        assert same(f.eager(given, array), f(given, array)) and (given == before).all()
        array += 1.0
    assert f.num_traces == 1
    turned = LAYOUTS["turned"](array)
    assert "in 1 kernel" in f.explain(turned, array) and f.benchmark(turned, array) is not None


def test_one_strided_ndarray_for_two_parameters() -> None:
    f = fj.function(lambda x, y: fj.exp(x) if x is y else fj.exp(x) + y)
    one, other = (np.arange(6.0).reshape(2, 3).T + n for n in (0.0, 1.0))
    for _ in range(3):
        for args in [(one, other), (one, one), (other, one), (other, other)]:
            assert same(f(*args), f.eager(*args))


def test_strided_ndarrays_under_a_tape() -> None:
    w = fj.Variable(fj.ones((3, 4)))
    f = fj.function(lambda x: fj.sum(w * x))
    for _ in range(3):
        for lay in LAYOUTS.values():
            given = lay(unaligned((3, 4)))
            ((gradient, _),) = fj.implicit_gradients(lambda x: f(x))(given)
            assert same(gradient, fj.asarray(given))


@pytest.mark.parametrize(
    "body",
    [
        lambda x: fj.exp(x) * float(x.strides[0]),
        lambda x: fj.exp(x) * (2.0 if x.flags.c_contiguous else 3.0),
        lambda x: fj.exp(x) * (2.0 if x.base is None else 3.0),
    ],
)
def test_how_an_ndarray_lies_is_never_stale(body: Any) -> None:
    for order in (list(LAYOUTS), list(reversed(LAYOUTS))):
        f = fj.function(body)
        with one_eager_warning() as texts:
            for name in order * 2:
                given = LAYOUTS[name](unaligned((3, 4)))
                assert same(f(given), body(given)), name
        assert "of an ndarray argument" in texts[0], texts[0]


def test_an_unaligned_ndarray_that_is_reached() -> None:
    array = unaligned((3,))
    f = fj.function(lambda x: fj.exp(x * array))
    with one_eager_warning() as texts:
        for _ in range(4):
            array += 1.0
            assert same(f(fj.ones(3)), fj.exp(fj.asarray(array)))
    assert "ndarray" in texts[0], texts[0]


def test_gradients_at_an_unaligned_tensor() -> None:
    x = shared(unaligned((3, 4)))
    copied = fj.asarray(unaligned((3, 4)))
    for body in (lambda x: fj.sum(fj.tanh(x)), lambda x: fj.sum(x @ x.T)):
        expected = fj.gradients_function(body)(copied)
        assert same(fj.gradients_function(body)(x), expected)
        slope = fj.gradients_function(fj.function(body))
        for _ in range(3):
            np.testing.assert_allclose(slope(x)[0].numpy(), expected[0].numpy(), rtol=1e-5)
