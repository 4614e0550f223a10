"""Odd places behind an attribute (classes, descriptors, what is missing): a change is seen."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest

from tests.capture.helpers import Place, sees_changes


def class_method_replaced() -> Place:
    class Thing:
        def act(self, x: Any) -> Any:
            return x * 2.0

    thing = Thing()
    return lambda x: thing.act(x), [
        lambda: setattr(Thing, "act", lambda self, x: x * 3.0),
        lambda: setattr(thing, "act", lambda x: x * 4.0),
        lambda: delattr(thing, "act"),
    ]


def special_method_added_and_replaced() -> Place:
    class Thing:
        pass

    thing = Thing()

    def body(x: Any) -> Any:
        return x * 2.0 if thing else x * 3.0

    return body, [
        lambda: setattr(Thing, "__bool__", lambda self: False),
        lambda: setattr(Thing, "__bool__", lambda self: True),
    ]


def operators_of_a_class() -> Place:
    class Scale:
        k = 2.0

        def __rmul__(self, x: Any) -> Any:
            return x * self.k

        def __call__(self, x: Any) -> Any:
            return x + self.k

        def __getitem__(self, i: int) -> float:
            return self.k + i

        def __len__(self) -> int:
            return int(self.k)

        def __enter__(self) -> float:
            return self.k

        def __exit__(self, *error: object) -> None:
            pass

    scale = Scale()

    def body(x: Any) -> Any:
        with scale as k:
            return (k * x if False else scale(x)) * scale[1] * float(len(scale)) * k

    return body, [
        lambda: setattr(scale, "k", 3.0),
        lambda: delattr(scale, "k"),
        lambda: setattr(Scale, "k", 4.0),
        lambda: setattr(Scale, "__len__", lambda self: 7),
    ]


def missing_attribute() -> Place:
    class Thing:
        pass

    thing: Any = Thing()

    def body(x: Any) -> Any:
        return x * getattr(thing, "scale", 2.0)

    return body, [
        lambda: setattr(thing, "scale", 3.0),
        lambda: delattr(thing, "scale"),
        lambda: setattr(Thing, "scale", 5.0),
    ]


def missing_attribute_caught() -> Place:
    class Thing:
        pass

    thing: Any = Thing()

    def body(x: Any) -> Any:
        try:
            return x * thing.scale
        except AttributeError:
            return x

    return body, [lambda: setattr(thing, "scale", 3.0), lambda: delattr(thing, "scale")]


def property_and_setter() -> Place:
    class Thing:
        def __init__(self) -> None:
            self.scales = [2.0, 3.0]
            self.which = 0

        @property
        def scale(self) -> float:
            return self.scales[self.which]

        @functools.cached_property
        def cached(self) -> float:
            return self.scales[1]

    thing = Thing()
    thing.cached  # noqa: B018
    return lambda x: x * thing.scale * thing.cached, [
        lambda: setattr(thing, "which", 1),
        lambda: thing.scales.__setitem__(1, 9.0),
        lambda: setattr(Thing, "scale", property(lambda self: 8.0)),
        lambda: thing.__dict__.update(cached=6.0),
    ]


def descriptor() -> Place:
    class Doubled:
        factor = 2.0

        def __get__(self, instance: Any, owner: Any) -> Any:
            return self if instance is None else instance.base * self.factor

    class Thing:
        scale = Doubled()
        base = 1.5

    thing = Thing()
    return lambda x: x * thing.scale, [
        lambda: setattr(Thing, "base", 2.5),
        lambda: setattr(vars(Thing)["scale"], "factor", 4.0),
        lambda: setattr(thing, "base", 1.25),
    ]


def inherited_and_super() -> Place:
    class Base:
        scale = 2.0

        def act(self, x: Any) -> Any:
            return x * self.scale

    class Middle(Base):
        pass

    class Child(Middle):
        def act(self, x: Any) -> Any:
            return super().act(x) + 1.0

    child = Child()
    return lambda x: child.act(x), [
        lambda: setattr(Base, "scale", 3.0),
        lambda: setattr(Middle, "scale", 4.0),
        lambda: setattr(Base, "act", lambda self, x: x * 7.0),
        lambda: setattr(Middle, "act", lambda self, x: x - 1.0),
    ]


def getattr_names() -> Place:
    class Thing:
        first, second = 2.0, 3.0

    thing = Thing()
    which = ["first"]
    return lambda x: x * getattr(thing, which[0]), [
        lambda: setattr(thing, "first", 4.0),
        lambda: which.__setitem__(0, "second"),
        lambda: setattr(Thing, "second", 5.0),
    ]


def vars_of_an_object() -> Place:
    thing = types.SimpleNamespace(a=2.0)

    def body(x: Any) -> Any:
        for value in vars(thing).values():
            x = x * value
        return x

    return body, [lambda: setattr(thing, "b", 3.0), lambda: setattr(thing, "a", 4.0)]


def dict_of_an_object_whose_class_is_named() -> Place:
    class Thing:
        def scaled(self, x: Any) -> Any:
            return x * self.__dict__["scale"]

    thing = Thing()
    thing.__dict__["scale"] = 2.0
    return lambda x: Thing.scaled(thing, x), [
        lambda: setattr(thing, "scale", 3.0),
        lambda: thing.__dict__.update(scale=4.0),
        lambda: setattr(Thing, "scaled", lambda self, x: x * 5.0),
    ]


def deleted_attribute() -> Place:
    class Thing:
        scale = 2.0

    thing = Thing()
    thing.scale = 3.0
    return lambda x: x * thing.scale, [lambda: delattr(thing, "scale")]


PLACES = [
    class_method_replaced,
    special_method_added_and_replaced,
    operators_of_a_class,
    missing_attribute,
    missing_attribute_caught,
    property_and_setter,
    descriptor,
    inherited_and_super,
    getattr_names,
    deleted_attribute,
    vars_of_an_object,
    dict_of_an_object_whose_class_is_named,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.__name__)
def test_a_change_is_seen_and_what_does_not_change_replays(place: Callable[[], Place]) -> None:
    sees_changes(place)
