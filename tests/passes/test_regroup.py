"""Sums of products become one product: what is joined, what is left, equal results."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fusejit as fj
from fusejit.backends.lower import work_of
from fusejit.ir.graph import Graph
from fusejit.ir.interpreter import interpret
from fusejit.op import Assembly
from fusejit.passes import fuse, regroup
from tests.passes.graphs import arrays, names, recorded, text


def cell(x: Any, h: Any, w: Any, u: Any, b: Any) -> Any:
    return fj.tanh(x @ w + h @ u + b)


def last_state(xs: Any, h: Any, w: Any, u: Any, b: Any) -> Any:
    for t in range(xs.shape[0]):
        h = cell(xs[t], h, w, u, b)
    return fj.sum(h * h)


def weight_gradients(*args: Any) -> Any:
    return fj.gradients_function(last_state, [2, 3, 4])(*args)


def unrolled(steps: int, batch: int = 2, hidden: int = 8) -> list[fj.Tensor]:
    return arrays((steps, batch, 3), (batch, hidden), (3, hidden), (hidden, hidden), (hidden,))


def products(graph: Graph) -> int:
    return names(graph).count("matmul")


def test_gradients_of_an_unrolled_loop(golden: Callable[[str, str], None]) -> None:
    golden(
        "passes/regroup/unrolled", text(recorded(weight_gradients, *unrolled(3), stage="regroup"))
    )


@pytest.mark.parametrize("steps", [2, 5, 9])
def test_each_weight_takes_one_product(steps: int) -> None:
    before = recorded(weight_gradients, *unrolled(steps), stage="dce")
    after = recorded(weight_gradients, *unrolled(steps), stage="regroup")
    assert products(before) - products(after) == 2 * (steps - 1)
    assert names(before).count("sum") - names(after).count("sum") == steps - 1
    assert names(after).count("concat") == 2  # what arrives at each step, and the states


def test_joining_takes_no_kernels() -> None:
    """Loops write into the joined arrays; only the initial state, an input, is copied there."""
    graph = recorded(weight_gradients, *unrolled(5), stage="fuse")
    assert names(graph).count("concat") == 2
    copying = [node for node in work_of(graph)[0] if isinstance(node.op, Assembly)]
    assert len(copying) == 1
    assert copying[0].inputs[0] in graph.inputs


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_results_are_those_of_eager_execution(steps: int) -> None:
    args = unrolled(steps)
    f = fj.function(weight_gradients)
    for _ in range(3):
        for got, expected in zip(f(*args), weight_gradients(*args), strict=True):
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=2e-5, atol=2e-6)
    assert f.num_traces == 1


def test_a_value_in_several_places_is_stored_in_each() -> None:
    """The states are in the result and in the join for the weight; what arrives, in two joins."""

    def states(xs: Any, h: Any, w: Any, u: Any, b: Any) -> Any:
        def loss(w: Any, u: Any) -> Any:
            state, found = h, []
            for t in range(xs.shape[0]):
                state = cell(xs[t], state, w, u, b)
                found.append(state)
            joined = fj.concat(found, axis=1)
            return fj.sum(joined * joined), joined

        with fj.GradientTape() as tape:
            tape.watch((w, u))
            total, joined = loss(w, u)
        return joined, *tape.gradient(total, [w, u])

    args = unrolled(4)
    f = fj.function(states)
    for _ in range(2):
        for got, expected in zip(f(*args), states(*args), strict=True):
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=2e-5, atol=2e-6)
    copying = [n for n in work_of(f.graph(*args, stage="fuse"))[0] if isinstance(n.op, Assembly)]
    assert all(node.inputs[0] in f.graph(*args, stage="fuse").inputs for node in copying)


# ---- what is left alone


def test_operands_that_would_be_copied_at_a_loss_are_left() -> None:
    def forward(x: Any, h: Any, w: Any, u: Any) -> Any:
        return x @ w + h @ u

    graph = recorded(forward, *arrays((2, 3), (2, 4), (3, 8), (4, 8)), stage="regroup")
    assert names(graph) == ["matmul", "matmul", "add"]
    (note,) = graph.notes
    assert note.startswith("matmul | add (test_regroup.py:")
    # 2 passes over 6 + 8 + 24 + 32 floats, against 2 over the second product's 16.
    assert note.endswith("moves 560 bytes to save 128")


def test_large_joins_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    args = unrolled(3)
    before = recorded(weight_gradients, *args, stage="dce")
    module = importlib.import_module("fusejit.passes.regroup")
    monkeypatch.setattr(module, "MAX_JOINED", 100)
    after = regroup(before)
    assert names(after) == names(before)
    assert all("its operands together have more than 100 bytes" in note for note in after.notes)


def left_alone(f: Callable[..., Any], *args: Any) -> bool:
    before = recorded(f, *args, stage="dce")
    return names(regroup(before)) == names(before)


def test_what_is_used_elsewhere_is_no_term() -> None:
    a, b, c, d = arrays((8, 2), (2, 8), (8, 2), (2, 8))

    def shared(a: Any, b: Any, c: Any, d: Any) -> Any:
        product = fj.exp(a) @ fj.exp(b)
        return product + fj.exp(c) @ fj.exp(d), product

    def partial(a: Any, b: Any, c: Any, d: Any) -> Any:
        total = fj.exp(a) @ fj.exp(b) + fj.sin(c)[:, :1] * fj.sin(d)[:1]
        return total + fj.exp(c) @ fj.exp(d), total

    assert left_alone(shared, a, b, c, d)
    assert left_alone(partial, a, b, c, d)
    assert not left_alone(
        lambda a, b, c, d: fj.exp(a) @ fj.exp(b) + fj.exp(c) @ fj.exp(d), a, b, c, d
    )


def test_integers_batches_and_broadcasting_adds_are_left() -> None:
    i = fj.constant(np.arange(64).reshape(8, 8))
    assert left_alone(lambda i: (i + 1) @ (i + 2) + (i + 3) @ (i + 4), i)
    x, y = arrays((3, 8, 8), (1, 8))
    assert left_alone(lambda x: fj.exp(x) @ fj.sin(x) + fj.cos(x) @ fj.tan(x), x)
    assert left_alone(lambda y: fj.exp(y) @ fj.exp(y).T + fj.sin(y) @ fj.cos(y.T) + y, y)


def test_other_leaves_keep_their_order() -> None:
    def mixed(a: Any, b: Any, c: Any) -> Any:
        left = c + fj.exp(a) @ fj.exp(b)
        right = (fj.sin(a) @ fj.sin(b) - c) + fj.cos(c)
        return left + (right + fj.cos(a) @ fj.cos(b)) + fj.tan(a) @ fj.tan(b)

    a, b, c = arrays((8, 2), (2, 8), (8, 8), dtype="float64")
    graph = recorded(mixed, a, b, c, stage="regroup")
    # A product that is subtracted from is no leaf.
    assert products(graph) == 2
    before = recorded(mixed, a, b, c, stage="dce")
    assert_close(
        interpret(graph, [np.asarray(v) for v in (a, b, c)]),
        interpret(before, [np.asarray(v) for v in (a, b, c)]),
    )


# ---- equal results


def assert_close(got: list[Any], expected: list[Any]) -> None:
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


@st.composite
def sums(draw: st.DrawFn) -> Callable[..., Any]:
    """A sum, in any association, of products whose operands are transposed or not, and others."""
    forms = draw(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=2, max_size=7))
    picks = draw(st.lists(st.integers(0, 100), min_size=len(forms), max_size=len(forms)))

    def function(x: Any, y: Any) -> Any:
        parts = [term(number, form, x, y) for number, form in enumerate(forms)]
        for pick in picks[1:]:
            one = parts.pop(pick % len(parts))
            at = pick % len(parts)
            parts[at] = parts[at] + one
        return parts[0], parts[0] * 2.0

    return function


def term(number: int, form: tuple[int, int, int], x: Any, y: Any) -> Any:
    left, right, kind = form
    a, b = fj.sin(x * (number + 1.0)), fj.cos(y * (number + 1.0))
    if kind == 2 and left == 2:
        return fj.outer(a[:, 0], b[0]) if right else fj.exp(-((a @ b) ** 2))
    a = fj.tanh(a.T).T if left else a
    b = x[: y.shape[0], : y.shape[1]].T @ b if right == 2 and x.shape[0] >= y.shape[0] else b
    return a @ (fj.exp(b.T).T if right else b)


@given(function=sums(), k=st.integers(1, 4))
def test_any_sum_of_products(function: Callable[..., Any], k: int) -> None:
    x, y = arrays((6, k), (k, 6), dtype="float64")
    before = recorded(function, x, y, stage="dce")
    after = regroup(before)
    given_arrays = [np.asarray({"x": x, "y": y}[name]) for name in before.input_names]
    expected = interpret(before, given_arrays)
    assert_close(interpret(after, given_arrays), expected)
    assert_close(interpret(fuse(after), given_arrays), expected)
