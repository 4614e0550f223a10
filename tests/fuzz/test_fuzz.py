"""A short, fixed run of the fuzzer (`make fuzz` is a longer one), and whether it would notice."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fusejit as fj
from tests.fuzz.__main__ import examine
from tests.fuzz.checks import Wrong
from tests.fuzz.programs import program
from tests.fuzz.script import minimal, script
from tests.fuzz.states import story
from tests.fuzz.worker import Worker
from tests.fuzz.worlds import World, compare_events

CHUNKS, PROGRAMS = 8, 50
STORIES = 20
drawn = functools.partial(
    settings, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

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

TWICE = """\
import fusejit as fj
ITEMS = [1.0, 2.0]
A0 = fj.constant([1.0, 2.0])


@function
def f(a, s=1.0):
    x = fj.asarray(a)
    if fj.sum(x) > 0:
        x = fj.tanh(x * ITEMS[1])
        x = fj.flip(x * s, axis=0)
    return x, {'x': x, 's': s}


def g(a, s):
    return f(a, s if undecorated(f) is f else s + 1)


call(f, A0)
ITEMS[1] = 3.0
call(f, A0, s=2.0)
call(g, A0, 2.0)
"""


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker()
    yield started
    started.close()


def agrees(worker: Worker, kind: str, seed: int) -> None:
    found = examine(worker, kind, seed)
    if found is not None:
        pytest.fail(found, pytrace=False)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_programs(chunk: int, worker: Worker) -> None:
    for seed in range(chunk * PROGRAMS, (chunk + 1) * PROGRAMS):
        agrees(worker, "program", seed)


def test_random_programs_in_several_threads(worker: Worker) -> None:
    for seed in range(PROGRAMS):
        agrees(worker, "threads", seed)


@drawn(max_examples=100)
@given(seed=st.integers(CHUNKS * PROGRAMS, 2**31))
def test_programs_that_nobody_chose(worker: Worker, seed: int) -> None:
    """Seeds far apart, drawn by hypothesis; the same at each run, so that CI is not a lottery."""
    agrees(worker, "program", seed)


@drawn(max_examples=STORIES)
@given(seed=st.integers(0, 2**31))
def test_stories_that_nobody_chose(worker: Worker, seed: int) -> None:
    agrees(worker, "story", seed)


def test_a_crash_is_a_finding_and_the_search_goes_on(worker: Worker) -> None:
    text = WRONG.format("__import__('os').abort()")
    assert "died with status -6" in (worker.check(text) or "")
    assert worker.check(WRONG.format("t1")) is None


def test_a_hang_is_a_finding() -> None:
    impatient = Worker(timeout=1.0)
    assert "hangs" in (impatient.check("while True:\n    pass\n", "story") or "")
    impatient.close()


def shrunk(worker: Worker, kind: str, text: str) -> str:
    problem = worker.check(text, kind)
    assert problem is not None
    found, told = minimal(lambda each: worker.check(each, kind), text, problem)
    compile(script(found, told, kind), "found.py", "exec")
    return found


def test_other_numbers_at_each_call_are_a_finding(worker: Worker) -> None:
    text = WRONG.format("t1 * float(__import__('time').perf_counter_ns() % 1000003)")
    assert len(shrunk(worker, "program", text).splitlines()) < len(text.splitlines())


def test_other_numbers_in_each_thread_are_a_finding(worker: Worker) -> None:
    text = WRONG.format("t1 * float(__import__('threading').get_ident() % 999983)")
    assert worker.check(WRONG.format("t1"), "threads") is None
    assert len(shrunk(worker, "threads", text).splitlines()) < len(text.splitlines())


def test_a_finding_in_a_story_is_cut_down(worker: Worker) -> None:
    found = shrunk(worker, "story", TWICE)
    assert "call(g, A0, 2.0)" in found
    assert "ITEMS" not in found and "tanh" not in found and "call(f" not in found


def stale(body: Callable[..., Any]) -> Callable[..., Any]:
    """The first answer for each number of arguments, for ever."""
    answers: dict[int, Any] = {}

    @functools.wraps(body)
    def replay(*args: Any, **kwargs: Any) -> Any:
        if len(args) not in answers:
            answers[len(args)] = body(*args, **kwargs)
        return answers[len(args)]

    return replay


def test_stale_answers_would_be_noticed() -> None:
    noticed = 0
    for seed in range(6):
        text = story(seed)
        code = compile(text, "story.py", "exec")
        expected = World(lambda body: body).play(code)
        compare_events("again", text, World(lambda body: body).play(code), expected)
        try:
            compare_events("stale", text, World(stale).play(code), expected)
        except Wrong:
            noticed += 1
    assert noticed >= 3


def test_most_calls_of_stories_are_replays() -> None:
    """Or nothing would be tested: what raises, or has effects on objects, runs eagerly."""
    made: list[Any] = []

    def function(body: Any) -> Any:
        made.append(fj.function(body))
        return made[-1]

    events = sum(len(World(function).play(compile(story(n), "", "exec"))) for n in range(20))
    recorded = sum(f.num_traces for f in made)
    assert 0 < recorded < events / 2


def test_programs_are_the_same_for_the_same_seed() -> None:
    assert program(7) == program(7) != program(8)
    assert story(7) == story(7) != story(8)
