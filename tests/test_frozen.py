"""Frozen records behave as the dataclasses that they stand for."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest

from fusejit.frozen import frozen, initialized, values


class Plain:
    """Three fields, of which two may be left out."""

    name: str
    size: int = 3
    parts: tuple[int, ...] = ()


def make(decorate: Callable[[type], type]) -> Any:
    return decorate(type("Plain", (), dict(vars(Plain))))


BOTH = make(dataclass(frozen=True, slots=True)), make(frozen)


@frozen
class Base:
    left: int
    right: int = 2


@frozen
class Derived(Base):
    third: str = "c"


@frozen(eq=False, kw_only=True)
class Checked:
    number: int
    doubled: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "doubled", 2 * self.number)


@pytest.mark.parametrize("cls", BOTH)
def test_as_a_dataclass(cls: Any) -> None:
    record = cls("a", parts=(1, 2))
    assert repr(record) == "Plain(name='a', size=3, parts=(1, 2))"
    assert record == cls("a", 3, (1, 2)) != cls("a", 4, (1, 2))
    assert hash(record) == hash(("a", 3, (1, 2))) == hash(copy.copy(record))
    assert copy.deepcopy(record) == record
    assert record != ("a", 3, (1, 2)) and cls.__doc__ == Plain.__doc__
    match record:
        case cls(name, size):
            assert (name, size) == ("a", 3)
    for change in (lambda: setattr(record, "size", 4), lambda: delattr(record, "name")):
        with pytest.raises(FrozenInstanceError):
            change()
    assert not hasattr(record, "__dict__")
    for arguments in ((), ("a", 1, (), 4)):
        with pytest.raises(TypeError):
            cls(*arguments)


def test_fields_of_a_base_come_first() -> None:
    assert values(Derived(1)) == (1, 2, "c")
    assert Derived(1, 2, "d") != Derived(1) != Base(1)
    assert pickle.loads(pickle.dumps(Derived(1, third="x"))) == Derived(1, 2, "x")


def test_what_is_checked_and_compared_by_identity() -> None:
    assert Checked(number=2).doubled == 4
    assert Checked(number=2) != Checked(number=2)
    assert str(inspect.signature(Checked)) == "(*, number, doubled=0)"
    wrong: list[dict[str, int]] = [{}, {"doubled": 1}, {"number": 1, "other": 2}]
    for given in wrong:
        with pytest.raises(TypeError, match=r"number|other"):
            Checked(**given)
    with pytest.raises(TypeError):
        Checked(2)  # type: ignore[misc]


def test_fields_of_what_may_change() -> None:
    @initialized
    class Counter:
        start: int
        step: int = 2

    @initialized(kw_only=True)
    class Named:
        start: int
        step: int = 2

    counter = Counter(5)
    counter.step = 3
    assert (counter.start, counter.step, Counter(1, 4).step, Named(start=1).step) == (5, 3, 4, 2)
    with pytest.raises(TypeError):
        Counter()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Named(1)  # type: ignore[misc]
