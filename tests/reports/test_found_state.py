"""State that a replay could miss, each changed between calls and compared with plain Python."""

from __future__ import annotations

import dataclasses
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
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
