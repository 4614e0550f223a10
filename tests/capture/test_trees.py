"""Trace trees: where values decide, known paths run natively and new ones branch off."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.capture import paths
from fusejit.capture.paths import Stop
from fusejit.capture.trace import Trace
from tests.capture.helpers import X, follows, one_eager_warning, same
from tests.capture.trees import in_one_tree, no_body_runs, trees
from tests.collecting import collect


def collatz(a: Any) -> int:
    steps = 0
    while not fj.equal(a, 1):
        a = a // 2 if fj.equal(a % 2, 0) else 3 * a + 1
        steps += 1
    return steps


def newton(a: Any) -> Any:
    x = a
    while fj.abs(x * x - a) > 1e-6 * a:
        x = 0.5 * (x + a / x)
    return x


WEIGHTS = fj.asarray(np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32) * 0.3)


def early_exit(h: Any) -> Any:
    for step in range(12):
        h = fj.tanh(h @ WEIGHTS)
        if fj.sum(fj.abs(h)) < 2.0:
            return h, step
    return h, 12


def absolute(x: Any) -> Any:
    return x * 2.0 if x > 0 else -x


def states() -> list[Any]:
    random = np.random.default_rng(1)
    scales = (0.1, 0.3, 1.0, 4.0, 0.6)
    return [fj.asarray((random.standard_normal((2, 8)) * s).astype(np.float32)) for s in scales]


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        (collatz, [fj.constant(n) for n in (12, 7, 1, 6, 27, 9, 12)]),
        (newton, [fj.constant(a) for a in (2.0, 3.0, 100.0, 1.0, 1e6)]),
        (early_exit, states()),
        (absolute, [fj.constant(v) for v in (1.0, -2.0, 0.0, float("nan"))]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_path_is_recorded_once_and_then_runs_natively(
    body: Any, arguments: list[Any]
) -> None:
    f = fj.function(body)
    for argument in arguments:
        assert same(f(argument), f.eager(argument))
    recorded = f.num_traces
    assert 1 < recorded <= len(arguments)
    assert in_one_tree(f, recorded)
    expected = [f.eager(argument) for argument in arguments]
    for _ in range(3):
        with no_body_runs(f):
            found = [f(argument) for argument in arguments]
        assert same(found, expected)
    assert f.num_traces == recorded


def test_a_branch_takes_over_what_is_computed() -> None:
    @fj.function
    def f(x: Any) -> Any:
        large = x @ x
        return large + 1.0 if fj.sum(large) > 0 else large - 1.0

    quarter_turn = fj.constant([[0.0, 1.0], [-1.0, 0.0]])
    follows(f, [(fj.ones((2, 2)),), (quarter_turn,)], 2)
    (branch,) = (trace.branch for trace in f._calls.traces if trace.branch is not None)
    assert "matmul" not in str(branch.program.recorded), "the product is not computed again"
    assert len(branch.carried) == 1


def test_what_lived_in_registers_is_computed_again() -> None:
    @fj.function
    def f(x: Any) -> Any:
        squares = x * x + 3.0
        return squares + 1.0 if fj.sum(squares) > 50.0 else fj.sqrt(squares)

    follows(f, [(X,), (X * 3.0,)], 2)
    (branch,) = (trace.branch for trace in f._calls.traces if trace.branch is not None)
    assert [value.type.shape for value in branch.program.recorded.inputs] == [(3,)]


def test_a_value_of_the_stopped_plan_that_is_returned_is_a_copy() -> None:
    @fj.function
    def f(x: Any) -> Any:
        y = x @ x
        return (y, y + 1.0) if fj.sum(y) > 0 else (y, y)

    a, b = fj.ones((3, 3)), -fj.ones((3, 3)) @ fj.constant(np.diag([1.0, -1.0, 0.0]).astype("f"))
    follows(f, [(a,), (b,)], 2)
    first = f(b)
    kept = first[0].numpy().copy()
    for _ in range(5):
        f(a * 7.0)
        f(b * 5.0)
    assert (first[0].numpy() == kept).all(), "no later call overwrites an earlier result"


def test_a_branch_off_a_branch_carries_from_both() -> None:
    @fj.function
    def f(x: Any) -> Any:
        one = x @ x
        if fj.sum(one) > 0:
            return one
        two = one @ x
        if fj.sum(two) > 0:
            return one + two
        three = two @ x
        if fj.sum(three) > 0:
            return one + two + three
        return three - two

    flips = [np.diag(d).astype("f") for d in ([1, 1], [-1, 2], [-2, 1], [1, -3])]
    calls = [(fj.asarray(s * (a @ b)),) for s in (1, -1) for a in flips for b in flips]
    for _ in range(2):
        for args in calls:
            assert same(f(*args), f.eager(*args))
    assert in_one_tree(f, f.num_traces)


def test_a_branch_that_reads_more_of_the_world_checks_that_too() -> None:
    world = {"high": 2.0, "low": 3.0}

    @fj.function
    def f(x: Any) -> Any:
        return x * world["high"] if x > 0 else x * world["low"]

    positive, negative = fj.constant(1.0), fj.constant(-1.0)
    follows(f, [(positive,), (negative,)], 2)
    world["low"] = 5.0
    follows(f, [(positive,), (negative,)], f.num_traces + f.num_traces)
    world["high"] = 7.0
    for _ in range(2):
        assert same(f(positive), f.eager(positive)) and same(f(negative), f.eager(negative))


def test_paths_of_another_shape_are_another_tree() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return x * 2.0 if fj.sum(x) > 0 else -x

    small, large = fj.ones(3), fj.ones(5)
    follows(f, [(small,), (-small,), (large,), (-large,)], 4)
    assert sorted(map(len, trees(f))) == [2, 2]


def test_a_guard_that_a_new_path_lacks_makes_it_a_root() -> None:
    flag = {"first": True}

    @fj.function
    def f(x: Any) -> Any:
        if flag["first"] and fj.sum(x) > 100.0:
            return x
        return x * 2.0 if x[0] > 0 else -x

    follows(f, [(X,), (-X,)], 2)
    flag["first"] = False
    for _ in range(2):
        assert same(f(X), f.eager(X)) and same(f(-X), f.eager(-X))
    assert len(trees(f)) == 2


def test_more_branches_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MAX_BRANCHES", 5)

    @fj.function
    def f(x: Any, n: Any) -> Any:
        return x * int(n)

    for n in range(6):
        assert same(f(X, fj.constant(n)), f.eager(X, fj.constant(n)))
    assert f.num_traces == 6
    with one_eager_warning() as texts:
        for n in range(20):
            assert same(f(X, fj.constant(n)), f.eager(X, fj.constant(n)))
    assert "test_trees.py" in texts[0] and "branches" in texts[0]
    assert f.num_traces == 6, "nothing more is recorded"
    with no_body_runs(f):  # what is known still runs natively
        for n in range(6):
            f(X, fj.constant(n))
    assert same(f(fj.ones(4), fj.constant(0)), fj.zeros(4)), "nor is another shape affected"
    assert f.num_traces == 7


def test_a_new_path_is_logged_with_the_values(caplog: pytest.LogCaptureFixture) -> None:
    f = fj.function(lambda x, n: x * int(n))
    with caplog.at_level(logging.INFO, "fusejit"):
        f(X, fj.constant(3))
        f(X, fj.constant(5))
        f(X, fj.constant(8))
    assert "int() reads at test_trees.py" in caplog.messages[1]
    assert "was 3, now 5" in caplog.messages[1]
    assert "was 3, 5, now 8" in caplog.messages[2]
    with fj.no_recompile(), pytest.raises(fj.RecompileError, match="now 9"):
        f(X, fj.constant(9))


def test_finding_a_path_changes_nothing() -> None:
    total = fj.Variable(0.0)

    @fj.function
    def f(x: Any) -> Any:
        total.assign_add(x)
        return total * 2.0 if x > 0 else total

    for value in (1.0, -1.0):
        f(fj.constant(value))
    before = float(total)
    found = f._calls.paths.find((fj.constant(-3.0),))
    assert isinstance(found, Trace) and found.branch is not None
    unseen = f._calls.paths.find((X,))
    assert unseen is None
    assert float(total) == before


def test_a_stop_says_where_and_what() -> None:
    @fj.function
    def f(x: Any, n: Any) -> Any:
        return x * int(n)

    f(X, fj.constant(1))
    stop = f._calls.paths.find((X, fj.constant(4)))
    assert isinstance(stop, Stop)
    assert np.frombuffer(stop.seen, np.int64) == [4]
    assert stop.where.startswith("test_trees.py")


def test_eight_threads_branch_at_the_same_time() -> None:
    f = fj.function(collatz)
    numbers = list(range(1, 25))
    expected = [collatz(fj.constant(n)) for n in numbers]
    cases = list(zip(numbers, expected, strict=True))
    wrong: list[Any] = []
    barrier = threading.Barrier(8)

    def work(shift: int) -> None:
        barrier.wait()
        for n, steps in [*cases[shift:], *cases[:shift]]:
            if f(fj.constant(n)) != steps:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert [f(fj.constant(n)) for n in numbers] == expected


def test_trees_go_with_their_function() -> None:
    f = fj.function(absolute)
    for value in (1.0, -1.0):
        f(fj.constant(value))
    gone = [weakref.ref(trace) for trace in f._calls.traces]
    del f
    collect()
    assert [ref() for ref in gone] == [None, None]
    g = fj.function(absolute)
    for value in (1.0, -1.0):
        g(fj.constant(value))
    fj.clear_caches()
    assert not g._calls.traces
    follows(g, [(fj.constant(1.0),), (fj.constant(-1.0),)], 4)
