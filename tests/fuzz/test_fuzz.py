"""A short, fixed run of the fuzzer (`make fuzz` is a longer one), and whether it would notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import minimal, script
from tests.fuzz.programs import program
from tests.fuzz.worker import Worker

CHUNKS, PROGRAMS = 8, 50

WRONG = """\
import numpy as np
import fusejit as fj
v0 = fj.Variable(np.ones(()), name='v0')
INPUTS = [('float32', (3,), 'normal')]
calls = []


def f(x0):
    t0 = fj.exp(x0)
    t1 = t0 + float(t0.shape[0])
    t2 = {}
    return t0, t1, t2,
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker()
    yield started
    started.close()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_programs(chunk: int, worker: Worker) -> None:
    for seed in range(chunk * PROGRAMS, (chunk + 1) * PROGRAMS):
        text = program(seed)
        problem = worker.check(text)
        if problem is not None:
            pytest.fail(script(*minimal(worker, text, problem)), pytrace=False)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(seed=st.integers(CHUNKS * PROGRAMS, 2**31))
def test_programs_that_nobody_chose(worker: Worker, seed: int) -> None:
    """Seeds far apart, drawn by hypothesis; the same at each run, so that CI is not a lottery."""
    text = program(seed)
    problem = worker.check(text)
    if problem is not None:
        pytest.fail(script(*minimal(worker, text, problem)), pytrace=False)


def test_a_crash_is_a_finding_and_the_search_goes_on(worker: Worker) -> None:
    text = WRONG.format("__import__('os').abort()")
    assert "died with status -6" in (worker.check(text) or "")
    assert worker.check(WRONG.format("t1")) is None


def test_other_numbers_at_each_call_are_a_finding(worker: Worker) -> None:
    text = WRONG.format("t1 * float(__import__('time').perf_counter_ns() % 1000003)")
    problem = worker.check(text)
    assert problem is not None
    smaller, _ = minimal(worker, text, problem)
    assert len(smaller.splitlines()) < len(text.splitlines())
    compile(script(smaller, problem), "found.py", "exec")


def test_programs_are_the_same_for_the_same_seed() -> None:
    assert program(7) == program(7) != program(8)
