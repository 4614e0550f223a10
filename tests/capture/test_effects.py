"""What a replay could not repeat: the call runs eagerly each time, and says so once."""

from __future__ import annotations

import itertools
import os
import random
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.op import opaque
from tests.capture.helpers import Mode, X, one_eager_warning, same


def expect_eager(f: Any, *args: Any, reason: str) -> None:
    """Every call runs the body; one warning, with file:line and reason."""
    with one_eager_warning() as texts:
        for _ in range(5):
            f(*args)
    assert re.search(reason, texts[0]), texts[0]
    assert re.search(r"\(test_effects\.py:\d+\)", texts[0]), texts[0]
    assert f.__name__ in texts[0]


def test_print(capsys: pytest.CaptureFixture[str]) -> None:
    @fj.function
    def f(x: Any) -> Any:
        print("here")
        return x * 2.0

    expect_eager(f, X, reason="calls print, an effect")
    assert capsys.readouterr().out == "here\n" * 5


def test_printing_a_tensor(capsys: pytest.CaptureFixture[str]) -> None:
    @fj.function
    def f(x: Any) -> Any:
        print(x * 2.0)
        return x

    expect_eager(f, X, reason="print")
    assert capsys.readouterr().out == "[ 2.  4. -6.]\n" * 5


EFFECTS: dict[str, tuple[Any, str]] = {
    "time.time": (lambda x: x * time.time(), "time"),
    "time.perf_counter": (lambda x: x * time.perf_counter(), "perf_counter"),
    "random.random": (lambda x: x * random.random(), "random"),
    "random.gauss": (lambda x: x * random.gauss(0.0, 1.0), "random"),
    "np.random.normal": (lambda x: x * float(np.random.normal()), "random"),
    "np.random.default_rng": (lambda x: x * float(np.random.default_rng().normal()), "urandom|rng"),
    "a generator object": (lambda x: x * float(RNG.normal()), "Generator"),
    "os.urandom": (lambda x: x * float(os.urandom(1)[0]), "urandom"),
    "os.getenv": (lambda x: x * float(len(str(os.stat(".")))), "stat"),
    "open": (lambda x: x * float(open(os.devnull).closed), "open"),  # noqa: SIM115
    "input iterator": (lambda x: x * float(next(COUNT)), "COUNT"),
    "id": (lambda x: x * float(id(x) % 7), "id"),
    "globals": (lambda x: x * float(len(globals())), "globals"),
    "eval": (lambda x: eval("x * 2.0", {"x": x}), "eval"),
    "set global": (lambda x: x * float(len(NAMES)), "NAMES is a set"),
    "cached": (lambda x: x * cached(3), "cached"),
    "contextvar": (lambda x: x * CONTEXT.get(), "ContextVar|CONTEXT"),
}

RNG = np.random.default_rng(0)

COUNT = itertools.count()

NAMES = {"a", "b"}

CONTEXT: Any = __import__("contextvars").ContextVar("c", default=2.0)


def cached(n: int) -> float:
    return float(n)


cached = __import__("functools").lru_cache(cached)


@pytest.mark.parametrize("name", EFFECTS)
def test_impure_calls(name: str) -> None:
    body, reason = EFFECTS[name]
    expect_eager(fj.function(body), X, reason=reason)


def test_random_numbers_differ_each_time() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return x * random.random()

    with one_eager_warning():
        results = {float(fj.sum(f(fj.ones(1)))) for _ in range(5)}
    random.seed(0)
    assert results == {float(fj.constant(random.random())) for _ in range(5)}


WHOLE: dict[str, Any] = {
    "numpy": lambda x: x * float(x.numpy()[0]),
    "asarray": lambda x: x * float(np.asarray(x)[0]),
    "np.sum": lambda x: x * float(np.sum(np.asarray(x))),
    "tolist": lambda x: x * x.tolist()[0],
    "str": lambda x: x * float(len(str(x))),
    "repr": lambda x: x * float(len(repr(x))),
    "format": lambda x: x * float(len(f"{x}")),
    "copy of ndarray": lambda x: fj.constant(np.array(x)) * x,
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_array_reaches_python(name: str) -> None:
    f = fj.function(WHOLE[name])
    expect_eager(f, X, reason="array reaches Python|numpy.*array")
    for x in (X, X + 1.0, fj.ones(3)):
        assert same(f(x), f.eager(x))


def test_generator_functions_and_expressions_inside() -> None:
    def parts(x: Any) -> Any:
        yield x
        yield x * 2.0

    @fj.function
    def f(x: Any) -> Any:
        return sum(part for part in parts(x)) + sum(x * float(i) for i in range(3))

    for _ in range(3):
        assert same(f(X), f.eager(X))
    assert f.num_traces == 1


def test_a_thread_started_inside() -> None:
    @fj.function
    def f(x: Any) -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(1.0))
        thread.start()
        thread.join()
        return x * found[0]

    with one_eager_warning():
        for _ in range(4):
            assert same(f(X), X)


