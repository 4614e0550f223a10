"""Promotion is NumPy's, but that floats made of small integers are float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.dtypes import DTYPES

NAMES = list(DTYPES)
WEAK: list[Any] = [True, 3, 2.5, 1j]


@pytest.mark.parametrize("a", NAMES)
@pytest.mark.parametrize("b", NAMES)
def test_two_arrays(a: str, b: str) -> None:
    x, y = np.ones(2, a), np.ones(2, b)
    assert fj.add(x, y).dtype == np.result_type(a, b)
    assert fj.result_type(a, b) == np.result_type(a, b)
    assert fj.equal(x, y).dtype == np.dtype(bool)
    assert fj.concat([x, y]).dtype == np.result_type(a, b)
    assert (fj.constant(x) * y).dtype == (y * fj.constant(x)).dtype == np.result_type(a, b)


@pytest.mark.parametrize("a", NAMES)
@pytest.mark.parametrize("number", WEAK, ids=repr)
def test_an_array_and_a_python_number(a: str, number: Any) -> None:
    x = np.ones(2, a)
    wanted = np.result_type(x, number)
    assert fj.add(x, number).dtype == wanted
    assert (number + fj.constant(x)).dtype == wanted
    assert fj.where(x.astype(bool), x, number).dtype == wanted


@pytest.mark.parametrize("number", WEAK, ids=repr)
def test_a_number_alone_has_the_default_dtype(number: Any) -> None:
    wanted = {bool: "bool", int: "int64", float: "float32", complex: "complex64"}[type(number)]
    assert fj.constant(number).dtype == np.dtype(wanted)
    assert fj.add(number, number).dtype == np.dtype(wanted)


@pytest.mark.parametrize("a", NAMES)
def test_unary_float_functions(a: str) -> None:
    x = np.ones(2, a)
    wanted = np.dtype("float64") if x.dtype.kind in "biu" else x.dtype
    for function in (fj.sqrt, fj.exp, fj.sin, fj.log1p):
        assert function(x).dtype == wanted
    if x.dtype.kind in "biu" and a not in ("bool", "int8", "uint8", "int16", "uint16"):
        assert wanted == np.sqrt(x).dtype


@pytest.mark.parametrize("a", [n for n in NAMES if DTYPES[n].kind in "biuf"])
def test_reductions(a: str) -> None:
    x = np.ones((2, 2), a)
    assert fj.sum(x).dtype == np.sum(x).dtype
    assert fj.prod(x).dtype == np.prod(x).dtype
    assert fj.max(x).dtype == x.dtype
    assert fj.mean(x).dtype == np.mean(x).dtype
    assert fj.any(x).dtype == np.dtype(bool)
    assert fj.argmax(x).dtype == np.dtype("int64")
    assert fj.cumulative_sum(x, axis=0).dtype == np.cumsum(x, 0).dtype


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(fj.DTypeError, match="add: 300 does not fit uint8"):
        fj.add(np.ones(2, "uint8"), 300)


def test_default_float_is_a_setting() -> None:
    with fj.config.override(default_float="float64"):
        assert fj.constant(1.0).dtype == np.dtype("float64")
        assert fj.zeros(2).dtype == np.dtype("float64")
    assert fj.zeros(2).dtype == np.dtype("float32")


def test_questions_about_dtypes() -> None:
    assert fj.isdtype(fj.int8, "integral")
    assert fj.isdtype(fj.float32, ("bool", "real floating"))
    assert not fj.isdtype(fj.complex64, "real floating")
    assert fj.isdtype("float64", fj.float64)
    assert fj.can_cast(fj.int8, fj.float32)
    assert not fj.can_cast(fj.float64, fj.float32)
    assert fj.finfo(fj.float32).bits == 32
    assert fj.iinfo("int8").max == 127
    with pytest.raises(fj.DTypeError, match="finfo: expected a float dtype"):
        fj.finfo("int8")
    with pytest.raises(fj.DTypeError, match="iinfo: expected an integer dtype"):
        fj.iinfo("float32")
