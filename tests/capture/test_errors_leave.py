"""When a call raises: the error, its traceback, Variables and random state are those of eager."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fusejit as fj
from tests.capture.helpers import same

GOOD = fj.constant([[2.0, 0.0], [0.0, 2.0]])
BAD = fj.constant([[-2.0, 0.0], [0.0, -2.0]])
ORDER = (BAD, GOOD, BAD, GOOD, GOOD, BAD, BAD, GOOD, BAD)
"""An error in the first call, after a recording, after replays, and twice in a row."""

Body = Callable[[Any], Any]
Make = Callable[[fj.Variable], Body]


class TooCold(Exception):
    def __init__(self, degrees: float, where: str) -> None:
        super().__init__(degrees, where)
        self.degrees = degrees


@fj.function
def checked_root(x: Any) -> Any:
    if fj.sum(x) < 0.0:
        raise TooCold(float(fj.sum(x)), "here")
    return fj.sqrt(x)


def on_a_value(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        v.assign_add(fj.random.normal((2, 2)))
        if fj.sum(x) < 0.0:
            raise ValueError(f"negative: {float(fj.sum(x + v))}")
        v.assign_add(x)
        return x * v

    return body


def in_an_op_that_runs_in_a_replay(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        v.assign_add(fj.random.uniform((2, 2)))
        root = fj.linalg.cholesky(x)
        v.assign_sub(root)
        return root + v

    return body


def in_an_op_after_a_branch(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        v.assign_add(x)
        if fj.sum(x) < 0.0:
            v.assign(v * 2.0)
            x = fj.concat([x, x])
        v.assign(v + 1.0)
        return x + fj.ones((2, 2))

    return body


def in_a_callee(v: fj.Variable) -> Body:
    def check(x: Any) -> None:
        v.assign_add(x)
        if not fj.all(x >= 0.0):
            raise AssertionError("what comes in is negative")

    def body(x: Any) -> Any:
        y = fj.random.normal((2, 2))
        check(x)
        return x + y

    return body


def in_a_decorated_callee(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        v.assign_add(x)
        return checked_root(x) * v

    return body


def from_another_error(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        v.assign_add(x)
        try:
            return checked_root(x)
        except TooCold as error:
            v.assign_add(x)
            raise RuntimeError(f"at {error.degrees}") from error

    return body


def through_finally(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        try:
            return checked_root(x) * v
        finally:
            v.assign_add(x + fj.random.normal((2, 2)))

    return body


def through_a_context_manager(v: fj.Variable) -> Body:
    @contextlib.contextmanager
    def counted() -> Iterator[None]:
        v.assign_add(1.0)
        try:
            yield
        finally:
            v.assign(v * 0.5)

    def body(x: Any) -> Any:
        with counted():
            return checked_root(x) * v

    return body


def caught_and_raised_later(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        with contextlib.suppress(TooCold):
            x = checked_root(x)
        v.assign_add(x)
        names = {"positive": x}
        return names["positive" if fj.sum(x) > 0.0 else "negative"] * v

    return body


def in_plain_python(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        v.assign_add(x)
        number = int(fj.sum(x))
        parts = [x] * (8 // (number + 4))
        v.assign_sub(1.0)
        return parts[0] * v

    return body


def in_a_gradient(v: fj.Variable) -> Body:
    def loss(x: Any) -> Any:
        return fj.sum(checked_root(x) * v)

    def body(x: Any) -> Any:
        v.assign_add(x)
        (slope,) = fj.gradients_function(loss)(x)
        v.assign_sub(slope)
        return slope

    return body


def that_is_no_exception(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        v.assign_add(x)
        if fj.sum(x) < 0.0:
            raise KeyboardInterrupt
        return x * v

    return body


def of_an_iteration(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        v.assign_add(x)
        return next(iter([x * v] if fj.sum(x) > 0.0 else []))

    return body


def in_an_assignment(v: fj.Variable) -> Body:
    def body(x: Any) -> Any:
        v.assign_add(x)
        v.assign(x if fj.sum(x) > 0.0 else fj.concat([x, x]))
        return v * 2.0

    return body


MAKERS: list[Make] = [
    on_a_value,
    in_an_op_that_runs_in_a_replay,
    in_an_op_after_a_branch,
    in_a_callee,
    in_a_decorated_callee,
    from_another_error,
    through_finally,
    through_a_context_manager,
    caught_and_raised_later,
    in_plain_python,
    in_a_gradient,
    that_is_no_exception,
    of_an_iteration,
    in_an_assignment,
]


def chain(error: BaseException | None) -> list[Any]:
    """Type, arguments and text of an error and of what it came from, with the lines of ours."""
    if error is None:
        return []
    stack = traceback.extract_tb(error.__traceback__)
    lines = [(f.name, f.lineno) for f in stack if f.filename == __file__ and f.name != "follow"]
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [(type(error), str(error), repr(error.args), lines), *chain(behind)]


def follow(function: Body, state: fj.Variable) -> list[Any]:
    """What each call gives or raises, and the state after it."""
    fj.random.seed(3)
    seen = []
    for x in ORDER:
        try:
            found: Any = function(x)
        except (Exception, KeyboardInterrupt) as error:
            found = chain(error)
            assert x is BAD
        seen.append((found, state.read(), fj.random.state.read()))
    return seen


def compare(found: list[Any], expected: list[Any]) -> None:
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        (result, *states), (wanted, *states_wanted) = one, other
        if isinstance(wanted, list):
            assert result == wanted, number
        else:
            assert same(result, wanted), number
        assert same(states, states_wanted), number


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__.replace("_", " "))
def test_an_error_leaves_what_eager_leaves(make: Make) -> None:
    eager_state, state = fj.Variable(fj.ones((2, 2))), fj.Variable(fj.ones((2, 2)))
    expected = follow(make(eager_state), eager_state)
    assert any(isinstance(found, list) for found, *_ in expected)
    f = fj.function(make(state))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(follow(f, state), expected)
    assert f.num_traces == 1, "what returns replays, and what raises is not kept"


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__.replace("_", " "))
def test_an_error_under_a_tape_leaves_what_eager_leaves(make: Make) -> None:
    def taped(body: Body, state: fj.Variable) -> Body:
        def call(x: Any) -> Any:
            with fj.GradientTape() as tape:
                tape.watch(x)
                result = body(x)
            return result, tape.gradient(result, [x])

        return call

    eager_state, state = fj.Variable(fj.ones((2, 2))), fj.Variable(fj.ones((2, 2)))
    expected = follow(taped(make(eager_state), eager_state), eager_state)
    found = follow(taped(fj.function(make(state)), state), state)
    for (result, *_), (wanted, *_) in zip(found, expected, strict=True):
        if isinstance(wanted, list):
            assert result == wanted
    compare([step[1:] for step in map(list, found)], [step[1:] for step in map(list, expected)])
