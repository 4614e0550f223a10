"""What changes at every call: named in one warning, unless it is a new size."""

from __future__ import annotations

import warnings

import fusejit as fj
from tests.capture.helpers import X, same


def test_a_value_that_always_changes_is_named_once() -> None:
    f = fj.function(lambda x, n: x * n)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(80):
            assert same(f(X, n), X * n)
    (warning,) = caught
    assert warning.category is fj.RecompileWarning and warning.filename == __file__
    assert "n was 31, now 32" in str(warning.message) and "Variable" in str(warning.message)


def test_a_changing_attribute_is_named() -> None:
    class Owner:
        step = 0

    owner = Owner()
    f = fj.function(lambda x: x * float(owner.step))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(40):
            owner.step = n
            assert same(f(X), X * float(n))
    (warning,) = caught
    assert ".step was 31, now 32" in str(warning.message)


def test_new_shapes_do_not_warn() -> None:
    f = fj.function(lambda x: x + 1.0)
    for n in range(1, 40):
        assert f(fj.ones(n)).shape == (n,)
