"""State that a replay could miss, each changed between calls and compared with plain Python."""

from __future__ import annotations

import contextvars
import dataclasses
import logging
import operator
import os
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.capture import calls
from tests.capture.helpers import one_eager_warning, same
from tests.reports.helpers import Decorator, X, agrees

FORM = "{0.scale}"
Change = Callable[[], Any]
Situation = tuple[Callable[[Any], Any], list[Change]]


@dataclasses.dataclass
class Config:
    scale: float = 2.0
    shift: float = 0.0


def box(**names: Any) -> Any:
    return types.SimpleNamespace(**names)


def sets(owner: Any, name: str, value: Any) -> Change:
    return lambda: setattr(owner, name, value)


def keyword_pattern() -> Situation:
    config = Config()

    def body(x: Any) -> Any:
        match config:
            case Config(scale=2.0):
                return x * 2.0
            case _:
                return x

    return body, [sets(config, "scale", 5.0), sets(config, "scale", 2.0)]


def positional_pattern() -> Situation:
    config = Config()

    def body(x: Any) -> Any:
        match config:
            case Config(scale, 0.0):
                return x * scale
            case Config(_, shift):
                return x + shift

    return body, [sets(config, "scale", 5.0), sets(config, "shift", 7.0)]


def pattern_of_an_attribute_that_goes() -> Situation:
    o = box(scale=3.0)

    def body(x: Any) -> Any:
        match o:
            case types.SimpleNamespace(scale=scale):
                return x * scale
            case _:
                return x

    return body, [lambda: delattr(o, "scale"), sets(o, "scale", 4.0)]


def two_lists_become_one() -> Situation:
    o = box(a=[1.0], b=[1.0])
    return lambda x: x * 2.0 if o.a is o.b else x, [sets(o, "b", o.a), sets(o, "b", [1.0])]


def two_dataclasses_become_one() -> Situation:
    o = box(a=Config(), b=Config())
    return lambda x: x * 2.0 if o.a is o.b else x, [sets(o, "b", o.a), sets(o, "b", Config())]


def a_flag_set_for_a_while_in_a_shared_dict() -> Situation:
    o = box(options={"train": True}, of_layer={"train": True})

    def body(x: Any) -> Any:
        o.options["train"] = False
        y = x * 2.0 if o.of_layer["train"] else x
        o.options["train"] = True
        return y

    return body, [sets(o, "of_layer", o.options)]


def a_flag_set_for_a_while_in_a_shared_dataclass() -> Situation:
    o = box(config=Config(), of_layer=Config())

    def body(x: Any) -> Any:
        o.config.scale = 5.0
        y = x * o.of_layer.scale
        o.config.scale = 2.0
        return y

    return body, [sets(o, "of_layer", o.config)]


def an_ndarray_written_for_a_while_and_shared() -> Situation:
    o = box(a=np.ones(3, np.float32), b=np.ones(3, np.float32))

    def body(x: Any) -> Any:
        o.a[0] = 5.0
        y = x * o.b
        o.a[0] = 1.0
        return y

    return body, [sets(o, "b", o.a)]


def a_variable_is_frozen() -> Situation:
    v = fj.Variable(2.0)
    return lambda x: x * v if v.trainable else x, [sets(v, "trainable", False)]


def a_variable_is_renamed() -> Situation:
    v = fj.Variable(2.0, name="w")
    return lambda x: x * v * len(v.name), [sets(v, "name", "kernel")]


def a_variable_is_frozen_under_a_tape() -> Situation:
    v, w = fj.Variable(2.0), fj.Variable(3.0)

    def body(x: Any) -> Any:
        with fj.GradientTape() as tape:
            y = fj.sum(fj.exp(x * v * w))
        return tape.gradient(y, [v, w])

    return body, [sets(w, "trainable", False), sets(w, "trainable", True)]