def test_a_tensor_from_outside_of_the_reach() -> None:
    held: dict[int, Any] = {}

    class Hidden(set):  # type: ignore[type-arg]
        def tensor(self) -> Any:
            return held[id(self)]

    hidden = Hidden()
    held[id(hidden)] = X

    @fj.function
    def f(x: Any) -> Any:
        return x + next(iter(BAG))

    BAG.add(X)
    with one_eager_warning():
        for _ in range(4):
            assert same(f(X), X + X)
    BAG.clear()
    BAG.add(X * 2.0)
    assert same(f(X), X + X * 2.0)


BAG: set[Any] = set()


def test_no_warning_for_pure_python(recwarn: pytest.WarningsRecorder) -> None:
    import math
    import operator

    @fj.function
    def f(x: Any, sizes: Any = (1, 2)) -> Any:
        names = {"a": 1, "b": 2}
        parts = [x * float(v) for v in names.values()]
        parts.append(x)
        parts.extend(sorted(parts[:1], key=lambda t: t.ndim))
        total = operator.add(parts[0], parts[1]) * math.sqrt(4.0) + abs(-2)
        for i, (a, b) in enumerate(zip(parts, reversed(parts), strict=False)):
            total = total + a * b * float(i)
        return total * len("ab".upper().split("B")) + max(sizes) + sum(sizes)

    for _ in range(3):
        assert same(f(X), f.eager(X))
    assert f.num_traces == 1 and not recwarn.list


def test_an_op_of_the_users_that_is_not_registered_is_watched() -> None:
    def stamped(x: Any) -> Any:
        return x + time.time() * 0

    op = opaque("stamped", numpy=stamped, types=lambda x: x, registered=False)

    @fj.function
    def f(x: Any) -> Any:
        return op(x) * 2.0

    expect_eager(f, X, reason="it runs .*stamped, which it finds at run time")


def test_a_gradient_rule_of_the_users_is_watched() -> None:
    @fj.custom_gradient
    def doubled(x: Any) -> Any:
        return x * 2.0, lambda dy: dy * (2.0 + 0.0 * time.time())

    slope = fj.gradients_function(doubled)

    @fj.function
    def f(x: Any) -> Any:
        return slope(x)[0]

    expect_eager(f, X, reason=r"calls time\.time")


LIBRARIES: dict[str, tuple[Any, str]] = {
    "pathlib": (
        lambda x: x * float(len(str(Path(".")))),
        r"calls pathlib\.(_local\.)?Path\.__\w+__, which",  # 3.13 has it in pathlib._local
    ),
    "threading": (lambda x: x * threading.Thread().daemon, r"calls threading\.Thread\.__init__, w"),
    "np.random": (lambda x: x * float(np.random.rand()), "global generator"),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_function_that_the_line_names_is_named(name: str) -> None:
    body, reason = LIBRARIES[name]
    expect_eager(fj.function(body), X, reason=reason)


def test_every_warning_says_what_to_write_instead() -> None:
    for body in (*(body for body, _ in EFFECTS.values()), *WHOLE.values()):
        with one_eager_warning() as texts:
            fj.function(body)(X)
        assert re.search(r"\. Instead: .*\.$", texts[0]), texts[0]


def test_how_this_process_runs_is_not_baked() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return x * fj.get_num_threads()

    before = fj.get_num_threads()
    try:
        fj.set_num_threads(2)
        with one_eager_warning() as texts:
            assert same(f(X), X * 2)
            fj.set_num_threads(1)
            assert same(f(X), X * 1)
        assert "fj.get_num_threads" in texts[0]
    finally:
        fj.set_num_threads(before)


def test_setting_how_this_process_runs_is_an_effect() -> None:
    @fj.function
    def f(x: Any) -> Any:
        fj.set_num_threads(1)
        return x * 2

    before = fj.get_num_threads()
    try:
        with one_eager_warning():
            for _ in range(3):
                fj.set_num_threads(2)
                f(X)
                assert fj.get_num_threads() == 1
    finally:
        fj.set_num_threads(before)


def test_the_hash_of_a_tensor_is_its_address() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return x * float(hash(x) % 1000)

    tensors = [fj.ones(2) for _ in range(3)]
    with one_eager_warning():
        for x in tensors * 3:
            assert same(f(x), f.eager(x))


def test_keys_of_the_users_classes_replay() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return x * {Mode.SCALE: 2.0, Mode.SHIFT: 3.0}[Mode.SHIFT]

    for _ in range(3):
        assert same(f(X), X * 3.0)
    assert f.num_traces == 1
