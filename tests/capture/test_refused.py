"""What cannot be watched: the function says so and runs eagerly; what is not used does no harm."""

from __future__ import annotations

import collections
import functools
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import X, one_eager_warning, same


class Computes:
    def __getattr__(self, name: str) -> float:
        return 2.0 if name == "scale" else float("nan")


class Queue(collections.deque[float]):
    pass


REFUSED: dict[str, tuple[Any, Callable[[Any, Any], Any], str]] = {
    "set": ({1.0, 2.0}, lambda s, x: x * sum(s), "set"),
    "deque": (collections.deque([2.0]), lambda s, x: x * s[0], "deque"),
    "deque subclass": (Queue([2.0]), lambda s, x: x * s[0], "Queue"),
    "bytearray": (bytearray(b"ab"), lambda s, x: x * float(s[0]), "bytearray"),
    "iterator": (iter([1.0] * 99), lambda s, x: x * next(s), "list_iterator"),
    "__getattr__": (Computes(), lambda s, x: x * s.scale, "__getattr__"),
    "lru_cache": (
        functools.lru_cache(lambda v: v),
        lambda s, x: x * s(2.0),
        "cached function|<lambda>",
    ),
    "OrderedDict": (collections.OrderedDict(a=2.0), lambda s, x: x * s["a"], "OrderedDict"),
    "object keys": ({object(): 2.0}, lambda s, x: x * sum(s.values()), "key of type object"),
    "strided ndarray": (
        np.ones((3, 2), "float32").T,
        lambda s, x: x * s[0],
        "C-contiguous|made during",
    ),
    "masked array": (np.ma.masked_array([1.0, 2.0, 3.0]), lambda s, x: x * s[0], "MaskedArray"),
    "Generator": (np.random.default_rng(0), lambda s, x: x * s.random(), "Generator"),
    "weak reference": (__import__("weakref").ref(X), lambda s, x: s() * x, "ReferenceType|weakref"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_watched_runs_eagerly(name: str) -> None:
    state, body, reason = REFUSED[name]
    f = fj.function(lambda x: body(state, x))
    with one_eager_warning() as texts:
        for _ in range(3):
            f(X)
    assert re.search(reason, texts[0]), texts[0]


def test_what_is_not_reached_by_code_that_runs_does_no_harm() -> None:
    class Model:
        def __init__(self) -> None:
            self.scale = 2.0
            self.seen = {1, 2}
            self.rng = np.random.default_rng(0)
            self.model: Any = Computes()

        def log(self) -> None:
            print(self.seen, self.rng.normal(), self.model.scale)

        def __repr__(self) -> str:
            return repr(self.seen)

        @fj.function
        def call(self, x: Any) -> Any:
            if x.ndim > 5:
                self.log()
            return x * self.scale

    model = Model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.call(X)
    assert same(model.call(X), X * 2.0)
    assert Model.call.num_traces <= 2  # type: ignore[attr-defined]


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("FUSEJIT_OF_THE_TEST", "2.0")
    f = fj.function(lambda x: x * float(os.environ["FUSEJIT_OF_THE_TEST"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        assert same(f(X), X * 2.0) and same(f(X), X * 2.0)
        monkeypatch.setenv("FUSEJIT_OF_THE_TEST", "3.0")
        assert same(f(X), X * 3.0)


def test_a_logger_that_is_silent_and_then_is_not(caplog: pytest.LogCaptureFixture) -> None:
    import logging

    log = logging.getLogger("test_reach")

    @fj.function
    def f(x: Any) -> Any:
        log.debug("called")
        return x * 2.0

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        caplog.set_level(logging.INFO, "test_reach")
        f(X), f(X), f(X)
        caplog.set_level(logging.DEBUG, "test_reach")
        for n in range(1, 4):
            f(X)
            assert [r.message for r in caplog.records if r.name == "test_reach"] == ["called"] * n


def test_tensors_found_in_a_list() -> None:
    y = X + 1.0
    f = fj.function(lambda x, known: x * 2.0 if any(x is k for k in known) else x * 3.0)
    for args in [(X, [X]), (X, [y]), (y, [X, y]), (y, [y, X]), (X, [y, y])]:
        for _ in range(2):
            assert same(f(*args), f.eager(*args))


def test_math_functions_of_a_tensor_are_guarded() -> None:
    f = fj.function(lambda x: x * math.sqrt(fj.sum(x)) + math.floor(fj.max(x)))
    for x in (X + 4.0, X + 5.0, X + 4.0):
        assert same(f(x), f.eager(x))
    assert f.num_traces == 2


def test_a_key_function_with_an_effect() -> None:
    seen: list[float] = []

    def key(v: float) -> float:
        seen.append(v)
        return -v

    f = fj.function(lambda x: x * sorted([1.0, 2.0], key=key)[0])
    with one_eager_warning():
        for n in range(1, 5):
            assert same(f(X), X * 2.0) and len(seen) == 2 * n


def test_popping_from_a_dict() -> None:
    table = {n: float(n) for n in range(9)}
    f = fj.function(lambda x: x * table.popitem()[1])
    with one_eager_warning() as texts:
        assert [float(f(fj.constant(1.0))) for _ in range(4)] == [8.0, 7.0, 6.0, 5.0]
    assert "table" in texts[0]


def test_methods_of_an_enum_and_an_argument_in_a_container() -> None:
    import enum

    class Mode(enum.Enum):
        A = 2.0
        B = 3.0

        @property
        def twice(self) -> float:
            return self.value * 2.0

    f = fj.function(lambda x, options: x * options["mode"].twice)
    for mode in (Mode.A, Mode.B, Mode.A):
        for _ in range(2):
            assert same(f(X, {"mode": mode}), X * mode.value * 2.0)
    assert f.num_traces == 2


def test_too_many_leaves_run_eagerly() -> None:
    table = [float(n) for n in range(40_000)]
    f = fj.function(lambda x: x * table[0])
    with one_eager_warning() as texts:
        for _ in range(3):
            assert same(f(X), X * 0.0)
    assert "it reaches over 32768 values" in texts[0]


def test_names_of_code_that_does_not_run_cause_no_false_alarm() -> None:
    class Thing:
        def __init__(self) -> None:
            self.scale = 2.0
            self.other = 3.0

        def never(self, name: str) -> Any:
            return getattr(self, name)

    thing = Thing()

    @fj.function
    def f(x: Any) -> Any:
        try:
            return x * thing.scale if x.ndim else thing.never("ot" + "her")
        except AttributeError:
            return x

    for _ in range(3):
        assert same(f(X), X * 2.0)
    assert f.num_traces == 1
