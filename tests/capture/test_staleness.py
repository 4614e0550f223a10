"""Never stale: whatever Python state a decorated function reads, the next call sees its change."""

from __future__ import annotations

import dataclasses
import enum
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import same

X = fj.constant([1.0, 2.0, -3.0])


class Color(enum.Enum):
    RED = 2.0
    BLUE = 5.0


@dataclasses.dataclass
class Settings:
    scale: float
    shift: float = 0.0


@dataclasses.dataclass(frozen=True)
class Frozen:
    scale: float


def double(x: Any) -> Any:
    return x * 2.0


def triple(x: Any) -> Any:
    return x * 3.0


def use(value: Any, x: Any) -> Any:
    """Something that depends on `value`, whatever it is."""
    if value is None:
        return x - 7.0
    if isinstance(value, str):
        return x * float(len(value))
    if isinstance(value, tuple):
        return x * value[0] + value[1]
    if isinstance(value, enum.Enum):
        return x * value.value
    if isinstance(value, (Settings, Frozen)):
        return x * value.scale
    if callable(value):
        return value(x)
    return x * value + 1.0


def replace(value: Any) -> Callable[[Any], Any]:
    return lambda old: value


def write_in_place(array: Any) -> Any:
    array[1] = 9.0
    return array


def assign(variable: Any) -> Any:
    return variable.assign(variable + 1.0)


def set_scale(settings: Any) -> Any:
    settings.scale = 11.0
    return settings


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "int": (lambda: 3, replace(4)),
    "float": (lambda: 1.5, replace(2.5)),
    "negative zero": (lambda: 0.0, replace(-0.0)),
    "bool": (lambda: True, replace(False)),
    "bool to int": (lambda: True, replace(2)),
    "int to float": (lambda: 1, replace(1.25)),
    "str": (lambda: "ab", replace("abc")),
    "None": (lambda: 3.0, replace(None)),
    "tuple": (lambda: (1.0, 2.0), replace((1.0, 3.0))),
    "nested tuple of Tensor": (lambda: (fj.constant(1.0), 2.0), replace((fj.constant(4.0), 2.0))),
    "enum": (lambda: Color.RED, replace(Color.BLUE)),
    "Tensor": (lambda: fj.constant(2.0), replace(fj.constant(3.0))),
    "Tensor of another shape": (lambda: fj.constant(2.0), replace(fj.constant([1.0, 2.0, 4.0]))),
    "ndarray": (lambda: np.ones(3, "float32"), replace(np.full(3, 2.0, "float32"))),
    "ndarray in place": (lambda: np.ones(3, "float32"), write_in_place),
    "NumPy scalar": (lambda: np.float32(1.0), replace(np.float32(2.0))),
    "Variable": (lambda: fj.Variable(2.0), replace(fj.Variable(5.0))),
    "Variable assigned": (lambda: fj.Variable(2.0), assign),
    "function": (lambda: double, replace(triple)),
    "lambda": (lambda: lambda x: x + 1.0, replace(lambda x: x + 2.0)),
    "dataclass": (lambda: Settings(2.0), replace(Settings(3.0))),
    "dataclass field": (lambda: Settings(2.0), set_scale),
    "frozen dataclass": (lambda: Frozen(2.0), replace(Frozen(3.0))),
}

# ---- where the value lives: each gives (function that reads it, set it)

Place = tuple[Callable[[Any], Any], Callable[[Any], None]]
STATE: Any = None
BOX: Any = None
MODULE = types.ModuleType("settings_of_the_test")


def in_global(first: Any) -> Place:
    def read(x: Any) -> Any:
        return use(STATE, x)

    def change(value: Any) -> None:
        global STATE
        STATE = value

    change(first)
    return read, change


def in_cell(first: Any) -> Place:
    state = first

    def read(x: Any) -> Any:
        return use(state, x)

    def change(value: Any) -> None:
        nonlocal state
        state = value

    return read, change


def in_default(first: Any) -> Place:
    def read(x: Any, state: Any = first) -> Any:
        return use(state, x)

    def change(value: Any) -> None:
        read.__defaults__ = (value,)

    return read, change


def in_keyword_default(first: Any) -> Place:
    def read(x: Any, *, state: Any = first) -> Any:
        return use(state, x)

    def change(value: Any) -> None:
        read.__kwdefaults__ = {"state": value}

    return read, change


def in_keyword_default_in_place(first: Any) -> Place:
    def read(x: Any, *, state: Any = first) -> Any:
        return use(state, x)

    def change(value: Any) -> None:
        assert read.__kwdefaults__ is not None
        read.__kwdefaults__["state"] = value

    return read, change


class Holder:
    shared: Any = None

    def __init__(self, state: Any) -> None:
        self.state = state

    def read(self, x: Any) -> Any:
        return use(self.state, x)

    def read_shared(self, x: Any) -> Any:
        return use(self.shared, x)


