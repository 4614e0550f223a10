"""What a body asks of an ndarray argument, and does to it, while it is recorded and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import one_eager_warning, same


def add_in_place(a: Any) -> Any:
    a += 1.0
    return fj.exp(a)


def multiply_into_itself(a: Any) -> Any:
    np.multiply(a, 2.0, out=a)
    return fj.exp(a)


def add_where(a: Any) -> Any:
    np.add(a, 1.0, out=a, where=a > 0.0)
    return fj.exp(a)


def sum_into_itself(a: Any) -> Any:
    np.sum(a, axis=0, out=a[0])
    return fj.exp(a)


def joined(a: Any) -> Any:
    return fj.exp(fj.asarray(np.concatenate([a, a])))


def writeable(a: Any) -> Any:
    return fj.exp(a) * (2.0 if a.flags.writeable else 3.0)


def strides(a: Any) -> Any:
    return fj.exp(a) * float(a.strides[0])


def reshaped(a: Any) -> Any:
    a.shape = (a.size,)
    return fj.exp(a)


BODIES = [
    add_in_place, multiply_into_itself, add_where, sum_into_itself, joined, writeable, strides,
    reshaped,
]  # fmt: skip


def given(number: int) -> np.ndarray[Any, Any]:
    """Contiguous, then a part of each row."""
    array = np.arange(8, dtype=np.float32).reshape(2, 4) - 3.0
    return array if number % 2 == 0 else np.ascontiguousarray(array)[:, :2]


@pytest.mark.filterwarnings("ignore::fusejit.EagerWarning")
@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # NumPy 2.5
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_the_array_is_the_users_own(body: Callable[[Any], Any]) -> None:
    f = fj.function(body)
    for number in (0, 0, 2, 1, 1, 0):
        if body is reshaped and number == 1:
            continue  # such a part has no other shape
        mine, theirs = given(number), given(number)
        if body in (writeable, strides) and number == 2:
            mine.flags.writeable = theirs.flags.writeable = False
        assert same(f(mine), body(theirs))
        assert mine.shape == theirs.shape and same(fj.constant(mine), fj.constant(theirs))


def test_a_flag_set_inside_stays() -> None:
    def body(a: Any) -> Any:
        a.flags.writeable = False
        return fj.exp(a)

    with one_eager_warning():
        f = fj.function(body)
        for _ in range(3):
            array = given(0)
            f(array)
            assert not array.flags.writeable


@pytest.mark.parametrize(
    "part",
    [
        lambda a: a[1:],
        lambda a: a.T,
        lambda a: a.view(),
        lambda a: a.reshape(-1),
        lambda a: np.split(a, 2)[0],
        lambda a: a.copy(),
    ],
)
def test_a_part_that_is_returned_is_a_plain_ndarray(part: Callable[[Any], Any]) -> None:
    f = fj.function(lambda a: (part(a), fj.exp(a)))
    array = given(0)
    with one_eager_warning():
        for _ in range(3):
            found, expected = f(array)[0], part(array)
            assert type(found) is np.ndarray and found.base is expected.base
            assert np.array_equal(found, expected)
