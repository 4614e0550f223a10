"""Guards that read what a plan rounds otherwise than eager execution: a few recordings, no more."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.capture import calls
from fusejit.capture.paths import MAX_REPEATS
from fusejit.capture.record import record
from fusejit.capture.trace import Trace
from fusejit.ir.graph import GUARD
from tests.capture.helpers import one_eager_warning
from tests.modes import needs_replays


@pytest.fixture
def rounded_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What float() reads eagerly is never what a plan computes there."""

    def other(*args: Any) -> Any:
        recording = record(*args)
        assert isinstance(recording.outcome, Trace)
        for node in recording.outcome.program.recorded.nodes:
            if node.op is GUARD and node.params["how"] == "float":
                node.params["expected"] = np.float32(0.5).tobytes()
        return recording

    needs_replays()
    monkeypatch.setattr(calls, "record", other)


@pytest.mark.usefixtures("rounded_otherwise")
def test_a_value_that_a_plan_rounds_otherwise_is_not_recorded_again_and_again() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return x * float(x)

    with one_eager_warning() as texts:
        for _ in range(20):
            f(fj.constant(3.0))
    assert f.num_traces == 1 + MAX_REPEATS and len(f._calls.traces) == 1
    assert "float() reads at test_unsteady.py:" in texts[0] and "Instead: " in texts[0]


@pytest.mark.usefixtures("rounded_otherwise")
def test_what_other_values_decide_is_still_recorded() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return x * float(x) if x > 0 else -x

    with one_eager_warning():
        for _ in range(20):
            f(fj.constant(3.0))
    traces = f.num_traces
    for value in (-1.0, -2.0, -3.0):
        assert float(f(fj.constant(value))) == -value
    assert f.num_traces == traces + 1


def test_the_sum_of_a_gradient_as_a_python_number(rng: np.random.Generator) -> None:
    """Replays regroup it; what a call returns is of one execution, rounded one way or the other."""

    def norm(w: Any, xs: list[Any]) -> Any:
        with fj.GradientTape() as tape:
            tape.watch(w)
            h = xs[0]
            for x in xs:
                h = fj.tanh(h @ w + x)
            loss = fj.sum(h * h)
        gradient = tape.gradient(loss, w)
        total = fj.sum(gradient * gradient)
        return float(total), total

    f = fj.function(norm)
    calls = [
        [fj.asarray(0.3 * rng.standard_normal((8, 8)).astype(np.float32)) for _ in range(5)]
        for _ in range(8)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        for w, *xs in calls:
            for _ in range(12):
                number, total = f(w, xs)
                assert number == float(total)
                np.testing.assert_allclose(number, f.eager(w, xs)[0], rtol=1e-5)
    assert f.num_traces <= len(calls) + 2 * MAX_REPEATS
