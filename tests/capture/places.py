"""Where Python state can live, of that which a function reads: the places of the staleness matrix.

Each place is a function that takes the first value and gives (a function that reads it, a function
that puts another in its place).
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, ClassVar

from tests.capture.kinds import use

Place = tuple[Callable[[Any], Any], Callable[[Any], None]]

STATE: Any = None
ITEMS: Any = None
MODULE = types.ModuleType("settings_of_the_test")


def of_class(value: Any) -> Any:
    """What a class holds so that an attribute of its instance is the value itself."""
    return staticmethod(value) if hasattr(type(value), "__get__") else value


def element(items: Any, key: Any) -> Callable[[Any], None]:
    return lambda value: items.__setitem__(key, value)


def attribute(holder: Any, name: str = "state") -> Callable[[Any], None]:
    return lambda value: setattr(holder, name, value)


class Holder:
    shared: Any = None

    def __init__(self, state: Any = None) -> None:
        self.state = state

    def read(self, x: Any) -> Any:
        return use(self.state, x)

    def read_nested(self, x: Any) -> Any:
        return use(self.state.state.state, x)

    def read_list(self, x: Any) -> Any:
        return use(self.state[1], x)

    def read_dict(self, x: Any) -> Any:
        return use(self.state["a"]["b"], x)

    def read_shared(self, x: Any) -> Any:
        return use(self.shared, x)


class Slotted:
    __slots__ = ("state",)

    def __init__(self, state: Any) -> None:
        self.state = state


# ---- names: globals, cells, defaults


def in_global(first: Any) -> Place:
    def read(x: Any) -> Any:
        return use(STATE, x)

    def change(value: Any) -> None:
        global STATE
        STATE = value

    change(first)
    return read, change


def in_global_list(first: Any) -> Place:
    global ITEMS
    ITEMS = [0, [first]]
    return lambda x: use(ITEMS[1][0], x), element(ITEMS[1], 0)


def in_global_dict(first: Any) -> Place:
    global ITEMS
    ITEMS = {"a": first}
    return lambda x: use(ITEMS["a"], x), element(ITEMS, "a")


def in_cell(first: Any) -> Place:
    state = first

    def change(value: Any) -> None:
        nonlocal state
        state = value

    return lambda x: use(state, x), change


def in_cell_content(first: Any) -> Place:
    state = first

    def read(x: Any) -> Any:
        return use(state, x)

    (cell,) = read.__closure__ or ()
    return read, attribute(cell, "cell_contents")


def in_cell_of_an_inner_function(first: Any) -> Place:
    state = first

    def read(x: Any) -> Any:
        def inner() -> Any:
            return use(state, x)

        return inner()

    def change(value: Any) -> None:
        nonlocal state
        state = value

    return read, change


def in_cell_list(first: Any) -> Place:
    items = [0, [first]]
    return lambda x: use(items[1][0], x), element(items[1], 0)  # type: ignore[index]


def in_cell_dict(first: Any) -> Place:
    items = {"a": {2: first}}
    return lambda x: use(items["a"][2], x), element(items["a"], 2)


def in_list_of_dicts(first: Any) -> Place:
    items = [({"a": [first]},)]
    return lambda x: use(items[0][0]["a"][0], x), element(items[0][0]["a"], 0)


def in_default(first: Any) -> Place:
    def read(x: Any, state: Any = first) -> Any:
        return use(state, x)

    return read, lambda value: setattr(read, "__defaults__", (value,))


def in_default_list(first: Any) -> Place:
    items = [first]

    def read(x: Any, items: Any = items) -> Any:
        return use(items[0], x)

    return read, element(items, 0)


def in_keyword_default(first: Any) -> Place:
    def read(x: Any, *, state: Any = first) -> Any:
        return use(state, x)

    return read, lambda value: setattr(read, "__kwdefaults__", {"state": value})


def in_keyword_default_in_place(first: Any) -> Place:
    def read(x: Any, *, state: Any = first) -> Any:
        return use(state, x)

    return read, element(read.__kwdefaults__, "state")


def in_keyword_default_dict(first: Any) -> Place:
    items = {"a": first}

    def read(x: Any, *, items: Any = items) -> Any:
        return use(items["a"], x)

    return read, element(items, "a")


# ---- attributes


def in_self(first: Any) -> Place:
    holder = Holder(first)
    return holder.read, attribute(holder)


def in_nested_self(first: Any) -> Place:
    holder = Holder(Holder(Holder(first)))
    return holder.read_nested, attribute(holder.state.state)


def in_list_of_self(first: Any) -> Place:
    holder = Holder([0, first])
    return holder.read_list, element(holder.state, 1)


def in_dict_of_self(first: Any) -> Place:
    holder = Holder({"a": {"b": first}})
    return holder.read_dict, element(holder.state["a"], "b")


def in_attribute(first: Any) -> Place:
    holder = Holder(first)
    return lambda x: use(holder.state, x), attribute(holder)


def in_nested_attribute(first: Any) -> Place:
    holder = Holder(Holder(Holder(first)))
    return lambda x: use(holder.state.state.state, x), attribute(holder.state.state)


def in_replaced_object(first: Any) -> Place:
    holder = Holder(Holder(first))
    return lambda x: use(holder.state.state, x), lambda value: setattr(
        holder, "state", Holder(value)
    )


def in_object_of_a_list(first: Any) -> Place:
    holders = [Holder(), Holder(first)]
    return lambda x: use([h.state for h in holders][1], x), attribute(holders[1])


def in_slot(first: Any) -> Place:
    holder = Slotted(first)
    return lambda x: use(holder.state, x), attribute(holder)


def in_class(first: Any) -> Place:
    class Owner(Holder):
        shared = of_class(first)

    return Owner().read_shared, lambda value: setattr(Owner, "shared", of_class(value))


def in_class_by_name(first: Any) -> Place:
    class Owner:
        shared = of_class(first)

    return lambda x: use(Owner.shared, x), lambda value: setattr(Owner, "shared", of_class(value))


def in_list_of_a_class(first: Any) -> Place:
    class Owner:
        items: ClassVar[list[Any]] = [first]

    owner = Owner()
    return lambda x: use(owner.items[0], x), element(Owner.items, 0)


def in_class_method(first: Any) -> Place:
    class Owner:
        shared = of_class(first)

        @classmethod
        def read(cls, x: Any) -> Any:
            return use(cls.shared, x)

    return lambda x: Owner.read(x), lambda value: setattr(Owner, "shared", of_class(value))


def in_inherited_class(first: Any) -> Place:
    class Base:
        shared = of_class(first)

    holder = type("Derived", (Base,), {})()
    return lambda x: use(holder.shared, x), lambda value: setattr(Base, "shared", of_class(value))


def in_instance_over_class(first: Any) -> Place:
    class Owner(Holder):
        shared = of_class(first)

    holder = Owner()
    return holder.read_shared, attribute(holder, "shared")


def in_module(first: Any) -> Place:
    attribute(MODULE)(first)
    return lambda x: use(MODULE.state, x), attribute(MODULE)


def in_list_of_a_module(first: Any) -> Place:
    items = [first]
    attribute(MODULE)(items)
    return lambda x: use(MODULE.state[0], x), element(items, 0)


def in_dict_of_a_module(first: Any) -> Place:
    items = {"a": first}
    attribute(MODULE)(items)
    return lambda x: use(MODULE.state["a"], x), element(items, "a")


def in_function_attribute(first: Any) -> Place:
    def read(x: Any) -> Any:
        return use(holder.state, x)  # type: ignore[attr-defined]

    def holder() -> None: ...

    attribute(holder)(first)
    return read, attribute(holder)


def in_property(first: Any) -> Place:
    class Computed:
        def __init__(self) -> None:
            self._hidden = first

        @property
        def state(self) -> Any:
            return self._hidden

    holder = Computed()
    return lambda x: use(holder.state, x), attribute(holder, "_hidden")


def in_computed_name(first: Any) -> Place:
    holder, name = Holder(first), "st"
    return lambda x: use(getattr(holder, name + "ate"), x), attribute(holder)


def in_callable_object(first: Any) -> Place:
    class Layer:
        def __init__(self) -> None:
            self.state = first

        def __call__(self, x: Any) -> Any:
            return use(self.state, x)

    layer = Layer()
    return lambda x: layer(x), attribute(layer)


PLACES: dict[str, Callable[[Any], Place]] = {
    name[3:].replace("_", " "): place
    for name, place in list(globals().items())
    if name.startswith("in_")
}

NEW_HOLDERS = ("default", "keyword default", "replaced object", "instance over class")
"""The change rebinds what holds the value as well, so that an equal value is recorded again."""
