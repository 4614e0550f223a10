"""Never stale: whatever Python state a decorated function reads, the next call sees its change.

Each kind of value, in each place, read by the decorated function itself or by what it calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fusejit as fj
from tests.capture import elsewhere
from tests.capture.helpers import X, frames, same
from tests.capture.kinds import COMMON, KINDS, Kind
from tests.capture.places import NEW_HOLDERS, PLACES

Read = Callable[[Any], Any]


def decorated(read: Any) -> tuple[Read, Any]:
    """What to call, and the decorated function that runs then."""
    call: Any = fj.function(read)
    return call, getattr(call, "__func__", call)


def here(read: Read) -> tuple[Read, Any]:
    return decorated(read)


def in_a_callee(read: Read) -> tuple[Read, Any]:
    return decorated(lambda x: read(x))


def in_a_decorated_callee(read: Read) -> tuple[Read, Any]:
    inner, _ = decorated(read)
    return decorated(lambda x: inner(x))


def in_a_function_of_an_imported_module(read: Read) -> tuple[Read, Any]:
    elsewhere.read = read
    return decorated(lambda x: elsewhere.call(x))


CALLERS = (in_a_callee, in_a_decorated_callee, in_a_function_of_an_imported_module)


def replays(call: Read, expected: Any) -> None:
    """The next calls give this, and the third runs no Python: it was recorded and compiled."""
    for _ in range(2):
        assert same(call(X), expected)
    found: list[Any] = []
    assert frames(lambda: found.append(call(X))) == []
    assert same(found[0], expected)


def sees_the_change(place: str, kind: Kind, reader: Callable[[Read], tuple[Read, Any]]) -> None:
    value = kind.make()
    read, put = PLACES[place](value)
    call, function = reader(read)
    before = read(X)
    replays(call, before)
    assert function.num_traces == 1

    other = kind.change(value)
    put(other)
    after = read(X)
    assert same(before, after) == kind.equal
    replays(call, after)
    settled = kind.replays and place not in NEW_HOLDERS
    assert function.num_traces == 1 if settled else function.num_traces <= 2

    put(kind.make() if other is value else value)
    replays(call, before)
    assert function.num_traces <= 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_the_next_call_sees_a_change(place: str, kind: str) -> None:
    sees_the_change(place, KINDS[kind], here)


@pytest.mark.parametrize("kind", COMMON)
@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.__name__.replace("_", " "))
@pytest.mark.parametrize("place", PLACES)
def test_the_next_call_sees_what_a_callee_reads(place: str, caller: Any, kind: str) -> None:
    sees_the_change(place, KINDS[kind], caller)
