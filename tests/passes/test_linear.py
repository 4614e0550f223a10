"""Passes take time linear in the graph: an unrolled loop twice as long takes twice the calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import fusejit as fj
from fusejit.backends.lower import lower
from fusejit.capture.gradient import joint
from fusejit.ir.graph import Graph
from fusejit.passes import PIPELINE
from tests.passes.graphs import arrays, recorded

STEPS = (12, 24, 48)
BEFORE = dict(zip(PIPELINE, ("recorded", *(each.__name__ for each in PIPELINE)), strict=False))


def loss(xs: Any, h: Any, c: Any, w: Any, u: Any) -> Any:
    """Of an LSTM over a slice of `xs` at each step."""
    n = h.shape[1]
    total = fj.sum(h)
    for t in range(xs.shape[0]):
        z = xs[t] @ w + h @ u
        gates = fj.sigmoid(z[:, : 3 * n])
        c = gates[:, :n] * c + gates[:, n : 2 * n] * fj.tanh(z[:, 3 * n :])
        h = gates[:, 2 * n :] * fj.tanh(c)
        total = total + fj.sum(h * h)
    return total


def operands(steps: int) -> list[fj.Tensor]:
    return arrays((steps, 2, 3), (2, 4), (2, 4), (3, 16), (4, 16))


def calls(function: Callable[[], Any]) -> int:
    """How many functions, written in Python or in C, a call of `function` calls."""
    found = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    function()  # fills caches
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return found


def assert_linear(counts: list[int]) -> None:
    once, twice = counts[1] - counts[0], counts[2] - counts[1]
    assert twice == pytest.approx(2 * once, rel=0.05)


@pytest.fixture(scope="module")
def stages() -> list[Callable[[str], Graph]]:
    def gradients(*args: Any) -> Any:
        return fj.gradients_function(loss)(*args)

    def by_name(steps: int) -> Callable[[str], Graph]:
        args = operands(steps)
        function = fj.function(gradients)
        return lambda name: function.graph(*args, stage=name)

    return [by_name(steps) for steps in STEPS]


@pytest.mark.parametrize("each", PIPELINE, ids=lambda each: each.__name__)
def test_passes(each: Callable[[Graph], Graph], stages: list[Callable[[str], Graph]]) -> None:
    graphs = [stage(BEFORE[each]) for stage in stages]
    assert_linear([calls(lambda graph=graph: each(graph)) for graph in graphs])  # type: ignore[misc]


def test_lowering(stages: list[Callable[[str], Graph]]) -> None:
    graphs = [stage("fuse") for stage in stages]
    assert_linear([calls(lambda graph=graph: lower(graph)) for graph in graphs])  # type: ignore[misc]


def test_the_gradient_of_a_recording() -> None:
    graphs = [recorded(loss, *operands(steps)) for steps in STEPS]
    assert_linear(
        [calls(lambda graph=graph: joint(graph, (True,), (True,) * 5)) for graph in graphs]  # type: ignore[misc]
    )
