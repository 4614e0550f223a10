"""State that C callables and Python's own machinery read for the body: a change of it is seen."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import operator
from collections.abc import Callable
from typing import Any

import pytest

from tests.capture.helpers import Place, sees_changes


@dataclasses.dataclass(slots=True)
class Slots:
    scale: float = 2.0


class Thing:
    def __init__(self, scale: float = 2.0) -> None:
        self.scale = scale


Of = Callable[[Any], Callable[[Any], Any]]

READERS: dict[str, Of] = {
    "attrgetter": lambda s, get=operator.attrgetter("scale"): lambda x: x * get(s),
    "new attrgetter": lambda s: lambda x: x * operator.attrgetter("scale")(s),
    "getattr in a cell": lambda s, get=getattr: lambda x: x * get(s, "scale"),
    "getattr in a cell of its name": lambda s, getattr=getattr: lambda x: x * getattr(s, "scale"),
    "getattr as a default": lambda s: lambda x, get=getattr: x * get(s, "scale"),
    "getattr in a list": lambda s, gets=[getattr]: lambda x: x * gets[0](s, "scale"),
    "partial of getattr": lambda s: (
        lambda x, get=functools.partial(getattr, s): x * get("scale")  # noqa: B008
    ),
    "vars in a cell": lambda s, of=vars: lambda x: x * of(s)["scale"],
    "its dict": lambda s: lambda x, d=s.__dict__: x * d["scale"],
    "__getattribute__": lambda s: lambda x: x * s.__getattribute__("scale"),
    "bound __getattribute__": lambda s: lambda x, get=s.__getattribute__: x * get("scale"),
    "__getattribute__ of object": lambda s, get=object.__getattribute__: (
        lambda x: x * get(s, "scale")
    ),
    "map": lambda s: lambda x: x * sum(map(operator.attrgetter("scale"), [s])),
    "format string": lambda s: lambda x: x * float("{.scale}".format(s)),  # noqa: UP032
}


@pytest.mark.parametrize("reader", READERS)
def test_an_attribute_that_the_bytecode_does_not_name(reader: str) -> None:
    def place() -> Place:
        thing = Thing()
        return READERS[reader](thing), [lambda: setattr(thing, "scale", 3.0)]

    sees_changes(place)


def attributes_of_attributes() -> Place:
    outer, get = Thing(Thing(2.0)), operator.attrgetter("scale.scale")  # type: ignore[arg-type]
    return lambda x: x * get(outer), [
        lambda: setattr(outer.scale, "scale", 3.0),
        lambda: setattr(outer, "scale", Thing(4.0)),
    ]


def sorted_by_an_attribute() -> Place:
    things = [Thing(1.0), Thing(2.0)]
    key = operator.attrgetter("scale")
    return lambda x: x * float(things.index(min(things, key=key))), [
        lambda: setattr(things[0], "scale", 3.0)
    ]


def slot_descriptor() -> Place:
    slots = Slots()
    read = Slots.scale.__get__  # type: ignore[attr-defined]
    return lambda x: x * read(slots), [lambda: setattr(slots, "scale", 3.0)]


def method_of_a_dict() -> Place:
    items = {"a": 2.0}
    get = items.get
    return lambda x: x * get("a", 9.0), [
        lambda: items.update(a=3.0),
        lambda: items.pop("a"),
    ]


def method_of_a_list() -> Place:
    items = [2.0, 4.0]
    count, item = items.__len__, items.__getitem__
    return lambda x: x * item(0) * float(count()), [
        lambda: items.__setitem__(0, 3.0),
        lambda: items.append(1.0),
    ]


def classes_of_collections() -> Place:
    items, names = collections.UserList([2.0]), collections.UserDict(a=2.0)
    chain = collections.ChainMap({}, {"b": 2.0})
    counts, made = collections.Counter("aa"), collections.defaultdict(float, a=1.0)
    return lambda x: x * items[0] * names["a"] * chain["b"] * counts["a"] * made["a"], [
        lambda: items.data.__setitem__(0, 3.0),
        lambda: names.__setitem__("a", 3.0),
        lambda: chain.maps[1].__setitem__("b", 3.0),
        lambda: counts.update("a"),
        lambda: made.__setitem__("a", 3.0),
    ]


def function_that_does_not_run() -> Place:
    def settings(scale: float = 2.0, *, shift: float = 1.0) -> None:
        """Three."""

    settings.rate = 2.0  # type: ignore[attr-defined]

    def body(x: Any) -> Any:
        (scale,) = settings.__defaults__ or ()
        return x * scale * settings.rate + float(len(settings.__doc__ or ""))  # type: ignore[attr-defined]

    return body, [
        lambda: setattr(settings, "rate", 3.0),
        lambda: setattr(settings, "__defaults__", (3.0,)),
        lambda: setattr(settings, "__doc__", "Four."),
    ]


def names_and_annotations_of_functions() -> Place:
    def settings(scale: 2.0) -> None: ...  # type: ignore[valid-type]

    settings.__annotations__["scale"] = 2.0
    return lambda x: x * settings.__annotations__["scale"] * float(len(settings.__name__)), [
        lambda: settings.__annotations__.update(scale=3.0),
        lambda: setattr(settings, "__name__", "a"),
    ]


def attribute_of_a_metaclass() -> Place:
    class Meta(type):
        scale = 2.0

        @property
        def doubled(cls) -> float:
            return cls.half * 2.0  # type: ignore[attr-defined, no-any-return]

    class Owner(metaclass=Meta):
        half = 1.0

    return lambda x: x * Owner.scale + Owner.doubled, [
        lambda: setattr(Meta, "scale", 3.0),
        lambda: setattr(Owner, "half", 4.0),
        lambda: setattr(Owner, "scale", 5.0),
        lambda: setattr(Meta, "doubled", 6.0),
    ]


def operators_of_a_metaclass() -> Place:
    class Meta(type):
        known = True

        def __instancecheck__(cls, instance: object) -> bool:
            return cls.known

        def __len__(cls) -> int:
            return cls.size  # type: ignore[attr-defined, no-any-return]

    class Owner(metaclass=Meta):
        size = 2

    def body(x: Any) -> Any:
        return x * float(len(Owner)) if isinstance(x, Owner) else x

    return body, [
        lambda: setattr(Owner, "size", 3),
        lambda: setattr(Meta, "known", False),
        lambda: setattr(Meta, "__instancecheck__", lambda cls, instance: True),
    ]


def members_of_an_enum() -> Place:
    class Mode(enum.Enum):
        A = 2.0
        B = 3.0

    for mode in Mode:
        mode.weight = 1.0  # type: ignore[attr-defined]
    return lambda x: x * sum(mode.weight for mode in Mode) * Mode["A"].weight * Mode(3.0).weight, [  # type: ignore[attr-defined]
        lambda: setattr(Mode.B, "weight", 3.0),
        lambda: setattr(Mode.A, "weight", 4.0),
    ]


def numbers_and_strings_with_attributes() -> Place:
    class Unit(float):
        size = 1.0

        def __mul__(self, other: Any) -> Any:
            return float(self) * self.size * other

    class Name(str):
        weight = 2.0

    unit, name = Unit(2.0), Name("ab")
    return lambda x: (unit * 3.0) * x * name.weight, [
        lambda: setattr(unit, "size", 3.0),
        lambda: setattr(Name, "weight", 3.0),
        lambda: setattr(name, "weight", 4.0),
        lambda: setattr(Unit, "__mul__", lambda self, other: 7.0),
    ]


def builtin_added_later(monkeypatch: pytest.MonkeyPatch) -> Place:
    def body(x: Any) -> Any:
        try:
            return x * scale_of_the_test  # type: ignore[name-defined]
        except NameError:
            return x

    return body, [lambda: monkeypatch.setattr("builtins.scale_of_the_test", 3.0, raising=False)]


def objects_that_compare_by_content() -> Place:
    @dataclasses.dataclass
    class Key:
        number: float

    one, other = Key(1.0), Key(2.0)
    keys = [one]
    return lambda x: x * 2.0 if other in keys else x * float(keys.count(Key(1.0))), [
        lambda: setattr(one, "number", 2.0),
        lambda: setattr(other, "number", 1.0),
    ]


PLACES = [
    attributes_of_attributes,
    sorted_by_an_attribute,
    slot_descriptor,
    method_of_a_dict,
    method_of_a_list,
    classes_of_collections,
    function_that_does_not_run,
    names_and_annotations_of_functions,
    attribute_of_a_metaclass,
    operators_of_a_metaclass,
    members_of_an_enum,
    numbers_and_strings_with_attributes,
    objects_that_compare_by_content,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__.replace("_", " "))
def test_a_change_is_seen_and_what_does_not_change_replays(place: Callable[[], Place]) -> None:
    sees_changes(place)


def test_a_builtin_that_is_added_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    sees_changes(lambda: builtin_added_later(monkeypatch))
