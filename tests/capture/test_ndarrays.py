"""ndarray arguments: by reference where only ops read them, eager where Python looks inside."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import ARRAY, X, one_eager_warning, same

NDARRAY: dict[str, Any] = {
    "item": lambda a: a * float(a[0]) * fj.ones(3),
    "sum": lambda a: fj.ones(3) * float(a.sum()),
    "np.sum": lambda a: fj.ones(3) * float(np.sum(a)),
    "ufunc": lambda a: fj.exp(np.exp(a)),
    "compare": lambda a: fj.ones(3) if (a > 0).all() else fj.zeros(3),
    "iterate": lambda a: fj.ones(3) * float(sum(v for v in a)),
    "float": lambda a: fj.ones(3) * float(a[:1].item()),
    "tolist": lambda a: fj.ones(3) * a.tolist()[0],
    "memoryview": lambda a: fj.ones(3) * float(memoryview(a)[0]),
    "max": lambda a: fj.ones(3) * float(max(a)),
    "copy": lambda a: fj.exp(a.copy()),
    "array": lambda a: fj.exp(np.array(a)),
    "tobytes": lambda a: fj.ones(3) * float(len(a.tobytes()) + a.tobytes()[0]),
    "ascontiguousarray": lambda a: fj.exp(np.ascontiguousarray(a)),
    "asarray": lambda a: fj.ones(3) * float(np.asarray(a)[0]),
    "deepcopy": lambda a: fj.exp(copy.deepcopy(a)),
    "contains": lambda a: fj.ones(3) if 2.0 in a else fj.zeros(3),
    "dot": lambda a: fj.ones(3) * float(np.dot(a, a)),
    "einsum": lambda a: fj.ones(3) * float(np.einsum("i->", a)),
    "flat": lambda a: fj.ones(3) * float(a.flat[0]),
    "T": lambda a: fj.exp(a.T),
}


@pytest.mark.parametrize("name", NDARRAY)
def test_an_ndarray_argument_that_python_reads_is_never_stale(name: str) -> None:
    f = fj.function(NDARRAY[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        for array in (ARRAY, ARRAY + 1, ARRAY * 2, -ARRAY):
            for _ in range(2):
                assert same(f(array), f.eager(array)), name


def test_an_ndarray_argument_of_ops_replays() -> None:
    @fj.function
    def f(a: Any) -> Any:
        return fj.exp(a) * float(a.shape[0])

    for array in (ARRAY, ARRAY + 1.0, ARRAY * 2.0):
        assert same(f(array), f.eager(array))
    assert f.num_traces == 1


def test_an_ndarray_made_inside() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return x + np.arange(3, dtype="float32")

    with one_eager_warning() as texts:
        for _ in range(5):
            assert same(f(X), f.eager(X))
    assert "ndarray that is made during the call" in texts[0] or "numpy.arange" in texts[0]


def test_writing_into_an_ndarray_argument() -> None:
    @fj.function
    def f(a: Any) -> Any:
        a[0] = a[0] + 1.0
        return fj.exp(a)

    array = np.zeros(3, np.float32)
    with one_eager_warning():
        for n in range(1, 5):
            assert same(f(array), fj.exp(array))
            assert array[0] == n
