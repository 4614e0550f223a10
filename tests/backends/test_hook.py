"""The native profile function hears what a Python one hears, but for the code it passes over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from fusejit.backends.llvm import hook
from fusejit.backends.llvm.abi import kernels_text
from fusejit.backends.llvm.runtime import native_code

pytestmark = pytest.mark.compiled


@pytest.fixture(autouse=True)
def native() -> Iterator[None]:
    native_code()
    yield
    sys.setprofile(None)


def inner(x: int) -> int:
    return len([x])


def outer() -> int:
    return inner(3) + abs(-2)


def heard(function: Callable[[], Any], *passed_over: Callable[..., Any]) -> list[tuple[str, str]]:
    events = []

    def note(frame: FrameType, event: str, arg: Any) -> None:
        what = arg.__name__ if event == "c_call" else frame.f_code.co_name
        events.append((event, what))

    listening = hook.Hook(note)
    for each in passed_over:
        listening.pass_over(each.__code__)
    listening.start()
    assert sys.getprofile() is listening
    function()
    sys.setprofile(None)
    return events[: -1 if events[-1] == ("c_call", "setprofile") else None]


def test_calls_are_heard_and_returns_are_not() -> None:
    calls = [("call", "outer"), ("call", "inner"), ("c_call", "len"), ("c_call", "abs")]
    assert [e for e in heard(outer) if e[1] != "getprofile"] == calls


def test_code_that_is_passed_over_is_not_heard_nor_what_it_calls_in_c() -> None:
    known = heard(outer, inner)
    assert ("call", "inner") not in known and ("c_call", "len") not in known
    assert ("call", "outer") in known and ("c_call", "abs") in known


def test_an_exception_of_the_function_reaches_the_caller() -> None:
    def refuse(frame: FrameType, event: str, arg: Any) -> None:
        sys.setprofile(None)
        raise KeyError("no")

    listening = hook.Hook(refuse)
    with pytest.raises(KeyError, match="no"):
        listening.start()
        outer()


def test_places_are_shared_and_whoever_comes_last_has_them() -> None:
    listening = hook.Hook(lambda *event: None)
    listening.pass_over(inner.__code__)
    address = id(inner.__code__)
    assert listening._table[(address >> 4) % hook.PLACES] == address
    ir = kernels_text("llvm/hook.ll")
    assert f"and i64 %high, {hook.PLACES - 1} " in ir
