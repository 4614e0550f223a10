"""What Python state can hold, and how it changes: the kinds of values of the staleness matrix."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fusejit as fj


class Color(enum.Enum):
    RED = 2.0
    BLUE = 5.0


class Level(enum.IntEnum):
    LOW = 2
    HIGH = 5


@dataclasses.dataclass
class Settings:
    scale: Any
    inner: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    scale: float


@dataclasses.dataclass(slots=True)
class Slots:
    scale: float


class Scale(NamedTuple):
    scale: float
    shift: float


class Layer:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def act(self, x: Any) -> Any:
        return x * self.scale

    def __call__(self, x: Any) -> Any:
        return x - self.scale


def scaling(by: float) -> Callable[[Any], Any]:
    """A new function with a default of each sort, a cell and an attribute."""
    add = by

    def scaled(x: Any, times: float = by, *, shift: float = by) -> Any:
        return x * times + shift + add

    return scaled


def times(x: Any, by: float) -> Any:
    return x * by


def use(value: Any, x: Any) -> Any:
    """Something that depends on the value, whatever it is, and on its type."""
    if value is None or value is ...:
        return x - (7.0 if value is None else 8.0)
    if isinstance(value, bool):
        return x + 1.0 if value else x - 1.0
    if isinstance(value, enum.Enum):
        return x * value.value
    if isinstance(value, int):
        return x * value - 3.0
    if isinstance(value, float):
        return x / value, math.copysign(1.0, value)
    if isinstance(value, complex):
        return x * value.imag
    if isinstance(value, (str, bytes, range)):
        return x * float(len(value))
    if isinstance(value, slice):
        return x[value]
    if isinstance(value, (Settings, Frozen, Slots)):
        return x * use_inner(value.scale)
    if isinstance(value, Scale):
        return x * value.scale + value.shift
    if isinstance(value, dict):
        return sum(x * v for v in value.values()) + float(len(value))
    if isinstance(value, (tuple, list)):
        return sum(x * v for v in value) + float(len(value))
    if isinstance(value, np.dtype):
        return x.astype(value)
    if isinstance(value, type):
        return value(3.0)(x)
    return value(x) if callable(value) else x * value


def use_inner(scale: Any) -> Any:
    return use_inner(scale.scale) if isinstance(scale, Settings) else scale


@dataclasses.dataclass(frozen=True)
class Kind:
    """`make` gives a value, `change` what takes its place, or the value itself, mutated."""

    make: Callable[[], Any]
    change: Callable[[Any], Any]
    by_reference: bool = False  # an input of the plan: the change needs no recording
    equal: bool = False  # the change leaves type and bits: it needs no recording either

    @property
    def replays(self) -> bool:
        return self.by_reference or self.equal


def rebound(first: Callable[[], Any], then: Callable[[], Any], **more: bool) -> Kind:
    return Kind(first, lambda old: then(), **more)


def mutated(make: Callable[[], Any], change: Callable[[Any], Any], **more: bool) -> Kind:
    def changed(value: Any) -> Any:
        change(value)
        return value

    return Kind(make, changed, **more)


def _write(array: Any) -> None:
    array[1] = 9.0


def _recode(function: Any) -> None:
    def other(x: Any, times: float = 1.0, *, shift: float = 1.0) -> Any:
        return x - times * shift - add

    add = 0.0
    function.__code__ = other.__code__


def _set_cell(function: Any) -> None:
    function.__closure__[0].cell_contents = 11.0


def _ones(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


KINDS: dict[str, Kind] = {
    "int": rebound(lambda: 3, lambda: 4),
    "huge int": rebound(lambda: 10**20, lambda: 2 * 10**20),
    "equal int": rebound(lambda: 10**20, lambda: int("1" + "0" * 20), equal=True),
    "float": rebound(lambda: 1.5, lambda: 2.5),
    "equal float": rebound(lambda: 1.5, lambda: float("1.5"), equal=True),
    "minus zero": rebound(lambda: 0.0, lambda: -0.0),
    "nan": rebound(lambda: float("nan"), lambda: 1.0),
    "nan to another nan": rebound(lambda: float("nan"), lambda: float("nan"), equal=True),
    "bool": rebound(lambda: True, lambda: False),
    "True to 1": rebound(lambda: True, lambda: 1),
    "1 to 1.0": rebound(lambda: 1, lambda: 1.0),
    "str": rebound(lambda: "ab", lambda: "abc"),
    "equal str": rebound(lambda: "ab", lambda: "".join(["a", "b"]), equal=True),
    "bytes": rebound(lambda: b"ab", lambda: b"abc"),
    "float to None": rebound(lambda: 3.0, lambda: None),
    "None to int": rebound(lambda: None, lambda: 0),
    "None to Ellipsis": rebound(lambda: None, lambda: ...),
    "complex": rebound(lambda: 1j, lambda: 2j),
    "range": rebound(lambda: range(2), lambda: range(3)),
    "slice": rebound(lambda: slice(0, 2), lambda: slice(1, 3)),
    "dtype": rebound(lambda: np.dtype("float64"), lambda: np.dtype("int32")),
    "tuple": rebound(lambda: (1.0, 2.0), lambda: (1.0, 3.0)),
    "longer tuple": rebound(lambda: (1.0, 2.0), lambda: (1.0, 2.0, 0.0)),
    "equal tuple": rebound(lambda: (1.0, "")[:1], lambda: (1.0, None)[:1], equal=True),
    "tuple of Tensor": rebound(
        lambda: (fj.constant(1.0), 2.0), lambda: (fj.constant(4.0), 2.0), by_reference=True
    ),
    "namedtuple": rebound(lambda: Scale(1.0, 2.0), lambda: Scale(1.0, 3.0)),
    "list": rebound(lambda: [1.0, 2.0], lambda: [1.0, 3.0]),
    "list element": mutated(lambda: [1.0, 2.0], lambda items: items.__setitem__(1, 3.0)),
    "list grows": mutated(lambda: [1.0, 2.0], lambda items: items.append(0.0)),
    "dict element": mutated(lambda: {"a": 1.0}, lambda items: items.__setitem__("a", 3.0)),
    "dict grows": mutated(lambda: {"a": 1.0}, lambda items: items.__setitem__("b", 0.0)),
    "enum": rebound(lambda: Color.RED, lambda: Color.BLUE),
    "int enum": rebound(lambda: Level.LOW, lambda: Level.HIGH),
    "Tensor": rebound(lambda: fj.constant(2.0), lambda: fj.constant(3.0), by_reference=True),
    "Tensor of another shape": rebound(lambda: fj.constant(2.0), lambda: fj.ones(3)),
    "Tensor of another dtype": rebound(lambda: fj.ones(3), lambda: fj.ones(3, dtype="float64")),
    "ndarray": rebound(lambda: _ones(3), lambda: _ones(3) * 2),
    "ndarray in place": mutated(lambda: _ones(3), _write),
    "ndarray of another shape": rebound(lambda: _ones(3), lambda: _ones(2, 3)),
    "NumPy scalar": rebound(lambda: np.float32(1.0), lambda: np.float32(2.0)),
    "Variable": rebound(lambda: fj.Variable(2.0), lambda: fj.Variable(5.0)),
    "Variable assigned": mutated(
        lambda: fj.Variable(2.0), lambda v: v.assign(v + 1.0), by_reference=True
    ),
    "function": rebound(lambda: scaling(2.0), lambda: scaling(3.0)),
    "function code": mutated(lambda: scaling(2.0), _recode),
    "function default": mutated(
        lambda: scaling(2.0), lambda function: setattr(function, "__defaults__", (3.0,))
    ),
    "function keyword default": mutated(
        lambda: scaling(2.0), lambda function: function.__kwdefaults__.update(shift=3.0)
    ),
    "function cell": mutated(lambda: scaling(2.0), _set_cell),
    "decorated function": rebound(
        lambda: fj.function(scaling(2.0)), lambda: fj.function(scaling(3.0))
    ),
    "decorated function default": mutated(
        lambda: fj.function(scaling(2.0)),
        lambda function: setattr(function.eager, "__defaults__", (3.0,)),
    ),
    "built-in function": rebound(lambda: fj.exp, lambda: fj.tanh),
    "partial": rebound(
        lambda: functools.partial(times, by=2.0), lambda: functools.partial(times, by=3.0)
    ),
    "bound method": rebound(lambda: Layer(2.0).act, lambda: Layer(3.0).act),
    "self of a bound method": mutated(
        lambda: Layer(2.0).act, lambda method: setattr(method.__self__, "scale", 3.0)
    ),
    "class": rebound(lambda: Layer, lambda: type("Other", (Layer,), {"__call__": Layer.act})),
    "callable object": mutated(lambda: Layer(2.0), lambda layer: setattr(layer, "scale", 3.0)),
    "dataclass": rebound(lambda: Settings(2.0), lambda: Settings(3.0)),
    "dataclass field": mutated(lambda: Settings(2.0), lambda s: setattr(s, "scale", 3.0)),
    "dataclass field of Tensor": mutated(
        lambda: Settings(fj.constant(2.0)),
        lambda s: setattr(s, "scale", fj.constant(3.0)),
        by_reference=True,
    ),
    "dataclass in a dataclass": mutated(
        lambda: Settings(Settings(2.0)), lambda s: setattr(s.scale, "scale", 3.0)
    ),
    "frozen dataclass": rebound(lambda: Frozen(2.0), lambda: Frozen(3.0)),
    "dataclass with slots": mutated(lambda: Slots(2.0), lambda s: setattr(s, "scale", 3.0)),
    "lambda": rebound(lambda: lambda x: x + 1.0, lambda: lambda x: x + 2.0),
}

COMMON = (
    "int",
    "float",
    "minus zero",
    "True to 1",
    "str",
    "float to None",
    "tuple",
    "list element",
    "enum",
    "Tensor",
    "ndarray",
    "ndarray in place",
    "Variable",
    "Variable assigned",
    "function",
    "function code",
    "function default",
    "dataclass",
    "dataclass field",
    "equal tuple",
)
"""What is read most: these are tried behind each sort of call too."""