def a_variable_is_frozen_under_implicit_gradients() -> Situation:
    v, w = fj.Variable(2.0), fj.Variable(3.0)
    gradients = fj.implicit_gradients(lambda x: fj.sum(fj.exp(x * v * w)))
    return lambda x: [g for g, _ in gradients(x)], [sets(w, "trainable", False)]


def getattribute_by_hand() -> Situation:
    o = Config()
    return lambda x: x * object.__getattribute__(o, "scale"), [sets(o, "scale", 3.0)]


def getattribute_of_an_object() -> Situation:
    o = Config()
    return lambda x: x * sum(map(o.__getattribute__, ["scale"])), [sets(o, "scale", 3.0)]


def a_method_called_by_name() -> Situation:
    o, call = Config(), operator.methodcaller("__getattribute__", "scale")
    return lambda x: x * call(o), [sets(o, "scale", 3.0)]


def identity_by_a_function() -> Situation:
    o = box(a=fj.ones(3), b=fj.ones(3))
    return lambda x: x * 2.0 if operator.is_(o.a, o.b) else x, [sets(o, "b", o.a)]


def identity_in_a_list() -> Situation:
    o = box(all=[fj.ones(3), fj.zeros(3)], one=fj.ones(3))

    def body(x: Any) -> Any:
        try:
            return x * o.all.index(o.one)
        except ValueError:  # of the truth of more than one element
            return x

    return body, [sets(o, "one", o.all[0])]


def an_attribute_in_a_format() -> Situation:
    o = Config()
    return lambda x: x * float("{.scale}".format(o)), [sets(o, "scale", 3.0)]  # noqa: UP032


def an_attribute_in_a_format_found_elsewhere() -> Situation:
    o = Config()
    return lambda x: x * float(FORM.format(o)), [sets(o, "scale", 3.0)]


def a_class_is_assigned() -> Situation:
    class Two:
        scale = 2.0

    class Three:
        scale = 3.0

    o = Two()
    return lambda x: x * o.scale, [sets(o, "__class__", Three), sets(o, "__class__", Two)]


def a_setting_of_fusejit() -> Situation:
    settings = fj.config
    settings.num_threads = 1
    return lambda x: x * float(settings.num_threads), [
        sets(settings, "num_threads", 2),
        sets(settings, "num_threads", 0),
    ]


FOUND = [
    keyword_pattern, positional_pattern, pattern_of_an_attribute_that_goes, two_lists_become_one,
    two_dataclasses_become_one, a_flag_set_for_a_while_in_a_shared_dict,
    a_flag_set_for_a_while_in_a_shared_dataclass, an_ndarray_written_for_a_while_and_shared,
    a_variable_is_frozen, a_variable_is_renamed, a_variable_is_frozen_under_a_tape,
    a_variable_is_frozen_under_implicit_gradients, getattribute_by_hand,
    getattribute_of_an_object, identity_by_a_function, identity_in_a_list,
    a_method_called_by_name, an_attribute_in_a_format, an_attribute_in_a_format_found_elsewhere,
    a_class_is_assigned, a_setting_of_fusejit,
]  # fmt: skip


@pytest.mark.parametrize("make", FOUND, ids=lambda make: make.__name__)
def test_a_change_is_seen(make: Callable[[], Situation]) -> None:
    def situation(function: Decorator) -> Any:
        body, changes = make()
        f = function(lambda x: body(x))
        seen = [f(X), f(X), f(X)]
        for change in changes:
            change()
            seen += [f(X), f(X)]
        return seen

    agrees(situation)


def test_lists_among_arguments_become_one() -> None:
    def body(x: Any, a: list[float], b: list[float]) -> Any:
        a[0] = 5.0
        y = x * b[0]
        a[0] = 1.0
        return y

    def situation(function: Decorator) -> Any:
        f, a, b = function(body), [1.0], [1.0]
        return [f(X, a, b), f(X, b, a), f(X, a, a), f(X, b, b), f(X, a, b)]

    agrees(situation, 2)


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


