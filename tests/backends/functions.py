"""What tests of the native entry share: stand-ins for Tensor and for the decorated function."""

from __future__ import annotations

import ctypes
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fusejit.backends.llvm.callable import Convention, Entry, Signature, convention, install
from fusejit.backends.llvm.checks import Arg, Check, Input
from fusejit.backends.llvm.native import NativeCallable, enable_vectorcall
from fusejit.backends.llvm.results import Called, Leaf, List, Nest, Output, Result, Tuple
from fusejit.backends.llvm.runtime import NativePlan
from tests.backends.plans import Array, add_plan, f32


class Tensor:
    __slots__ = ("__weakref__", "_data", "_origin", "_tag")
    _data: Array
    _tag: Any
    _origin: Any


class Function(NativeCallable):
    """A stand-in for the decorated function: everything that is not native is recorded."""

    def __init__(self) -> None:
        self.slow_calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.slow_calls.append((args, kwargs))
        return "slow"

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)


assert enable_vectorcall(Function, method=True)

ACTIVE = ctypes.c_int64(0)
TENSORS: Convention = convention(Tensor, ACTIVE)
X, Y = f32([0, 1, 2, 3]), f32([1, 2, 3, 4])
BOTH = (Check(Arg(0), expect=Input(0)), Check(Arg(1), expect=Input(1)))


def tensor(value: Any, dtype: Any = np.float32) -> Tensor:
    made = Tensor()
    made._data, made._tag, made._origin = np.array(value, dtype), None, None
    return made


def entry(
    checks: Sequence[Check],
    plan: NativePlan,
    nargs: int = 2,
    result: str | Callable[[list[Any]], Any] | Result = "one",
) -> Entry:
    """An entry whose result is "one" output, a "tuple" of all, or what a callable makes of them."""
    if not isinstance(result, Result):
        numbers = range(len(plan.plan.outputs))
        leaves = tuple(map(Leaf, numbers))
        nest: Nest = Leaf(0) if result == "one" else Tuple(leaves)
        if callable(result):
            nest = Called(result, (List(leaves),))
        result = Result(tuple(map(Output, numbers)), nest)
    return Entry(TENSORS, nargs, checks, plan, result)


def function(*entries: Entry, signature: Signature | None = None) -> Function:
    made = Function()
    assert install(made, entries, made.__call__, signature=signature)
    return made


def adder() -> Function:
    return function(entry(BOTH, add_plan()))


def is_slow(f: Function, *args: Any, **kwargs: Any) -> bool:
    """Whether the call went to Python, with its arguments intact."""
    f.slow_calls.clear()
    result = f(*args, **kwargs)
    if not f.slow_calls:
        return False
    ((seen, keywords),) = f.slow_calls
    assert result == "slow" and keywords == kwargs
    assert all(a is b for a, b in zip(seen, args, strict=True))
    return True


class Node:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)
