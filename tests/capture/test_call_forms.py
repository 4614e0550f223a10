"""More ways to make and to pass on a decorated function: each call does what Python does."""

from __future__ import annotations

import code
import copy
import dataclasses
import functools
import inspect
import pickle
import sys
import types
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

import fusejit as fj
from tests.capture.helpers import X, Y, follows, frames, same
from tests.modes import needs_replays

# ---- partials, wrappers, copies


@fj.function
def scaled(x: Any, by: Any, *, shift: Any = 0.0) -> Any:
    """x * by + shift"""
    return x * by + shift


def test_a_partial_of_a_decorated_function() -> None:
    double = functools.partial(scaled, by=2.0)
    shifted = functools.partial(functools.partial(scaled, shift=Y), X)
    for _ in range(3):
        assert same(double(X), X * 2.0 + 0.0)
        assert same(shifted(3.0), X * 3.0 + Y)
    traces = scaled.num_traces
    assert same(double(Y), Y * 2.0 + 0.0) and same(shifted(Y), X * Y + Y)
    assert scaled.num_traces == traces + 1, "by is a Tensor now, and nothing else is new"


def test_a_partial_of_a_decorated_function_inside() -> None:
    double = functools.partial(scaled, by=2.0)
    f = fj.function(lambda x: double(x) - double(x, shift=1.0))
    before = scaled.num_traces
    follows(f, [(X,), (Y,)], 1)
    assert scaled.num_traces == before


def test_a_partial_is_no_function() -> None:
    with pytest.raises(fj.CaptureError, match="got a partial; wrap it in a lambda"):
        fj.function(functools.partial(scaled.eager, by=2.0))


def test_a_bound_method_stays_bound() -> None:
    cell = Cell(X)
    f = fj.function(types.MethodType(Cell.step.eager, cell))
    for w in (X, X, Y):
        cell.w = w
        assert same(f(Y), f.eager(cell, Y))
    assert f.num_traces == 1 and f.__self__ is cell and fj.function(f) == f


def test_wrappers_above_and_below() -> None:
    def plus_one(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) + 1.0

        return wrapper

    @plus_one
    @fj.function
    def above(x: Any, by: Any = 2.0) -> Any:
        return x * by

    @fj.function
    @plus_one
    def below(x: Any, by: Any = 2.0) -> Any:
        return x * by

    for _ in range(3):
        for args in ((X,), (Y, 3.0), (X, Y)):
            assert same(above(*args), args[0] * (args[1:] or (2.0,))[0] + 1.0)
            assert same(below(*args), below.eager(*args))
    assert inspect.signature(below) == inspect.signature(above)
    assert below.__name__ == "below"


def test_a_copy_of_a_function_has_globals_of_its_own() -> None:
    def template(x: Any) -> Any:
        return x * k  # type: ignore[name-defined]  # noqa: F821

    spaces: list[dict[str, Any]] = [{"k": 2.0}, {"k": 3.0}]
    copies = [fj.function(types.FunctionType(template.__code__, space)) for space in spaces]
    for _ in range(2):
        for f, space in zip(copies, spaces, strict=True):
            assert same(f(X), X * space["k"])
    spaces[0]["k"] = 5.0
    assert [same(f(X), X * s["k"]) for f, s in zip(copies, spaces, strict=True)] == [True, True]
    assert [f.num_traces for f in copies] == [2, 1]


# ---- recursion and mutual calls


@fj.function
def even(x: Any, n: int) -> Any:
    return x if n == 0 else odd(x * 2.0, n - 1)


@fj.function
def odd(x: Any, n: int) -> Any:
    return x + 1.0 if n == 0 else even(x - 1.0, n - 1)


def test_mutual_recursion_is_one_plan() -> None:
    expected = {n: even.eager(X, n) for n in (0, 1, 4)}
    made = even.num_traces, odd.num_traces
    for _ in range(3):
        for n, result in expected.items():
            assert same(even(X, n), result)
    assert even.num_traces - made[0] == 3 and odd.num_traces == made[1]
    assert frames(lambda: even(X, 4)) == []


def test_recursion_over_nested_arguments() -> None:
    def body(tree: Any) -> Any:
        if isinstance(tree, dict):
            return sum(total(branch) for branch in tree.values())
        if isinstance(tree, (list, tuple)):
            return sum(total(branch) for branch in tree)
        return 0.0 if tree is None else tree * 1.0

    trees = [[X, (Y, None)], {"a": [X], "b": {"c": Y}}, [[[[X]]]], [Y, (X, None)]]
    total: Any = body
    expected = [body(tree) for tree in trees]
    total = fj.function(body)
    for _ in range(3):
        for tree, result in zip(trees, expected, strict=True):
            assert same(total(tree), result)
    assert total.num_traces == 3, "the last is the first with other Tensors"


# ---- methods