def test_an_ndarray_changes_before_its_plan_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "ahead", lambda *later: None)
    a = np.ones(3, np.float32)
    f = fj.function(lambda x: x * a)
    assert same(f(X), X * 1.0)
    a[:] = 7.0
    assert same(f(X), X * 7.0) and same(f(X), X * 7.0)
    a[:] = 1.0
    assert same(f(X), X * 1.0)
    assert f.num_traces == 2


class Odd:
    """Compares with nothing, and is neither hashed, measured nor shown."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def refuse(self, *_: object) -> Any:
        raise TypeError("not with me")

    __eq__ = __hash__ = __bool__ = __len__ = __repr__ = refuse


def test_an_object_that_cannot_be_compared_is_not_compared() -> None:
    def situation(function: Decorator) -> Any:
        odd, seen = Odd(2.0), []
        f, g = function(lambda x: x * odd.scale), function(lambda x, o: x * o.scale)
        for scale in (2.0, 2.0, 3.0):
            odd.scale = scale
            seen += [f(X), g(X, odd), g(X, Odd(scale))]
        return seen

    agrees(situation, 2, 2)


class Proud(type):
    """A metaclass whose classes may not be compared."""

    def __eq__(cls, other: object) -> bool:
        raise TypeError("not with me")

    __hash__ = type.__hash__


def test_a_class_that_cannot_be_compared_is_not_compared() -> None:
    class Scale(metaclass=Proud):
        def __init__(self, by: float) -> None:
            self.by = by

    def situation(function: Decorator) -> Any:
        kind, seen = box(by=2.0), []
        f = function(lambda x: x * Scale(kind.by).by)
        for by in (2.0, 2.0, 3.0):
            kind.by = by
            seen.append(f(X))
        return seen

    agrees(situation, 2)


def test_classes_are_told_apart_whatever_their_metaclass_says() -> None:
    class Alike(type):
        def __eq__(cls, other: object) -> bool:
            return True

        def __hash__(cls) -> int:
            return 1

    kinds = [Alike("Scale", (), {"by": by}) for by in (2.0, 3.0, 2.0)]

    def situation(function: Decorator) -> Any:
        f = function(lambda x, kind: x * kind.by)
        return [f(X, kind) for kind in (*kinds, *kinds)]

    agrees(situation, 3)


@dataclasses.dataclass(frozen=True)
class Frozen:
    scale: float
    parts: tuple[float, ...] = ()


@dataclasses.dataclass(slots=True)
class Slots:
    scale: Any
    parts: Any = None


@pytest.mark.parametrize("kind", [Frozen, Slots])
def test_an_equal_dataclass_does_for_another(kind: Any) -> None:
    def body(x: Any, o: Any) -> Any:
        return x * o.scale - len(o.parts)

    def situation(function: Decorator) -> Any:
        f, seen = function(body), []
        for number in range(12):
            seen.append(f(X, kind(2.0 + number // 6, (1.0,))))
        return seen

    agrees(situation, 2)


def test_fields_of_a_dataclass_are_inputs() -> None:
    def situation(function: Decorator) -> Any:
        f = function(lambda p: p.scale * p.parts[0])
        return [f(Slots(X, (X + number,))) for number in range(5)]

    agrees(situation, 1)


def test_many_tensors_and_a_comparison_by_identity() -> None:
    tensors, mode = [fj.constant(float(n)) for n in range(300)], "sum"

    def body(x: Any) -> Any:
        if mode in ("sum", "product") and tensors[0] is not tensors[1]:
            for each in tensors:
                x = x + each
        return x

    def situation(function: Decorator) -> Any:
        f, kept = function(body), tensors[1]
        seen = [f(X), f(X), f(X)]
        tensors[1] = tensors[0]
        seen += [f(X), f(X)]
        tensors[1] = kept
        return [*seen, f(X)]

    agrees(situation, 2)
