"""Every kind of check that the native entry makes, when it holds and when it does not."""

from __future__ import annotations

import enum
import itertools
import types
import weakref
from typing import Any

import numpy as np
import pytest

from fusejit.backends.llvm.callable import convention
from fusejit.backends.llvm.checks import (
    Absent,
    Anything,
    Arg,
    Attribute,
    Behind,
    Bytes,
    Check,
    Content,
    Distinct,
    Exactly,
    Expect,
    Field,
    Item,
    Itself,
    Kept,
    Key,
    Keys,
    Length,
    Of,
    Referent,
    Same,
    Source,
    Take,
    Twin,
)
from fusejit.scalar import F32, F64
from tests.backends.functions import (
    ACTIVE,
    BOTH,
    Node,
    X,
    Y,
    entry,
    function,
    is_slow,
    tensor,
)
from tests.backends.plans import Writer, add_plan, f32
from tests.collecting import collect


def holds(source: Source, take: Take = Itself(), expect: Expect = Anything(), *args: Any) -> bool:  # noqa: B008
    """Whether one check lets a call through; `first_miss` must agree."""
    one = entry([Check(source, take, expect)], Writer().load(), len(args), "tuple")
    result = not is_slow(function(one), *args)
    assert one.first_miss(*args) == (-1 if result else 0)
    return result


@pytest.mark.parametrize(
    ("expected", "same", "different"),
    [
        (None, None, 0),
        (True, True, 1),
        (1, 1, True),
        (10**30, 10**30 + 0, 10**30 + 1),
        (-5, int("-5"), -6),
        (1, 1, 1.0),
        (1.5, float("1.5"), 1.25),
        (0.0, 0.0, -0.0),
        (float("nan"), float("nan"), 0.0),
        (1.0, 1.0, np.float64(1.0)),
        ("abcd" * 50, "".join(["abcd"] * 50), "abce" * 50),
        (b"abcd" * 50, b"".join([b"abcd"] * 50), b""),
        (print, print, len),
        (F32, F32, F64),
    ],
)
def test_same(expected: Any, same: Any, different: Any) -> None:
    assert holds(Arg(0), Itself(), Same(expected), same)
    assert not holds(Arg(0), Itself(), Same(expected), different)


def test_same_runs_no_user_code() -> None:
    class Odd(int):
        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = int.__hash__

    class Level(enum.Enum):
        LOW = 1

    assert not holds(Arg(0), Itself(), Same(3), Odd(3))
    assert not holds(Arg(0), Itself(), Same([1]), [1])
    assert holds(Arg(0), Itself(), Same(Level.LOW), Level.LOW)


def test_dicts() -> None:
    world: dict[Any, Any] = {"a": 1, 2: "b"}
    a = (Kept(world), Key("a"))
    assert holds(*a, Same(1)) and not holds(*a, Same(2)) and not holds(*a, Absent())
    assert holds(Kept(world), Key(2), Same("b")) and holds(Kept(world), Key("z"), Absent())
    assert not holds(Kept(world), Key("z"), Anything()) and holds(Kept(world), Itself(), Length(2))
    check = entry([Check(*a, Same(1))], Writer().load(), 0, "tuple")
    f = function(check)
    assert not is_slow(f)
    world["a"] = 5
    assert is_slow(f) and check.first_miss() == 0
    world["a"] = 1
    assert not is_slow(f)
    del world["a"]
    assert is_slow(f)


def test_a_key_that_cannot_be_looked_up() -> None:
    assert not holds(Kept({}), Key([]), Absent()) and not holds(Kept([]), Key("a"), Absent())


def test_cells() -> None:
    def cell_of(value: Any) -> Any:
        return (lambda: value).__closure__[0]  # type: ignore[index]

    cell = cell_of(1)
    assert holds(Kept(cell), Content(), Same(1)) and not holds(Kept(cell), Content(), Same(2))
    assert holds(Kept(types.CellType()), Content(), Absent())
    assert not holds(Kept(cell), Content(), Absent())
    assert not holds(Kept(3), Content(), Anything()) and not holds(Kept(3), Content(), Absent())


def test_attributes() -> None:
    node = Node(w=1)
    assert holds(Kept(node), Attribute("w"), Same(1))
    assert not holds(Kept(node), Attribute("w"), Same(2))
    assert holds(Kept(node), Attribute("z"), Absent())
    assert not holds(Kept(node), Attribute("w"), Absent())

    class Bad:
        @property
        def raises(self) -> int:
            raise ValueError

        @property
        def absent(self) -> int:
            raise AttributeError

    assert not holds(Kept(Bad()), Attribute("raises"), Anything())
    assert not holds(Kept(Bad()), Attribute("raises"), Absent())
    assert holds(Kept(Bad()), Attribute("absent"), Absent())
    assert holds(Arg(0), Attribute("w"), Same(1), node)


def test_items_and_lengths() -> None:
    class Pair(tuple[int, ...]):
        pass

    for sequence in ([1, 2], (1, 2), Pair((1, 2))):
        assert holds(Kept(sequence), Item(1), Same(2)) and not holds(
            Kept(sequence), Item(1), Same(1)
        )
        assert not holds(Kept(sequence), Item(2), Anything())
        assert not holds(Kept(sequence), Item(2), Absent())
        assert holds(Kept(sequence), Itself(), Length(2))
        assert not holds(Kept(sequence), Itself(), Length(3))
    assert not holds(Kept({0: 1}), Item(0)) and not holds(Kept(5), Itself(), Length(0))


