"""A taped call computes the gradients of what tapes watch, and nothing for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import fusejit as fj
from fusejit.capture import gradient
from fusejit.passes import dce
from tests.capture.helpers import close
from tests.passes.graphs import arrays

X, W, V = arrays((4, 3), (3, 5), (5, 2))


def network(x: Any, w: Any, v: Any) -> Any:
    hidden = fj.tanh(x @ w)
    return hidden @ v, fj.sum(hidden * hidden)


def gradients(f: Any, sources: Sequence[int], results: Sequence[int] = (0, 1)) -> Any:
    args = (X, W, V)
    with fj.GradientTape() as tape:
        tape.watch([args[i] for i in sources])
        found = f(*args)
    return tape.gradient([found[i] for i in results], [args[i] for i in sources])


@pytest.fixture
def backwards(monkeypatch: pytest.MonkeyPatch) -> list[gradient.Joint]:
    """The joints that are recorded during a test."""
    made: list[gradient.Joint] = []
    original = gradient.joint

    def recorded(*args: Any) -> gradient.Joint:
        made.append(original(*args))
        return made[-1]

    monkeypatch.setattr(gradient, "joint", recorded)
    return made


def products(joint: gradient.Joint) -> int:
    """Matrix products of the backward part that are of use."""
    forward = set(joint.graph.nodes[: joint.forward_nodes])
    return sum(n.op.name == "matmul" and n not in forward for n in dce(joint.graph).nodes)


@pytest.mark.parametrize(
    ("sources", "expected"), [([0], 2), ([1], 2), ([2], 1), ([1, 2], 3), ([0, 1, 2], 4)]
)
def test_unwatched_inputs_get_no_gradient(
    sources: list[int], expected: int, backwards: list[gradient.Joint]
) -> None:
    f = fj.function(network)
    f(X, W, V)
    for _ in range(3):
        close(gradients(f, sources), gradients(network, sources))
    (joint,) = backwards
    assert products(joint) == expected
    assert [g is not None for g in joint.gradients] == [i in sources for i in range(3)]


def test_each_set_of_inputs_and_of_results_has_its_own(backwards: list[gradient.Joint]) -> None:
    f = fj.function(network)
    f(X, W, V)
    for sources in ([0], [1, 2], [0, 1, 2], [1]):
        for results in ([0, 1], [1], [0]):
            close(gradients(f, sources, results), gradients(network, sources, results))
    # One serves the forward and the first backward; that of fewer results takes another.
    assert len(backwards) == 4 * 3
    assert f.num_traces == 1


def test_what_any_of_several_tapes_watches_has_a_gradient() -> None:
    f = fj.function(network)
    f(X, W, V)

    def nested(f: Any) -> Any:
        with fj.GradientTape() as outer, fj.GradientTape() as inner:
            outer.watch(X)
            inner.watch(W)
            found = f(X, W, V)[0]
        return outer.gradient(found, [X, W]), inner.gradient(found, [X, W])

    close(nested(f), nested(network))


def test_second_gradients_of_what_the_first_was_not_asked_for() -> None:
    """d/dx of d/dw: the outer tape watches x only, of which the inner one knows nothing."""
    f = fj.function(network)
    f(X, W, V)

    def mixed(f: Any) -> Any:
        with fj.GradientTape() as outer:
            outer.watch(X)
            with fj.GradientTape() as inner:
                inner.watch(W)
                found = f(X, W, V)
            (first,) = inner.gradient(list(found), [W])
            total = fj.sum(first * first)
        return first, outer.gradient(total, [X])

    for _ in range(3):
        close(mixed(f), mixed(network))


def test_a_tape_that_records_its_own_playback() -> None:
    f = fj.function(network)
    f(X, W, V)

    def twice(f: Any) -> Any:
        with fj.GradientTape(persistent=True) as tape:
            tape.watch(W)
            found = f(X, W, V)
            (first,) = tape.gradient(list(found), [W])
            total = fj.sum(first * first)
        return tape.gradient(total, [W])

    for _ in range(2):
        close(twice(f), twice(network))
