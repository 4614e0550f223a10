"""Stories (see `states`) are played in several worlds, and each must see what eager sees.

    eager         nothing is decorated
    fused         `function` is fusejit's
    check mode    the same under FUSEJIT_CHECK

A world has its own classes, objects and Variables, since the text is executed anew. After each call
it notes what came out, or what was raised, and everything that the names of the text then hold.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.config import config
from tests.fuzz.checks import Wrong

Decorator = Callable[[Callable[..., Any]], Any]
PARTS = ("what happens", "the result", "the state", "the result, much later")
DRIFT = 1e-4
"""How far gradients may be from eager's, relative to the largest element: a tape regroups sums,
whose terms may cancel."""


@dataclass(frozen=True)
class Near:
    """Arrays that agree up to rounding."""

    arrays: tuple[Any, ...]


@dataclass
class Event:
    """A call: its line, what happened, and what was seen."""

    line: int
    happened: str
    result: Any
    state: Any
    later: Any = None


class World:
    """Plays one story."""

    def __init__(self, decorator: Decorator) -> None:
        self.events: list[Event] = []
        self._results: list[Any] = []
        self._space: dict[str, Any] = {
            "__name__": "story", "function": decorator, "undecorated": undecorated, "leaf": leaf,
            "call": self.call, "thread": self.thread, "repeat": self.repeat,
            "gradient": self.gradient, "tape": self.tape, "implicit": self.implicit,
        }  # fmt: skip
        self._given = set(self._space)

    def play(self, code: Any) -> list[Event]:
        """Run the story; what happened."""
        fj.random.seed(0)
        with (
            config.override(num_threads=1, default_float="float32"),  # a story may set them
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", fj.EagerWarning)
            warnings.simplefilter("ignore", fj.RecompileWarning)
            try:
                exec(code, self._space)
            except Exception as error:
                self._note(0, f"the story raises {_described(error)}", None)
        for event, result in zip(self.events, self._results, strict=True):
            event.later = digest(result)
        return self.events

    def call(self, f: Any, *args: Any, **kwargs: Any) -> Any:
        return self._attempt(lambda: f(*args, **kwargs))

    def thread(self, f: Any, *args: Any, **kwargs: Any) -> None:
        line = sys._getframe(1).f_lineno
        run = threading.Thread(target=lambda: self._attempt(lambda: f(*args, **kwargs), line))
        run.start()
        run.join()

    def repeat(self, f: Any, *args: Any, **kwargs: Any) -> None:
        line = sys._getframe(1).f_lineno
        for _ in range(3):
            self._attempt(lambda: f(*args, **kwargs), line)

    def gradient(self, f: Any, a: Any, *args: Any, **kwargs: Any) -> None:
        """Of the sum of all results with respect to the first argument."""
        self._attempt(
            lambda: Near(tuple(fj.gradients_function(lambda x: _sum(f(x, *args, **kwargs)))(a)))
        )

    def implicit(self, f: Any, *args: Any, **kwargs: Any) -> None:
        """With respect to the Variables."""
        gradients = fj.implicit_gradients(lambda: _sum(f(*args, **kwargs)))
        self._attempt(lambda: Near(tuple(g for g, _ in gradients())))

    def tape(self, f: Any, a: Any, *args: Any, **kwargs: Any) -> None:
        """The result, and gradients through it and through what is done with it."""

        def differentiate() -> Any:
            with fj.GradientTape() as tape:
                x = fj.asarray(a) * 1.0
                tape.watch(x)
                result = f(x, *args, **kwargs)
                y = _sum(result) * 0.5
            found = tape.gradient(y, [x])
            return result, Near(tuple(g for g in found if g is not None))

        self._attempt(differentiate)

    def _attempt(self, act: Callable[[], Any], line: int = 0) -> Any:
        line = line or sys._getframe(2).f_lineno
        try:
            result = act()
        except Exception as error:
            self._note(line, f"raises {_described(error)}", None)
            return None
        self._note(line, "returns", result)
        return result

    def _note(self, line: int, happened: str, result: Any) -> None:
        names = [n for n in self._space if n not in self._given and not n.startswith("__")]
        state = {n: digest(self._space[n]) for n in names}
        state["the random state"] = digest(fj.random.state)
        self.events.append(Event(line, happened, digest(result), state))
        self._results.append(result)


def undecorated(f: Any) -> Any:
    return getattr(f, "eager", f)


def leaf(result: Any, otherwise: Any) -> Any:
    """A Tensor of a result, for another call."""
    found = [each for each in _leaves(result) if isinstance(each, fj.Tensor)]
    return found[0] if found else otherwise


def _sum(result: Any) -> Any:
    leaves = [x for x in _leaves(result) if isinstance(x, (fj.Tensor, fj.Variable))]
    floats = [fj.sum(x * 1.0) for x in leaves if x.dtype.kind == "f"]
    total = fj.constant(0.0)
    for each in floats:
        total = total + each
    return total


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def _described(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "RecursionError"  # how deep, and in what, is nobody's business
    return f"{type(error).__name__}: {error}"


def digest(value: Any) -> Any:
    """Data that is equal, by ==, for values that cannot be told apart."""
    kind = type(value).__name__
    if isinstance(value, Near):
        return Near(tuple(np.array(x.numpy()) for x in value.arrays))
    if isinstance(value, fj.Variable):
        return kind, digest(value._value)
    if isinstance(value, (fj.Tensor, np.ndarray, np.generic)):
        # An ndarray argument that a recorded body stores stays one that watches: a known limit.
        kind = "ndarray" if isinstance(value, np.ndarray) else kind
        array = np.asarray(value.numpy() if isinstance(value, fj.Tensor) else value)
        bits = np.where(array == array, array, np.nan) if array.dtype.kind == "f" else array
        return kind, str(array.dtype), array.shape, bits.astype(array.dtype).tobytes()
    if isinstance(value, float):
        return kind, "nan" if value != value else value.hex()
    if isinstance(value, (list, tuple)):
        return kind, [digest(each) for each in value]
    if isinstance(value, dict):
        return kind, [(name, digest(each)) for name, each in value.items()]
    if kind == "type":
        return [(n, digest(v)) for n, v in vars(value).items() if n[0] != "_" and not _code(v)]
    if _code(value):
        return str(getattr(value, "__name__", kind))
    return (kind, digest(vars(value))) if hasattr(value, "__dict__") else (kind, value)


def _code(value: Any) -> bool:
    """Whether this is no data; functions are seen by what they do."""
    return callable(value) or hasattr(type(value), "__get__") or isinstance(value, ModuleType)


def check_story(text: str) -> None:
    """Play a story in all worlds; Wrong if one sees something else than eager."""
    code = compile(text, "story.py", "exec")
    expected = World(lambda body: body).play(code)
    compare_events("eager, again,", text, World(lambda body: body).play(code), expected)
    for name, check in (("fused", False), ("check mode", True)):
        with config.override(check=check):
            found = World(fj.function).play(code)
        compare_events(name, text, found, expected)


def compare_events(
    name: str, text: str, found: Sequence[Event], expected: Sequence[Event], /
) -> None:
    """Wrong, with the line and what differs, at the first event that is not the same."""
    lines = ["the story", *text.splitlines()]
    for number, (one, other) in enumerate(zip(found, expected, strict=False)):
        where = f"event {number}, line {one.line}: {lines[one.line]}"
        pairs = zip(PARTS, _parts(one), _parts(other), strict=True)
        for part, a, b in pairs:
            if not _alike(a, b):
                shown = f"    {name}: {_shown(a, b)}\n    eager: {_shown(b, a)}"
                raise Wrong(f"{where}\n{shown}\n{name} differs from eager in {part}: see above")
    if len(found) != len(expected):
        raise Wrong(f"{name} has {len(found)} events, eager {len(expected)}")


def _parts(event: Event) -> tuple[Any, ...]:
    return event.happened, event.result, event.state, event.later


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Near) and isinstance(other, Near):
        return len(one.arrays) == len(other.arrays) and all(map(_near, one.arrays, other.arrays))
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)


def _near(one: Any, other: Any) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    finite = np.isfinite(other)
    if not finite.all():
        return True  # what overflows on the way depends on the order of sums
    largest = float(np.max(np.abs(other), initial=0.0))
    return bool(np.all(np.abs(one - other) <= DRIFT * largest))


def _shown(one: Any, other: Any) -> str:
    """The part of a digest that differs from another."""
    if type(one) is type(other) and isinstance(one, dict):
        names = [n for n in one if n not in other or not _alike(one[n], other[n])]
        return ", ".join(f"{n}: {_shown(one[n], other.get(n))}" for n in names)
    if type(one) is type(other) and isinstance(one, (list, tuple)) and len(one) == len(other):
        if len(one) == 4 and isinstance(one[3], bytes):
            values = np.frombuffer(one[3], one[1]) if one[1] != "object" else one[3]
            return f"{one[0]} {one[1]}{one[2]} {values}"
        found = [_shown(a, b) for a, b in zip(one, other, strict=True) if not _alike(a, b)]
        return "; ".join(found)
    return repr(one)