def test_functions() -> None:
    def make(n: int) -> Any:
        def inner(a: int, b: int = 1, *, c: int = 2) -> int:
            return n

        return inner

    f = make(1)
    fields: list[tuple[Any, str]] = [
        ("code", "__code__"),
        ("defaults", "__defaults__"),
        ("kwdefaults", "__kwdefaults__"),
        ("closure", "__closure__"),
    ]
    for field, name in fields:
        value = getattr(f, name)
        assert holds(Kept(f), Field(field), Same(value))
        assert not holds(Kept(f), Field(field), Same(None)) and not holds(
            Kept(f), Field(field), Absent()
        )
        assert not holds(Kept(print), Field(field)) and not holds(
            Kept(print), Field(field), Absent()
        )
    assert not holds(Kept(make(2)), Field("closure"), Same(f.__closure__))

    def bare() -> None: ...

    assert all(holds(Kept(bare), Field(field), Absent()) for field, _ in fields[1:])


def test_types_and_weak_references() -> None:
    node = Node(w=1)
    ref = weakref.ref(node)
    assert holds(Arg(0), Itself(), Exactly(int), 3) and not holds(
        Arg(0), Itself(), Exactly(int), True
    )
    assert holds(Arg(0), Itself(), Referent(ref, Node), node)
    assert not holds(Arg(0), Itself(), Referent(ref, Node), Node())
    other = Node()
    assert not holds(Arg(0), Itself(), Referent(weakref.ref(other), object), other)
    assert holds(Behind(ref), Attribute("w"), Same(1)) and holds(
        Behind(ref), Itself(), Exactly(Node)
    )
    check = entry([Check(Behind(ref), Attribute("w"), Same(1))], Writer().load(), 0, "tuple")
    del node
    assert ref() is None and check.first_miss() == 0
    assert not holds(Arg(0), Itself(), Referent(ref, Node), None)
    assert not holds(Behind(ref))


def test_bytes() -> None:
    array = f32([1, 2, 3])
    expect = Bytes(array.dtype, array.shape, array.tobytes())
    check = entry([Check(Arg(0), expect=expect)], Writer().load(), 1, "tuple")
    assert check.first_miss(array) == -1 and check.first_miss(array.copy()) == -1
    assert check.first_miss(array[:2]) == 0 and check.first_miss(array.astype(np.float64)) == 0
    assert check.first_miss(tensor(array)) == 0 and check.first_miss(3) == 0
    array[1] = 5
    assert check.first_miss(array) == 0
    assert holds(Arg(0), Itself(), Bytes(np.dtype(float), (0,), b""), np.empty(0))


def test_first_miss_counts_checks() -> None:
    one = entry((*BOTH, Check(Kept({}), Key("a"))), add_plan())
    x, y = tensor(X), tensor(Y)
    assert one.first_miss(x, y) == 2 and one.first_miss(x, 1) == 1 and one.first_miss(1, y) == 0
    assert one.first_miss(x) == 1 and one.first_miss() == 0


def test_a_class_without_such_slots_is_refused() -> None:
    with pytest.raises(TypeError, match="no slot"):
        convention(
            type("Plain", (), {"_data": property(None, lambda self, value: None)}),
            ACTIVE,
            blanks=(),
        )


def test_twin_compares_with_an_earlier_check() -> None:
    x, y = object(), object()
    one = entry([Check(Arg(0)), Check(Arg(1), Itself(), Twin(0))], Writer().load(), 2, "tuple")
    assert not is_slow(function(one), x, x) and is_slow(function(one), x, y)
    assert one.first_miss(x, x) == -1 and one.first_miss(x, y) == 1


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8, 100])
def test_distinct_finds_any_two_that_are_one(count: int) -> None:
    taken = [Check(Arg(0), Item(index)) for index in range(count)]
    distinct = Check(Of(0), expect=Distinct(tuple(range(count))))
    one = entry([*taken, distinct], Writer().load(), 1, "tuple")
    f, items = function(one), [object() for _ in range(count)]
    for first, second in itertools.combinations(range(0, count, max(1, count // 10)), 2):
        assert not is_slow(f, items)
        twice = [items[first] if n == second else item for n, item in enumerate(items)]
        assert is_slow(f, twice) and one.first_miss(twice) == count
    assert one.first_miss(items) == -1


def test_distinct_asks_only_of_earlier_checks() -> None:
    with pytest.raises(ValueError, match="not an earlier one"):
        entry([Check(Arg(0), Itself(), Distinct((0, 0)))], Writer().load(), 1, "tuple")


def test_twin_of_a_later_check_is_refused() -> None:
    with pytest.raises(ValueError, match="not an earlier one"):
        entry([Check(Arg(0), Itself(), Twin(0))], Writer().load(), 1, "tuple")


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        ({"a": 1, 2: 3}, True),
        ({2: 1, "a": 3}, False),
        ({"a": 1}, False),
        ({"a": 1, 2: 3, 4: 5}, False),
        ({"a": 1, 2.0: 3}, False),
        (types.SimpleNamespace(), False),
    ],
)
def test_keys_are_compared_in_order(found: object, fits: bool) -> None:
    assert holds(Arg(0), Itself(), Keys(("a", 2)), found) is fits


def test_a_value_that_its_own_len_drops() -> None:
    """What a dict or list lends is held while the user's code is asked about it."""
    gone: list[object] = []

    class Leaving:
        def __len__(self) -> int:
            world.clear()
            return 3

    for take in (Key("it"), Attribute("it")):
        world: dict[str, Any] = {"it": Leaving()}
        weakref.finalize(world["it"], gone.append, take)
        source = Kept(world) if isinstance(take, Key) else Kept(types.SimpleNamespace(**world))
        one = entry([Check(source, take, Length(3))], Writer().load(), 0, "tuple")
        assert not is_slow(function(one))
        assert not world
        del source, one
    collect()
    assert len(gone) == 2
