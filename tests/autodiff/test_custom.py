"""Functions that bring their own gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit import dispatch
from fusejit.autodiff.custom import CustomGradient
from fusejit.op import OPS, Op
from fusejit.testing import check_gradients


@fj.custom_gradient
def log1pexp(x: Any) -> Any:
    """log(1 + exp(x))."""
    e = fj.exp(x)
    return fj.log(1 + e), lambda dy: dy * (1 - 1 / (1 + e))


def test_the_given_gradient_is_used() -> None:
    tenfold = fj.custom_gradient(lambda x: (x * 2.0, lambda dy: dy * 10.0))
    value, (gradient,) = fj.value_and_gradients_function(lambda x: tenfold(x) * 3.0)(1.0)
    assert (float(value), float(gradient)) == (6.0, 30.0)


def test_without_a_tape_it_is_the_function() -> None:
    assert float(log1pexp(0.0)) == pytest.approx(np.log(2.0))
    assert (log1pexp.__name__, log1pexp.__doc__) == ("log1pexp", "log(1 + exp(x)).")


def test_it_can_be_differentiated_again_through_the_closure() -> None:
    check_gradients(log1pexp, np.array([-1.0, 0.0, 2.0]), order=3)
    second = fj.gradients_function(lambda x: fj.gradients_function(log1pexp)(x)[0])
    assert float(second(0.0)[0]) == 0.25


def test_the_body_receives_no_gradient() -> None:
    x = fj.constant(2.0)
    with fj.GradientTape() as tape:
        tape.watch(x)
        y = fj.custom_gradient(lambda a: (a * a, lambda dy: None))(x) + x
    assert float(tape.gradient(y, x)) == 1.0


def test_several_arguments_and_results() -> None:
    @fj.custom_gradient
    def f(pair: dict[str, Any], n: int, c: Any) -> Any:
        def grad(du: Any, dv: Any) -> Any:
            return {"a": du * 2.0, "b": dv * 3.0}, None, du + dv

        return (pair["a"] + c, {"v": pair["b"] * n}), grad

    def loss(pair: dict[str, Any], c: Any) -> Any:
        u, rest = f(pair, 4, c)
        return u * 10.0 + rest["v"] * 100.0

    pair, c = fj.gradients_function(loss)({"a": 1.0, "b": np.float32(2.0)}, 5.0)
    assert (float(pair["a"]), float(pair["b"]), float(c)) == (20.0, 300.0, 110.0)


def test_one_result_of_several_may_be_unused() -> None:
    f = fj.custom_gradient(lambda x: ((x, x * 2.0), lambda da, db: da * 7.0 + db * 5.0))
    assert float(fj.gradients_function(lambda x: f(x)[1])(1.0)[0]) == 5.0


def test_a_variable_is_an_argument_like_any_other() -> None:
    w = fj.Variable(3.0, name="w")
    f = fj.custom_gradient(lambda v: (v * v, lambda dy: dy * -1.0))
    assert float(fj.implicit_gradients(lambda: f(w))()[0][0]) == -1.0


def test_what_is_watched_but_no_argument_is_refused() -> None:
    w, x = fj.Variable(3.0, name="w"), fj.constant(2.0)
    reads = fj.custom_gradient(lambda a: (a * w, lambda dy: dy))
    closes_over = fj.custom_gradient(lambda a: (a * x, lambda dy: dy))
    returns = fj.custom_gradient(lambda a: (x, lambda dy: dy))
    assert float(reads(2.0)) == 6.0
    with fj.GradientTape() as tape:
        tape.watch(x)
        with pytest.raises(fj.GradientError, match="uses the Variable w"):
            reads(2.0)
        for f in (closes_over, returns):
            with pytest.raises(fj.GradientError, match=r"uses a Tensor f32\[\]"):
                f(1.0)
    assert list(dispatch.handlers()) == []


@pytest.mark.parametrize(
    ("grad", "message"),
    [
        (lambda dy: dy, "no list of gradients for 2 arguments"),
        (lambda dy: (dy, dy, dy), "3 gradients for 2 arguments"),
        (lambda dy: (dy, fj.sum(dy)), r"returned f32\[\] for an argument of f32\[2\]"),
    ],
)
def test_a_wrong_gradient_function_is_explained(grad: Any, message: str) -> None:
    f = fj.custom_gradient(lambda a, b: (a + b, grad))
    with pytest.raises(fj.GradientError, match=message):
        fj.gradients_function(f)(fj.ones((2,)), fj.ones((2,)))


def test_the_function_must_return_a_pair() -> None:
    with pytest.raises(fj.GradientError, match=r"must return \(value, grad_fn\), got Tensor"):
        fj.custom_gradient(lambda x: x)(1.0)


def test_handlers_see_one_op_that_is_in_no_registry() -> None:
    seen: list[tuple[Op, int]] = []

    class Recorder(dispatch.Handler):
        def apply(self, op: Op, inputs: tuple[fj.Tensor, ...], params: Mapping[str, Any]) -> Any:
            seen.append((op, len(inputs)))
            return self.below.apply(op, inputs, params)

    dispatch.under(Recorder(), lambda: log1pexp(fj.constant(1.0)))
    op, count = seen[-1]
    assert isinstance(op, CustomGradient)
    assert (op.values, count, callable(op.grad_fn)) == (1, 2, True)
    assert op.name not in OPS
