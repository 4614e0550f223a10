"""State of the process, and of objects made in C, which no guard compares: read at each call."""

from __future__ import annotations

import contextvars
import logging
import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import one_eager_warning, same
from tests.reports.helpers import X

Change = Callable[[], Any]
Situation = tuple[Callable[[Any], Any], list[Change]]


def getenv() -> Situation:
    os.environ["FOUND"] = "2"
    change = lambda: os.environ.__setitem__("FOUND", "3")  # noqa: E731
    return lambda x: x * float(os.getenv("FOUND", "0")), [change]


def level_of_a_logger_by_name() -> Situation:
    logger = logging.getLogger("found")
    logger.setLevel(50)
    body = lambda x: x * 2.0 if logging.getLogger("found").isEnabledFor(10) else x  # noqa: E731
    return body, [lambda: logger.setLevel(5)]


def errors_of_numpy() -> Situation:
    np.seterr(divide="warn")
    change = lambda: np.seterr(divide="ignore")  # noqa: E731
    return lambda x: x * 2.0 if np.geterr()["divide"] == "ignore" else x, [change]


def print_options_of_numpy() -> Situation:
    np.set_printoptions(precision=8)
    return lambda x: x * float(np.get_printoptions()["precision"]), [
        lambda: np.set_printoptions(precision=4)
    ]


def buffer_size_of_numpy() -> Situation:
    np.setbufsize(8192)
    return lambda x: x * float(np.getbufsize()), [lambda: np.setbufsize(16384)]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (getenv, "getenv"),
        (level_of_a_logger_by_name, "getLogger"),
        (errors_of_numpy, "geterr"),
        (print_options_of_numpy, "get_printoptions"),
        (buffer_size_of_numpy, "getbufsize"),
    ],
)
def test_state_of_the_process_is_read_at_each_call(
    make: Callable[[], Situation], named: str
) -> None:
    with np.errstate(), np.printoptions():
        body, (change,) = make()
        f = fj.function(body)
        with one_eager_warning() as texts:
            for _ in range(2):
                assert same(f(X), body(X)) and same(f(X), body(X))
                change()
        np.setbufsize(8192)
    assert named in texts[0]


def a_record_of_numpy() -> tuple[Callable[[Any], Any], Change]:
    record = np.zeros(1, [("scale", np.float32)])[0]
    return lambda x: x * float(record["scale"]), lambda: record.__setitem__("scale", 3.0)


def the_current_value_of_a_context() -> tuple[Callable[[Any], Any], Change]:
    values = contextvars.ContextVar("values", default=2.0)
    return lambda x: x * values.get(), lambda: values.set(3.0)


def numbers_of_a_generator() -> tuple[Callable[[Any], Any], Change]:
    numbers = {"seed": 2}
    return lambda x: x * random.Random(numbers["seed"]).random(), lambda: numbers.update(seed=3)


@pytest.mark.parametrize(
    "make", [a_record_of_numpy, the_current_value_of_a_context, numbers_of_a_generator]
)
def test_what_c_holds_or_computes_is_read_at_each_call(
    make: Callable[[], tuple[Callable[[Any], Any], Change]],
) -> None:
    body, change = make()
    f = fj.function(body)
    with one_eager_warning():
        for _ in range(2):
            assert same(f(X), body(X)) and same(f(X), body(X))
            change()


def test_a_logger_that_is_silent_replays() -> None:
    logger = logging.Logger("found", logging.WARNING)

    @fj.function
    def f(x: Any) -> Any:
        logger.debug("called")
        return x * 2.0 if logger.isEnabledFor(logging.DEBUG) else x - 1.0

    for _ in range(5):
        assert same(f(X), X - 1.0)
    assert f.num_traces <= 2, "the first call fills the logger's own cache"
