"""Values in arguments: wherever in one a value is, a call sees it as it is now, and replays.

The kinds of values are those of the staleness matrix; here they are passed instead of reached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fusejit as fj
from tests.capture.helpers import Pair, Point, X, frames, same
from tests.capture.kinds import KINDS, use

Call = tuple[tuple[Any, ...], dict[str, Any]]
Carrier = tuple[Callable[..., Any], Callable[[Any], Call]]
"""A function, and the arguments that carry a value to it."""


class Keyed:
    """Hashable by what it holds, and mutable."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __hash__(self) -> int:
        return hash(str(self.state))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyed) and str(self.state) == str(other.state)


KEPT_LIST: list[Any] = [None]
KEPT_DICT: dict[str, Any] = {"a": None}
KEPT_OBJECT = Keyed(None)


def in_the_same_list(value: Any) -> Call:
    KEPT_LIST[0] = value
    return (X, KEPT_LIST), {}


def in_the_same_dict(value: Any) -> Call:
    KEPT_DICT["a"] = value
    return (X, KEPT_DICT), {}


def in_the_same_object(value: Any) -> Call:
    KEPT_OBJECT.state = value
    return (X, KEPT_OBJECT), {}


CARRIERS: dict[str, Carrier] = {
    "positional": (lambda x, s: use(s, x), lambda v: ((X, v), {})),
    "keyword": (lambda x, s: use(s, x), lambda v: ((), {"s": v, "x": X})),
    "over a default": (lambda x, s=4.5: use(s, x), lambda v: ((X, v), {})),
    "keyword only": (lambda x, *, s: use(s, x), lambda v: ((X,), {"s": v})),
    "starred": (lambda x, *rest: use(rest[1], x), lambda v: ((X, 0, v), {})),
    "starred keyword": (lambda x, **rest: use(rest["s"], x), lambda v: ((X,), {"r": 0, "s": v})),
    "list": (lambda x, xs: use(xs[1], x), lambda v: ((X, [0, v]), {})),
    "tuple": (lambda x, xs: use(xs[1][0], x), lambda v: ((X, (0, (v,))), {})),
    "dict": (lambda x, d: use(d["a"][2], x), lambda v: ((X, {"a": {2: v}}), {})),
    "namedtuple": (lambda x, p: use(p.y, x), lambda v: ((X, Point(0, v)), {})),
    "list of dicts": (lambda x, xs: use(xs[0]["a"], x), lambda v: ((X, [{"a": v}, None]), {})),
    "new dataclass": (lambda x, p: use(p.right, x), lambda v: ((X, Pair(None, v)), {})),
    "the same list": (lambda x, xs: use(xs[0], x), in_the_same_list),
    "the same dict": (lambda x, d: use(d["a"], x), in_the_same_dict),
    "the same object": (lambda x, o: use(o.state, x), in_the_same_object),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_call_sees_the_value_as_it_is(carrier: str, kind: str) -> None:
    body, pack = CARRIERS[carrier]
    f = fj.function(body)
    value = KINDS[kind].make()

    def settles(value: Any) -> Any:
        args, kwargs = pack(value)
        expected = body(*args, **kwargs)
        for _ in range(2):
            assert same(f(*args, **kwargs), expected)
        assert frames(lambda: f(*args, **kwargs)) == []
        return expected

    before = settles(value)
    assert f.num_traces == 1
    other = KINDS[kind].change(value)
    after = settles(other)
    assert same(before, after) == KINDS[kind].equal
    new_object = carrier == "new dataclass"
    settled = KINDS[kind].replays and not new_object
    assert f.num_traces == 1 if settled else f.num_traces <= 2
    assert same(settles(KINDS[kind].make() if other is value else value), before)
    assert f.num_traces <= 3