class Cell:
    def __init__(self, w: Any) -> None:
        self.w = w

    @fj.function
    def step(self, x: Any) -> Any:
        return fj.tanh(x * self.w)

    @property
    @fj.function
    def doubled(self) -> Any:
        return self.w * 2.0

    @fj.function
    def __matmul__(self, x: Any) -> Any:
        return self.w - x


@dataclasses.dataclass(frozen=True)
class Affine:
    scale: float
    shift: Any

    @fj.function
    def __call__(self, x: Any) -> Any:
        return x * self.scale + self.shift


class Slotted:
    __slots__ = ("w",)

    def __init__(self, w: Any) -> None:
        self.w = w

    @fj.function
    def step(self, x: Any) -> Any:
        return x - self.w


def test_properties_operators_and_special_methods() -> None:
    cells = Cell(X), Cell(Y)
    for _ in range(3):
        for cell in cells:
            assert same(cell.doubled, cell.w * 2.0) and same(cell @ X, cell.w - X)
            assert same(cell.step(Y), fj.tanh(Y * cell.w))
    cells[0].w = Y
    assert same(cells[0].doubled, Y * 2.0) and same(cells[0] @ X, Y - X)


@pytest.mark.parametrize("make", [lambda w: Affine(2.0, w), Slotted], ids=["frozen", "slots"])
def test_methods_of_dataclasses_and_of_slots(make: Any) -> None:
    things = make(X), make(Y)
    for _ in range(3):
        for thing in things:
            call = thing if callable(thing) else thing.step
            expected = type(call.__self__).step.eager(thing, Y) if thing is not call else None
            assert same(call(Y), expected if expected is not None else Y * 2.0 + thing.shift)


def test_bound_methods_passed_on() -> None:
    cells = Cell(X), Cell(Y)
    apply = fj.function(lambda step, x: step(x) + 1.0)
    for _ in range(3):
        for cell in cells:
            assert same(apply(cell.step, Y), fj.tanh(Y * cell.w) + 1.0)
        assert same(list(map(cells[0].step, [X, Y])), [fj.tanh(X * X), fj.tanh(Y * X)])


def test_methods_of_instances_that_were_copied() -> None:
    cell = Cell(X)
    for other in (copy.copy(cell), copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert same(other.step(Y), cell.step(Y))
        other.w = Y
        assert same(other.step(Y), fj.tanh(Y * Y)) and same(cell.step(Y), fj.tanh(Y * X))


# ---- a REPL, other processes


def test_functions_typed_at_a_prompt() -> None:
    space: dict[str, Any] = {"fj": fj, "x": X}
    shell = code.InteractiveInterpreter(space)
    for line in (
        "k = 2.0",
        "f = fj.function(lambda x: x * k)",
        "a = [f(x), f(x)]",
        "k = 3.0",
        "b = [f(x), f(x)]",
        "@fj.function\ndef f(x):\n    return x - k\n",
        "c = [f(x), f(x)]",
    ):
        assert shell.runsource(line, symbol="exec") is False
    assert same(space["a"], [X * 2.0] * 2) and same(space["b"], [X * 3.0] * 2)
    assert same(space["c"], [X - 3.0] * 2) and space["f"].num_traces == 1


def step_of(cell: Cell, x: Any) -> Any:
    return cell.step(x)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_methods_and_partials_in_other_processes(method: str) -> None:
    cell, double = Cell(X), functools.partial(scaled, by=2.0)
    expected = [cell.step(Y), double(Y)]
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        found = [pool.submit(cell.step, Y), pool.submit(double, Y), pool.submit(step_of, cell, Y)]
        results = [future.result(timeout=60) for future in found]
    assert same(results, [*expected, expected[0]])


def test_what_cannot_be_pickled_says_so() -> None:
    local = fj.function(lambda x: x * 2.0)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(local)


# ---- what the object shows


def test_signatures_of_methods_and_partials() -> None:
    assert str(inspect.signature(Cell(X).step)) == "(x: 'Any') -> 'Any'"
    assert list(inspect.signature(functools.partial(scaled, by=2.0)).parameters) == [
        "x",
        "by",
        "shift",
    ]
    assert scaled.__doc__ == "x * by + shift" and scaled.__module__ == __name__
    assert inspect.unwrap(scaled) is scaled.eager and inspect.getsource(scaled).startswith("@fj")
    assert scaled.__qualname__ == "scaled" and scaled.__annotations__["by"] == "Any"
    assert Cell.step.__qualname__ == "Cell.step"


def test_references_are_given_back() -> None:
    f = fj.function(lambda x, rest: x * rest["by"][0])
    value, arguments = fj.constant(2.0), {"by": [fj.constant(2.0)]}
    arguments["by"][0] = value
    for _ in range(3):
        f(X, arguments)
    needs_replays()  # a call that is observed leaves cycles
    before = sys.getrefcount(value), sys.getrefcount(arguments)
    for _ in range(100):
        f(X, arguments)
    assert (sys.getrefcount(value), sys.getrefcount(arguments)) == before
