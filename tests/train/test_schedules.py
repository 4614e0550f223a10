"""Schedules: their formulas, PyTorch's, and replays while the rate changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit import train

CASES: dict[str, tuple[train.Schedule, Callable[[int], float]]] = {
    "constant": (train.Constant(0.3), lambda n: 0.3),
    "step": (train.StepDecay(1.0, 4, 0.5), lambda n: 0.5 ** (n // 4)),
    "exponential": (train.ExponentialDecay(1.0, 4, 0.5), lambda n: 0.5 ** (n / 4)),
    "cosine": (
        train.CosineDecay(1.0, 10, 0.1),
        lambda n: 0.1 + 0.9 * (1 + math.cos(math.pi * min(n / 10, 1))) / 2,
    ),
    "warm-up": (train.WarmUp(5, 0.5), lambda n: 0.5 * min((n + 1) / 5, 1)),
    "warm-up, then step": (
        train.WarmUp(3, train.StepDecay(1.0, 2)),
        lambda n: (n + 1) / 3 if n < 3 else 0.1 ** ((n - 3) // 2),
    ),
    "piecewise": (train.Piecewise([3, 6], [1.0, 0.5, 0.1]), lambda n: [1.0, 0.5, 0.1][n // 3]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_schedule_is_its_formula(name: str) -> None:
    schedule, formula = CASES[name]
    for n in range(9):
        found = schedule.rate(fj.constant(float(n), dtype="float64"))
        assert found.dtype == np.float64 and found.shape == ()
        assert float(found) == pytest.approx(formula(n), rel=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_a_decorated_step_follows_it_without_a_new_recording(name: str) -> None:
    schedule, formula = CASES[name]
    optimizer = train.GradientDescentOptimizer(schedule)
    w = fj.Variable(0.0, dtype="float64")

    @fj.function
    def step(g: Any) -> None:
        optimizer.apply_gradients([(g, w)])

    expected = 0.0
    for n in range(9):
        step(fj.constant(-1.0, dtype="float64"))
        expected += formula(n)
        assert float(w) == pytest.approx(expected, rel=1e-13)
    assert step.num_traces == 1


def test_what_a_schedule_was_made_with_can_be_set() -> None:
    schedule = train.CosineDecay(1.0, 10)
    optimizer = train.GradientDescentOptimizer(schedule)
    w = fj.Variable(0.0)
    step = fj.function(lambda: optimizer.apply_gradients([(fj.constant(1.0), w)]))
    step()
    schedule.initial = 0.0
    with fj.no_recompile():
        before = float(w)
        step()
        assert float(w) == before


def test_a_schedule_may_replace_a_number_and_the_other_way_round() -> None:
    optimizer = train.GradientDescentOptimizer(0.5)
    optimizer.learning_rate = train.Constant(0.25)
    assert float(optimizer.rate()) == 0.25
    optimizer.learning_rate = 0.125
    assert float(optimizer.rate()) == 0.125


def test_rates_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    schedulers = torch.optim.lr_scheduler
    pairs = [
        (train.StepDecay(0.5, 3, 0.1), lambda o: schedulers.StepLR(o, 3, 0.1)),
        (train.ExponentialDecay(0.5, 1, 0.9), lambda o: schedulers.ExponentialLR(o, 0.9)),
        (train.CosineDecay(0.5, 8, 0.1), lambda o: schedulers.CosineAnnealingLR(o, 8, 0.1)),
    ]
    for ours, make in pairs:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        scheduler = make(optimizer)
        for n in range(8):
            rate = float(ours.rate(fj.constant(float(n), dtype="float64")))
            assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: train.Piecewise([1], [1.0]), "one rate more than boundaries, got 1 rates and 1"),
        (lambda: train.Piecewise([2, 1], [1.0] * 3), "expected boundaries that grow"),
        (lambda: train.StepDecay(1.0, 0), "expected every > 0, got 0"),
        (lambda: train.WarmUp(0, 1.0), "expected steps > 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(fj.FuseJitError, match=message):
        make()
