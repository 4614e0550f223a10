"""Odd places behind a name (globals, builtins, functions, containers): a change there is seen."""

from __future__ import annotations

import builtins
import collections
import functools
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import Place, X, sees_changes


def dict_order() -> Place:
    table = {"a": 2.0, "b": 3.0}

    def body(x: Any) -> Any:
        for value in table.values():
            x = x * value + value
        return x

    def reorder() -> None:
        table["a"] = table.pop("a")

    return body, [reorder, lambda: table.update(c=1.0), lambda: table.pop("a")]


def missing_global() -> Place:
    space: dict[str, Any] = {}
    exec(
        "def body(x):\n    try:\n        return x * extra\n    except NameError:\n        return x",
        space,
    )
    return space["body"], [lambda: space.update(extra=2.0), lambda: space.pop("extra")]


def shadowed_builtin() -> Place:
    space: dict[str, Any] = {"X": X}
    exec("def body(x): return x * float(len('abc')) + abs(-2.0)", space)
    return space["body"], [
        lambda: space.update(len=lambda s: 10),
        lambda: space.update(abs=lambda v: 5.0),
        lambda: space.pop("len"),
    ]


def replaced_builtin() -> Place:
    space: dict[str, Any] = {}
    exec("def body(x): return x * float(made_up(1))", space)
    builtins.made_up = lambda v: v + 1  # type: ignore[attr-defined]
    return space["body"], [lambda: setattr(builtins, "made_up", lambda v: v + 2)]


def replaced_module() -> Place:
    name = "module_of_the_reach_test"
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].scale = 2.0  # type: ignore[attr-defined]
    other = types.ModuleType(name)
    other.scale = 3.0  # type: ignore[attr-defined]
    space: dict[str, Any] = {}
    exec(f"def body(x):\n    import {name} as m\n    return x * m.scale", space)
    return space["body"], [
        lambda: setattr(sys.modules[name], "scale", 7.0),
        lambda: sys.modules.update({name: other}),
    ]


def from_import() -> Place:
    name = "module_of_the_from_import_test"
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].scale = 2.0  # type: ignore[attr-defined]
    space: dict[str, Any] = {}
    exec(f"def body(x):\n    from {name} import scale\n    return x * scale", space)
    return space["body"], [lambda: setattr(sys.modules[name], "scale", 7.0)]


def function_attribute() -> Place:
    def helper(x: Any) -> Any:
        return x * helper.scale  # type: ignore[attr-defined]

    helper.scale = 2.0  # type: ignore[attr-defined]
    return lambda x: helper(x), [lambda: setattr(helper, "scale", 3.0)]


def function_code() -> Place:
    def helper(x: Any) -> Any:
        return x * 2.0

    def replacement(x: Any) -> Any:
        return x * 3.0

    return lambda x: helper(x), [lambda: setattr(helper, "__code__", replacement.__code__)]


def mutable_default() -> Place:
    def helper(x: Any, parts: Any = [2.0]) -> Any:  # noqa: B006
        return x * parts[-1]

    assert helper.__defaults__ is not None
    parts = helper.__defaults__[0]
    return lambda x: helper(x), [
        lambda: parts.append(3.0),
        lambda: parts.clear() or parts.append(4.0),
    ]


def partial_object() -> Place:
    state = {"k": 2.0}

    def scale(x: Any, table: Any, k: Any) -> Any:
        return x * table["k"] * k

    bound = functools.partial(scale, table=state, k=3.0)
    return lambda x: bound(x), [lambda: state.update(k=5.0), lambda: bound.keywords.update(k=1.5)]


def numpy_scalars_and_constants() -> Place:
    box = {"a": np.float64(2.0), "b": np.int32(3), "c": 1 + 2j, "d": b"ab", "e": (1, (2.0,))}

    def body(x: Any) -> Any:
        return (
            x * box["a"] * float(box["b"]) * abs(box["c"]) * float(len(box["d"])) * box["e"][1][0]
        )  # type: ignore[index,arg-type]

    return body, [
        lambda: box.update(a=np.float64(4.0)),
        lambda: box.update(b=np.int32(5)),
        lambda: box.update(c=3 + 4j),
        lambda: box.update(d=b"abc"),
        lambda: box.update(e=(1, (5.0,))),
    ]


def shared_tensor() -> Place:
    t = fj.constant([1.0, 2.0, 3.0])
    a, b = [t], {"k": t}

    def body(x: Any) -> Any:
        return x * a[0] + b["k"] + (1.0 if a[0] is b["k"] else 2.0)

    return body, [
        lambda: a.__setitem__(0, t * 2.0),
        lambda: b.update(k=a[0]),
        lambda: b.update(k=t + 1.0),
    ]


def shared_containers() -> Place:
    part = [2.0]
    box: dict[str, Any] = {"a": part, "b": part, "c": {"d": part}}
    return lambda x: x * box["a"][0] + box["b"][0] + box["c"]["d"][0] * 0.5, [
        lambda: box.update(b=[3.0]),
        lambda: box["c"].update(d=[4.0]),
        lambda: part.__setitem__(0, 5.0),
        lambda: box.update(a=box["b"]),
    ]


def standard_library_state() -> Place:
    table = collections.defaultdict(lambda: 2.0, {"a": 3.0})
    space = types.SimpleNamespace(k=2.0)
    counter = collections.Counter("aab")
    return lambda x: x * table["a"] * space.k * float(counter["a"]), [
        lambda: table.update(a=4.0),
        lambda: setattr(space, "k", 5.0),
        lambda: counter.update("aa"),
    ]


def logger_and_annotations() -> Place:
    import logging

    log, table = logging.getLogger("reach"), {"k": 2.0}

    def body(x: fj.Tensor) -> fj.Tensor:
        if "k" not in table:
            log.warning("never")
            print("never")
        return x * table["k"]

    return body, [lambda: table.update(k=3.0)]


PLACES = [
    dict_order,
    missing_global,
    shadowed_builtin,
    replaced_builtin,
    replaced_module,
    from_import,
    function_attribute,
    function_code,
    mutable_default,
    partial_object,
    numpy_scalars_and_constants,
    shared_containers,
    shared_tensor,
    standard_library_state,
    logger_and_annotations,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.__name__)
def test_a_change_is_seen_and_what_does_not_change_replays(place: Callable[[], Place]) -> None:
    sees_changes(place)