class Slotted:
    __slots__ = ("state",)

    def __init__(self, state: Any) -> None:
        self.state = state


def in_self(first: Any) -> Place:
    holder = Holder(first)
    return holder.read, lambda value: setattr(holder, "state", value)


def in_attribute(first: Any) -> Place:
    holder = Holder(first)
    return lambda x: use(holder.state, x), lambda value: setattr(holder, "state", value)


def in_nested_attribute(first: Any) -> Place:
    holder = Holder(Holder(Holder(first)))
    return (
        lambda x: use(holder.state.state.state, x),
        lambda value: setattr(holder.state.state, "state", value),
    )


def in_replaced_object(first: Any) -> Place:
    holder = Holder(Holder(first))
    return (
        lambda x: use(holder.state.state, x),
        lambda value: setattr(holder, "state", Holder(value)),
    )


def in_slot(first: Any) -> Place:
    holder = Slotted(first)
    return lambda x: use(holder.state, x), lambda value: setattr(holder, "state", value)


def in_class(first: Any) -> Place:
    holder, Holder.shared = Holder(None), staticmethod(first) if callable(first) else first

    def change(value: Any) -> None:
        Holder.shared = staticmethod(value) if callable(value) else value

    return holder.read_shared, change


def in_instance_over_class(first: Any) -> Place:
    holder, Holder.shared = Holder(None), staticmethod(first) if callable(first) else first
    return holder.read_shared, lambda value: setattr(holder, "shared", value)


def in_module(first: Any) -> Place:
    MODULE.state = first  # type: ignore[attr-defined]
    return lambda x: use(MODULE.state, x), lambda value: setattr(MODULE, "state", value)


def in_list(first: Any) -> Place:
    items = [0, [first]]
    return lambda x: use(items[1][0], x), lambda value: items[1].__setitem__(0, value)  # type: ignore[index,attr-defined]


def in_dict(first: Any) -> Place:
    items = {"a": {"b": first}}
    return lambda x: use(items["a"]["b"], x), lambda value: items["a"].__setitem__("b", value)


def in_global_dict(first: Any) -> Place:
    global BOX
    BOX = {"a": first}

    def read(x: Any) -> Any:
        return use(BOX["a"], x)

    return read, lambda value: BOX.__setitem__("a", value)


def in_property(first: Any) -> Place:
    class Computed:
        def __init__(self) -> None:
            self._hidden = first

        @property
        def state(self) -> Any:
            return self._hidden

    holder = Computed()
    return lambda x: use(holder.state, x), lambda value: setattr(holder, "_hidden", value)


def in_computed_name(first: Any) -> Place:
    holder, name = Holder(first), "st"
    return (
        lambda x: use(getattr(holder, name + "ate"), x),
        lambda value: setattr(holder, "state", value),
    )


def in_inherited_class(first: Any) -> Place:
    base = type("Base", (), {"shared": staticmethod(first) if callable(first) else first})
    holder = type("Derived", (base,), {})()

    def change(value: Any) -> None:
        base.shared = staticmethod(value) if callable(value) else value  # type: ignore[attr-defined]

    return lambda x: use(holder.shared, x), change


def in_callable_object(first: Any) -> Place:
    class Layer:
        def __init__(self) -> None:
            self.state = first

        def __call__(self, x: Any) -> Any:
            return use(self.state, x)

    layer = Layer()
    return lambda x: layer(x), lambda value: setattr(layer, "state", value)


PLACES = [value for name, value in list(globals().items()) if name.startswith("in_")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["here", "in a callee"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_the_next_call_sees_a_change(place: Any, where: str, kind: str) -> None:
    make, changed = KINDS[kind]
    value = make()
    read, change = place(value)
    plain: Any = read
    if where == "in a callee":

        def body(x: Any) -> Any:
            return read(x)

        f = fj.function(body)
    elif isinstance(read, types.MethodType):
        bound = types.MethodType(fj.function(read.__func__), read.__self__)
        f, decorated = bound, bound.__func__
    else:
        f = fj.function(read)
    decorated = getattr(f, "__func__", f)
    before = plain(X)
    for _ in range(3):
        assert same(f(X), before)
    assert decorated.num_traces == 1
    change(changed(value))
    after = plain(X)
    assert kind == "negative zero" or not same(before, after)
    for _ in range(3):
        assert same(f(X), after)
    assert decorated.num_traces <= 2
    new_holder = place in (
        in_default,
        in_keyword_default,
        in_replaced_object,
        in_instance_over_class,
    )
    if kind in ("Tensor", "Variable assigned") and not new_holder:
        assert decorated.num_traces == 1, "inputs by reference: no recording"
    change(make() if "in place" in kind or "field" in kind or "assigned" in kind else value)
    assert same(f(X), before)
