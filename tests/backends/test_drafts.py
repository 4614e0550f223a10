"""Temporaries made in the memory of a result: when they are, and that it does not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends.base import Loop
from fusejit.backends.drafts import MIN_ROW, drafted
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.lower import lower
from fusejit.backends.plan import Plan, Role
from fusejit.backends.strips import form
from tests.backends.plans import outputs
from tests.passes.graphs import arrays, recorded

ROWS = (40, MIN_ROW + 1)


def plan_of(function: Callable[..., Any], *args: Any, reuse: bool = True) -> Plan:
    return lower(recorded(function, *args, stage="fuse"), reuse=reuse)


def in_place(plan: Plan) -> int:
    """How many loops write an output where they read it."""
    return sum(
        step.operands[-1].slot in {o.slot for o in step.operands[:-1]}
        and plan.slots[step.operands[-1].slot].role is Role.OUTPUT
        for step in plan.steps
        if isinstance(step.code, Loop)
    )


def softmax(x: Any) -> Any:
    return fj.nn.softmax(x)


def normalized(x: Any) -> Any:
    y = fj.exp(x)
    return y / fj.sum(y, axis=1, keepdims=True), fj.nn.log_softmax(x)


def hidden_layer(x: Any, w: Any) -> Any:
    return fj.nn.relu(x @ w)


def read_once_more(x: Any) -> Any:
    """The exponentials are needed when the first quotient has been written."""
    y = fj.exp(x)
    total = fj.sum(y, axis=1, keepdims=True)
    z = y / total
    return z, fj.sum(fj.flip(y, axis=1) * z, axis=1), fj.flip(y, axis=1) - total


def returned(x: Any) -> Any:
    y = fj.exp(x)
    return y, y / fj.sum(y, axis=1, keepdims=True)


def elsewhere(x: Any) -> Any:
    y = fj.exp(x)
    return fj.flip(y, axis=1) / fj.sum(y, axis=1, keepdims=True)


def widened(x: Any) -> Any:
    y = fj.exp(x)
    return fj.astype(y / fj.sum(y, axis=1, keepdims=True), fj.float64)


DRAFTS: list[tuple[Callable[..., Any], list[Any], int]] = [
    (softmax, arrays(ROWS), 1),
    (softmax, arrays((3, 5, MIN_ROW)), 1),
    (normalized, arrays(ROWS), 2),
    (hidden_layer, arrays((64, 32), (32, MIN_ROW)), 1),
    (softmax, arrays((40, MIN_ROW - 1)), 0),
    (read_once_more, arrays(ROWS), 0),
    (returned, arrays(ROWS), 0),
    (elsewhere, arrays(ROWS), 0),
    (widened, arrays(ROWS), 0),
]


@pytest.mark.parametrize(("function", "args", "count"), DRAFTS)
def test_drafts(function: Callable[..., Any], args: list[Any], count: int) -> None:
    plan, apart = plan_of(function, *args), plan_of(function, *args, reuse=False)
    assert (in_place(plan), in_place(apart)) == (count, 0)
    given = [a.numpy() for a in args]
    found, expected = (outputs(load_plan(p), *given) for p in (plan, apart))
    assert [f.tobytes() for f in found] == [e.tobytes() for e in expected]


def test_with_threads_too() -> None:
    (x,) = arrays((1000, 1000))
    plan = plan_of(softmax, x)
    assert in_place(plan) == 1 and any(strip.threads for strip in plan.strips)
    (found,) = outputs(load_plan(plan), x.numpy())
    assert found.tobytes() == fj.nn.softmax(x).numpy().tobytes()


def test_what_is_spared_is_left_alone() -> None:
    """An output that may take an input's memory begins to be written as late as it can be."""
    plan = plan_of(softmax, *arrays(ROWS), reuse=False)
    formed = form(plan.slots, plan.steps)
    (output,) = plan.outputs
    assert drafted(formed, {output}) is formed
    moved = drafted(formed, ())
    assert sum(output in {o.slot for o in step.operands} for step in moved.steps) == 2
    assert {slot.role for slot, before in zip(moved.slots, formed.slots, strict=True)
            if slot != before} <= {Role.SCRATCH}  # fmt: skip


def test_nothing_is_left_of_a_draft_in_the_arena() -> None:
    small, large = (plan_of(softmax, *arrays((rows, 1000))) for rows in (4, 8))
    size = 4 * 1000 * np.float32().itemsize
    assert small.arena < size and large.arena < size
