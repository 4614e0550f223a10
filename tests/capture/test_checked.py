"""FUSEJIT_CHECK=1: what eager execution would have done differently is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit import passes
from fusejit.config import config
from fusejit.ir.builder import rewrite
from fusejit.op import Op
from tests.capture.helpers import X, same


@pytest.fixture(autouse=True)
def check_mode() -> Iterator[None]:
    with config.override(check=True):
        yield


def replacing(monkeypatch: pytest.MonkeyPatch, old: Op, new: Op) -> None:
    """Plant a bug: the pipeline takes one op for another."""

    def wrong(graph: Any) -> Any:
        return rewrite(
            graph,
            lambda n, i, b, _: b.add(new, i, {}, None, n.where) if n.op is old else None,
            "after a bug",
        )

    monkeypatch.setattr(passes, "PIPELINE", (wrong, *passes.PIPELINE))


def test_what_agrees_goes_through_with_eager_effects_once() -> None:
    count = fj.Variable(0.0)

    @fj.function
    def f(x: Any) -> Any:
        count.assign_add(1.0)
        noise = fj.random.normal((3,))
        if fj.sum(x * x * x) > 0:
            return {"y": fj.tanh(x @ fj.eye(3)) + noise, "count": count + 0.0}, 1
        return fj.nn.softmax(x) * 0.0, None, count

    f = fj.function(f.eager)
    for turn in range(1, 8):
        fj.random.seed(turn)
        x = X * (-1.0) ** turn
        found = f(x)
        assert float(count) == 2 * turn - 1
        fj.random.seed(turn)
        assert same(found, f.eager(x)) or turn % 2
    assert f.num_traces == 2


def test_a_wrong_kernel_is_named_with_line_and_element(monkeypatch: pytest.MonkeyPatch) -> None:
    replacing(monkeypatch, fj.tanh, fj.sin)

    @fj.function
    def f(x: Any) -> Any:
        y = fj.exp(x)
        return fj.tanh(y) + 1.0

    f(X)
    with pytest.raises(fj.CheckError) as caught:
        f(X)
    text = str(caught.value)
    assert text.startswith("f: tanh (test_checked.py:")
    assert "element [0] is 0.41" in text and "fused, 0.99" in text and "ulp apart" in text


def test_a_wrong_product_is_no_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    replacing(monkeypatch, fj.negative, fj.tanh)

    @fj.function
    def f(x: Any) -> Any:
        return -(x @ x)

    x = fj.asarray(np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32))
    f(x)
    with pytest.raises(fj.CheckError, match=r"negative \(test_checked.py:\d+\): element \[0, 0\]"):
        f(x)


def test_variables_are_compared_and_left_as_eager_leaves_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replacing(monkeypatch, fj.exp, fj.sin)
    state = fj.Variable([3.0])

    @fj.function
    def f() -> Any:
        state.assign(fj.exp(state))

    f()
    with pytest.raises(fj.CheckError, match="exp"):
        f()
    assert same(state + 0.0, fj.exp(fj.exp(fj.constant([3.0]))))


class Two:
    """Without weak references: that its class is assigned is what no guard sees."""

    __slots__ = ()
    scale = 2.0


class Three:
    __slots__ = ()
    scale = 3.0


def test_a_change_that_no_guard_sees_is_found() -> None:
    holder = Two()

    @fj.function
    def f(x: Any) -> Any:
        return x * holder.scale

    assert same(f(X), f.eager(X)) and same(f(X), f.eager(X))
    holder.__class__ = Three  # type: ignore[assignment]
    with pytest.raises(fj.CheckError, match=r"multiply \[2.0\].*multiply \[3.0\]"):
        f(X)


def test_an_exception_that_a_replay_skips_is_found() -> None:
    holder = Two()

    @fj.function
    def f(x: Any) -> Any:
        return x * holder.scale

    f(X)
    f(X)
    holder.__class__ = type("Bare", (), {"__slots__": ()})
    with pytest.raises(fj.CheckError, match=r"raises AttributeError.*its replay went through"):
        f(X)


def test_an_effect_that_a_replay_skips_is_found() -> None:
    class Counting:
        __slots__ = ()
        calls = 0

        @property
        def scale(self) -> float:
            Counting.calls += 1
            return 2.0

    holder: Any = Two()

    @fj.function
    def f(x: Any) -> Any:
        return x * holder.scale

    f(X)
    f(X)
    holder.__class__ = Counting
    with pytest.raises(fj.CheckError, match=r"skips what the call does: .*calls"):
        f(X)


def test_a_path_that_ends_differently_is_found() -> None:
    holder = Two()

    @fj.function
    def f(x: Any) -> Any:
        y = x * 2.0
        return y if holder.scale == 2.0 else fj.exp(y)

    f(X)
    f(X)
    holder.__class__ = Three  # type: ignore[assignment]
    with pytest.raises(fj.CheckError, match=r"only the call now goes on with exp \(test_checked"):
        f(X)


def test_gradients_and_tapes_work_in_check_mode() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return fj.sum(fj.tanh(x) * x)

    gradient = fj.gradients_function(f)
    for _ in range(3):
        assert same(gradient(X), fj.gradients_function(f.eager)(X))
        with fj.GradientTape() as tape:
            tape.watch(X)
            y = f(X)
        np.testing.assert_allclose(tape.gradient(y, X).numpy(), gradient(X)[0].numpy(), rtol=1e-6)


def test_one_tensor_that_was_two_is_no_difference() -> None:
    class Holder:
        w = X

    holder = Holder()

    @fj.function
    def f(x: Any) -> Any:
        return fj.tanh(x * holder.w)

    y = X * 2.0
    f(y)
    f(y)
    holder.w = y
    assert same(f(y), f.eager(y))
    assert same(f(y), f.eager(y))
