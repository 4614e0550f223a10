"""Trace trees: Variables, random state, gradients and errors on every path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import X, same
from tests.capture.trees import in_one_tree


def test_assignments_of_all_paths_are_committed_at_their_end_only() -> None:
    total, count = fj.Variable(0.0), fj.Variable(0)

    @fj.function
    def f(x: Any) -> Any:
        total.assign_add(x)
        if total > 10.0:
            total.assign(0.0)
            count.assign_add(1)
        return total + 0.0

    expected, resets = np.float32(0.0), 0
    for value in (4.0, 3.0, 2.5, 1.0, 20.0, 3.0, 8.0) * 3:
        expected += np.float32(value)
        if expected > 10.0:
            expected, resets = np.float32(0.0), resets + 1
        assert float(f(fj.constant(value))) == expected
        assert float(total) == expected and int(count) == resets
    assert in_one_tree(f, 2)


def test_random_draws_go_on_in_order_on_every_path() -> None:
    @fj.function
    def f(x: Any) -> Any:
        noise = fj.random.normal((2,))
        return x + noise if fj.sum(noise) > 0 else x * noise + fj.random.uniform((2,))

    fj.random.seed(7)
    fused = [f(fj.ones(2)) for _ in range(20)]
    fj.random.seed(7)
    eager = [f.eager(fj.ones(2)) for _ in range(20)]
    assert same(fused, eager)
    assert in_one_tree(f, 2)


def test_gradients_follow_the_path_that_was_taken() -> None:
    @fj.function
    def f(x: Any) -> Any:
        y = x * x
        if fj.sum(y) > 10.0:
            return fj.sum(y * x)
        return fj.sum(fj.sin(y)) if fj.sum(x) > 0 else fj.sum(y)

    gradient, expected = fj.gradients_function(f), fj.gradients_function(f.eager)
    for _ in range(3):
        for scale in (0.1, 1.0, -1.0, 3.0, -0.5):
            np.testing.assert_allclose(
                gradient(X * scale)[0].numpy(), expected(X * scale)[0].numpy(), rtol=1e-6
            )
            with fj.GradientTape() as tape:
                x = X * scale
                tape.watch(x)
                y = f(x)
            np.testing.assert_allclose(
                tape.gradient(y, x).numpy(), expected(x)[0].numpy(), rtol=1e-6
            )


def test_an_error_on_a_branch_is_the_eager_error_with_the_eager_effects() -> None:
    seen = fj.Variable(0)

    @fj.function
    def f(x: Any, table: Any) -> Any:
        seen.assign_add(1)
        if x > 0:
            return table + 1.0
        raise KeyError(f"no {float(x)}")

    for value, count in ((1.0, 1), (-1.0, 2), (2.0, 3), (-1.0, 4)):
        if value < 0:
            with pytest.raises(KeyError, match="no -1"):
                f(fj.constant(value), X)
        else:
            f(fj.constant(value), X)
        assert int(seen) == count
    assert in_one_tree(f, 1)


def test_a_call_inside_a_property_that_a_branch_checks() -> None:
    class Model:
        @property
        def scale(self) -> float:
            if not inside:
                inside.append(1)
                if float(f(self, fj.constant(2.0))) != 2.0:
                    raise ValueError("the inner call is wrong")
                inside.clear()
            return 3.0

    inside: list[int] = []

    @fj.function
    def f(model: Any, x: Any) -> Any:
        return x if x > 0 else x * model.scale

    model = Model()
    for _ in range(3):
        assert float(f(model, fj.constant(1.0))) == 1.0
        assert float(f(model, fj.constant(-1.0))) == -3.0
