"""Results of decorated functions: nested as they were, fresh, and the right objects."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import ARRAY, Mode, Pair, Point, X, Y, follows, one_eager_warning, same


@pytest.mark.parametrize(
    "body",
    [
        lambda x: None,
        lambda x: 3,
        lambda x: (x, None, 2.5, "text", True),
        lambda x: [x * 2.0, [x + 1.0, (x,)]],
        lambda x: {"b": x * 2.0, "a": x + 1.0},
        lambda x: Point(x * 2.0, x),
        lambda x: (),
        lambda x: [],
        lambda x: (x * 2.0,),
        lambda x: {"nested": [Point(x, {"k": x * 3.0})]},
        lambda x: fj.constant(2.0),
        lambda x: (fj.zeros(3), x),
        lambda x: x.shape,
        lambda x: x.dtype,
        lambda x: Mode.SHIFT,
        lambda x: float(len(x)),
        lambda x: x[1:],
        lambda x: x.reshape(3, 1).T,
        lambda x: fj.broadcast_to(x, (2, 3)),
    ],
)
def test_results(body: Any) -> None:
    follows(fj.function(body), [(X,), (Y,)], 1)


def test_a_dict_result_keeps_its_order() -> None:
    f = fj.function(lambda x: {"b": x, "a": x * 2.0, "c": 1})
    assert [list(f(X)) for _ in range(3)] == [["b", "a", "c"]] * 3


def test_an_argument_returned_as_it_is() -> None:
    f = fj.function(lambda x: x)
    g = fj.function(lambda x, y: (y, x * 2.0, x))
    for _ in range(3):
        assert f(X) is X and f(Y) is Y
        y, _, x = g(X, Y)
        assert x is X and y is Y


def test_strided_tensors_replay_wherever_they_are() -> None:
    holder = Pair(None, None)
    f = fj.function(lambda xs, y: (xs[0] * holder.left, y))
    for n in range(4):
        columns = fj.arange(6.0).reshape(2, 3).T + 0.0
        strided = fj.arange(6.0).reshape(2, 3).T
        holder.left = (columns * float(n)).T.T
        result, returned = f([strided], strided)
        assert returned is strided and same(result, strided * holder.left)
    assert f.num_traces == 1


def test_the_same_tensor_twice_in_a_result() -> None:
    def body(x: Any) -> Any:
        y = x * 2.0
        return y, y, x * 2.0

    f = fj.function(body)
    for _ in range(3):
        a, b, c = f(X)
        assert a is b and same(a, c)


def test_an_ndarray_argument_returned_as_it_is() -> None:
    f = fj.function(lambda x: x)
    with one_eager_warning():
        assert all(f(ARRAY) is ARRAY for _ in range(3))


def test_lists_of_ndarrays() -> None:
    f = fj.function(lambda a, b: fj.sum(fj.asarray([a, b])))
    g = fj.function(lambda pair: fj.sum(fj.asarray(pair)))
    with one_eager_warning():
        for _ in range(2):
            for a in (ARRAY, ARRAY + 1.0):
                assert same(f(a, ARRAY), f.eager(a, ARRAY))
                assert same(g([a, ARRAY]), g.eager([a, ARRAY]))


def test_a_list_that_is_kept_is_returned_as_itself() -> None:
    kept = [X, Y]

    @fj.function
    def f(x: Any) -> Any:
        return kept, x * 2.0

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        for _ in range(3):
            assert f(X)[0] is kept


def test_a_dataclass_as_a_result() -> None:
    f = fj.function(lambda x: Pair(x * 2.0, [x]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        for x in (X, Y, X):
            result = f(x)
            assert type(result) is Pair and same(result.left, x * 2.0) and result.right[0] is x


def test_results_are_fresh() -> None:
    f = fj.function(lambda x: (x * 2.0, x[1:], fj.zeros(3) + 1.0))
    first = f(X)
    before = [t.numpy().copy() for t in first]
    for _ in range(5):
        f(Y)
    assert all((t.numpy() == b).all() for t, b in zip(first, before, strict=True))
    assert not first[0].numpy().flags.writeable


@pytest.mark.parametrize(
    "body",
    [
        lambda a: fj.asarray(a),
        lambda a: fj.asarray(a)[1:],
        lambda a: fj.reshape(a, (3, 1)),
        lambda a: fj.asarray(a).T,
    ],
)
def test_results_do_not_share_memory_with_an_ndarray(body: Any) -> None:
    f = fj.function(body)
    for _ in range(3):
        array = ARRAY.copy()
        result = f(array)
        before = result.numpy().copy()
        array[:] = 7.0
        assert (result.numpy() == before).all()


def test_results_do_not_share_memory_with_a_variable() -> None:
    v = fj.Variable([1.0, 2.0, 3.0])
    f = fj.function(lambda: (v.read(), v[1:], v * 1.0))
    for n in range(3):
        results = f()
        before = [t.numpy().copy() for t in results]
        v.assign_add(fj.ones(3) * float(n + 1))
        assert all((t.numpy() == b).all() for t, b in zip(results, before, strict=True))


def test_read_only_and_strided_ndarrays() -> None:
    f = fj.function(lambda a: fj.exp(a) + 1.0)
    big = np.arange(12.0).reshape(3, 4)
    frozen = big.copy()
    frozen.flags.writeable = False
    for array in (big, big.T, big[:, ::2], frozen, big[::-1], np.asfortranarray(big)):
        for _ in range(2):
            assert same(f(array), f.eager(array))
