"""What a walk over Python state has found: checks, tokens to compare, and inputs of the plan."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import Any

import numpy as np

from ..backends.llvm.checks import (
    Absent,
    Arg,
    ArrayInput,
    Attribute,
    Check,
    Content,
    Expect,
    Field,
    FloatInput,
    Input,
    Item,
    Itself,
    Kept,
    Key,
    Keys,
    Length,
    Of,
    Same,
    Source,
    Take,
    Twin,
)
from ..tensor import Tensor

MAX_LEAVES = 32768
"""Checks of one recording, at about 10 ns each. A training step needs some 100 for each layer, so
this is a network of 300, whose step takes many times as long as these."""
MAX_VISITED = 2 * MAX_LEAVES
"""Values looked at before a call, when it is not known yet which functions will run. Each
takes some 20 us, so that a function that reaches too much costs about a second, once."""

# Which of these a walk notes depends on where it has been, and on what ran.
_KINDS = {Twin: Input, ArrayInput: Input, FloatInput: Same, Keys: Length}

STRUCTURE = "structure"
"""The token of checks that say how values are held, which each walk may say in its own way."""

Place = tuple[object, ...]
"""Where a value was found, as (id of what holds it, how it is held)."""


class Unreachable(Exception):
    """State that cannot be watched; str() says what and where."""


class Entry:
    """What a class itself holds under a name, without binding it."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    @property
    def value(self) -> Any:
        return vars(self.owner)[self.name]


class Leaves:
    """Checks and tokens, each place once.

    Objects that were seen stay alive as long as this does, so that ids stay unique.
    """

    def __init__(self, limit: int) -> None:
        self.checks: list[Check] = []
        self.paths: list[str] = []  # what each check looks at, as Python spells it
        self.tokens: list[tuple[object, ...]] = []  # what to compare of each
        self.numbers: dict[Place, Of] = {}  # which check looks there
        self.inputs: list[Tensor | np.ndarray[Any, Any]] = []
        self.input_names: list[str] = []
        self.input_args: list[int | None] = []  # which argument an input is, if it is one itself
        self._limit = limit
        self._behind: list[object] = []  # the value that each check takes
        self._seen: dict[int, object] = {}
        self._walked: set[int] = set()

    def check(
        self, path: str, source: Source, take: Take, expect: Expect, value: object, *token: object
    ) -> Of:
        """Note one check, and what to compare: walks that agree have equal tokens everywhere."""
        kind = type(expect)
        if isinstance(expect, Twin) and token == (STRUCTURE,):
            place: Place = (STRUCTURE, source, kind, expect.check)
        else:
            place = (*self._place(source, take), _KINDS.get(kind, kind))
        found = self.numbers.get(place)
        if found is not None:
            return found
        if len(self.checks) >= self._limit:
            raise Unreachable(f"it reaches over {self._limit} values (the last one at {path})")
        found = self.numbers[place] = Of(len(self.checks))
        self.checks.append(Check(source, take, expect))
        self.paths.append(path)
        self._behind.append(value)
        self._held(value)
        self.tokens.append(token)
        return found

    def add_input(self, value: Any, path: str, source: Source, take: Take) -> int:
        """The position of a new input."""
        self.inputs.append(value)
        self.input_names.append(path)
        direct = isinstance(source, Arg) and isinstance(take, Itself)
        self.input_args.append(source.index if direct and isinstance(source, Arg) else None)
        return len(self.inputs) - 1

    def visited(self, value: object) -> bool:
        """Whether the value was walked before; from now on it was."""
        known = id(value) in self._walked
        self._walked.add(id(value))
        self.keep(value)
        return known

    def value_behind(self, here: Of) -> object:
        """What a check has taken."""
        return self._behind[here.check]

    def reaches(self, value: object) -> bool:
        """Whether this very object was seen."""
        return id(value) in self._seen

    def keep(self, value: object) -> None:
        self._seen[id(value)] = value

    def _place(self, source: Source, take: Take) -> Place:
        """Tests in the order of how often they hold: half of the time of a walk went into these,
        as a `match`."""
        holder: Hashable
        if isinstance(source, Of):
            holder = self._held(self._behind[source.check])
        elif isinstance(source, Kept):
            value = source.value
            if isinstance(value, Entry):
                holder = (self._held(value.owner), value.name)
            else:
                holder = self._held(value)
        elif isinstance(source, Arg):
            holder = ("argument", source.index)
        else:
            holder = id(source.ref)
        if isinstance(take, Itself):
            return (holder,)
        if isinstance(take, Key):
            key = take.key
            return holder, Key, type(key), key if key == key else id(key)  # a NaN is no NaN
        if isinstance(take, Attribute | Field):
            return holder, type(take), take.name
        return (holder, Item, take.index) if isinstance(take, Item) else (holder, Content)

    def _held(self, value: object) -> int:
        self._seen[id(value)] = value
        return id(value)


def changes(before: Leaves, after: Leaves) -> list[tuple[str, bool]]:
    """(path, whether a Tensor appeared) for each place of `after` that `before` saw otherwise.

    `before` must have walked at least what `after` did, but it does not list what is absent.
    """
    held = {place[:-1] for place in before.numbers}
    found = []
    for place, here in after.numbers.items():
        token = after.tokens[here.check]
        first = before.numbers.get(place)
        if token == (STRUCTURE,) or (first is not None and before.tokens[first.check] == token):
            continue
        if token != ("absent",) or place[:-1] in held:
            found.append((after.paths[here.check], bool(token) and token[0] == "input"))
    return found


def same_expectation(value: object) -> Expect:
    """Identity: Absent for None where C keeps a null."""
    return Absent() if value is None else Same(value)


def weakly(value: object) -> weakref.ref[Any] | None:
    try:
        return weakref.ref(value)
    except TypeError:
        return None
