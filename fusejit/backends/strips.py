"""Strips: consecutive steps that run together, a few rows at a time, instead of one by one.

A softmax is three loops over its rows, a layer of a network a product, a bias and an activation.
Run step by step, each intermediate array travels to memory and back. Run a few rows at a time, it
never leaves the cache, and needs no more memory than those rows; different threads take different
rows. The kernels stay what they are: each computes any range of its outermost index anyway.

Steps join a strip if, for every slot that one of them writes, all of them touch the same bytes at
the same row, and no bytes of another row. That is decided by the windows of their operands alone.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter
from typing import NamedTuple

from ..frozen import frozen, replace
from .arena import place
from .base import Loop
from .cost import nanoseconds
from .plan import Pack, Role, Slot, Step, Strip
from .windows import Outline, Window, outline, placed

CACHE = 256 * 1024
"""Bytes that the rows of one turn may touch: half of the smallest second-level cache around."""
CHUNK = 2_500.0
"""Nanoseconds of work in one turn, at least: claiming a turn and preparing its operands take 0.1
to 0.2 us."""
PARTS = 4
"""Turns that shared work is cut into, if they are long enough: a thread that is held up keeps the
others waiting for a quarter of the work at most. With 8, products pass over B twice as often: an
LSTM cell of 64 x 256 takes 5 % longer, 20 % without AVX-512."""
FLAT = 64
"""Elements of a flat loop: each thread begins on a cache line, where its vectors are aligned and
which no other thread writes."""
LOOK_BACK = 8
"""Strips that a step may overtake: what an earlier one computed is out of the cache by then, and
must be kept until here."""
STEPS = 1000
"""Steps of a strip: a thread prepares the pointers of all of them on its stack."""
SHARED = 6_000.0
"""Nanoseconds of work from which on a second thread that is awake helps: sharing costs 0.3 us."""


@frozen
class Room:
    """What a strip may hold, on the machine that is to run it."""

    row: int  # bytes that a row of one step may touch
    many: int | None = None  # rows from which on they may be longer; None: never
    steps: int = STEPS
    strangers: bool = True  # whether steps may join that have but their rows in common
    alone: Callable[[Step], bool] = lambda step: False  # steps that nothing may join


class Span(NamedTuple):
    """What the steps of a strip touch of a slot: the bytes [low, high) in row 0, and in row r what
    is r * pitch bytes further on; [start, end) in all.
    """

    pitch: int | None  # None: not the same for all of them
    low: int
    high: int
    written: bool
    start: int
    end: int

    @classmethod
    def of(cls, window: Window, rows: int, indices: int) -> Span:
        """So many rows, each of so many indices of the step."""
        _, pitch, low, high, written, _ = window
        row, far = pitch * (indices - 1), pitch * (rows * indices - 1)
        if pitch >= 0:
            return cls(pitch * indices, low, high + row, written, low, high + far)
        return cls(pitch * indices, low + row, high, written, low + far, high)

    def joined(self, other: Span) -> Span:
        return Span(
            self.pitch if self.pitch == other.pitch else None,
            min(self.low, other.low),
            max(self.high, other.high),
            self.written or other.written,
            min(self.start, other.start),
            max(self.end, other.end),
        )

    @property
    def apart(self) -> bool:
        """Whether rows can be taken in any order."""
        return not self.written or (self.pitch is not None and self.high - self.low <= self.pitch)


def _inserted(spans: Sequence[Span], new: Span) -> tuple[list[Span], Span]:
    """Disjoint spans in order, with another that has swallowed those that it meets; and that."""
    if not spans:
        return [new], new
    if len(spans) == 1 and spans[0].start < new.end and new.start < spans[0].end:
        new = new.joined(spans[0])  # nearly always so, and to search takes longer
        return [new], new
    first = bisect_right(spans, new.start, key=attrgetter("end"))
    last = bisect_left(spans, new.end, key=attrgetter("start"))
    for span in spans[first:last]:
        new = new.joined(span)
    return [*spans[:first], new, *spans[last:]], new


@dataclass(eq=False)
class Open:
    """A strip that is being formed."""

    rows: int
    steps: list[Step] = field(default_factory=list)
    found: list[list[Window]] = field(default_factory=list)  # the windows of each step
    spans: dict[int, list[Span]] = field(default_factory=dict)  # of each slot
    widest: int = 0  # bytes that a row of one step touches, at most

    def joined(self, step: Step, found: list[Window], room: Room) -> Open | str:
        """The strip that a step has joined, or why it cannot; then this strip is as it was."""
        rows = math.gcd(self.rows, step.count)
        if rows <= 1 or not self.spans:
            return "they have no rows in common"
        if len(self.steps) >= room.steps:
            return f"a strip has {room.steps} steps at most"
        here = self.by(rows)
        spans, touched = here._joint(step, found)
        if not all(span.apart for span in touched):
            return "it reads other rows than have been computed"
        related = any(window.pitch and window.slot in self.spans for window in found)
        if not related and (rows != self.rows or not room.strangers):
            return "they have nothing to do with each other"
        row = max(here.widest, _row_bytes(step, found, rows))
        if row > room.row and (room.many is None or rows < room.many):
            return f"a row of {row} bytes is too long for the cache"
        here._take(step, found, spans)
        return here

    def by(self, rows: int) -> Open:
        """The same strip with fewer, longer rows."""
        if rows == self.rows:
            return self
        longer = Open(rows)
        for step, found in zip(self.steps, self.found, strict=True):
            longer.add(step, found)
        return longer

    def _joint(
        self, step: Step, found: Sequence[Window]
    ) -> tuple[dict[int, list[Span]], list[Span]]:
        """The spans of the slots that a step touches, once it has joined; those it touches."""
        spans: dict[int, list[Span]] = {}
        touched = []
        for window in found:
            row = Span.of(window, self.rows, step.count // self.rows)
            before = spans.get(window.slot) or self.spans.get(window.slot, [])
            spans[window.slot], joined = _inserted(before, row)
            touched.append(joined)
        return spans, touched

    def add(self, step: Step, found: list[Window]) -> None:
        self._take(step, found, self._joint(step, found)[0])

    def _take(self, step: Step, found: list[Window], spans: dict[int, list[Span]]) -> None:
        self.spans.update(spans)
        self.widest = max(self.widest, _row_bytes(step, found, self.rows))
        self.steps.append(step)
        self.found.append(found)


def _row_bytes(step: Step, found: Iterable[Window], rows: int) -> int:
    """What one row of a step touches; what all rows share is not counted."""
    return sum(window.bytes for window in found if window.pitch) * step.count // rows


@frozen
class Formed:
    """A plan's steps in the order of their strips, its slots with what became scratch, and why."""

    steps: tuple[Step, ...]
    strips: tuple[Strip, ...]
    slots: tuple[Slot, ...]
    scratch: int
    notes: tuple[str, ...]


def form(slots: Sequence[Slot], steps: Sequence[Step], unchanging: Container[int] = ()) -> Formed:
    """The strips of a plan.

    What is packed from an `unchanging` input slot is kept: an array that is bound there keeps its
    content for as long as it lives.
    """
    opened, notes = gathered(steps, Room(CACHE))
    ends = list(accumulate(len(each.steps) for each in opened))
    strips = tuple(
        _kept(_close(each, end - len(each.steps), end), each, unchanging)
        for each, end in zip(opened, ends, strict=True)
    )
    placed, scratch = _with_scratch(slots, opened, strips)
    ordered = tuple(step for each in opened for step in each.steps)
    return Formed(ordered, strips, placed, scratch, tuple(notes))


def gathered(steps: Sequence[Step], room: Room) -> tuple[list[Open], list[str]]:
    """The steps as strips, in order, and why steps did not join what made their operands."""
    gathering = _Gathering(room)
    for step in steps:
        gathering.take(step)
    return [*gathering.packed, *gathering.opened], gathering.notes


class _Gathering:
    """Steps join the strip that made what they read, or the last one, or begin another.

    A step may overtake those of strips that it has nothing to do with. Slots are written before
    they are read, so only who wrote what it reads, and who touched what it writes, comes first.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.packed: list[Open] = []  # from inputs: ahead of all others, each by itself
        self.opened: list[Open] = []
        self.notes: list[str] = []
        self._wrote: dict[int, int] = {}  # slot -> the last strip that wrote it
        self._touched: dict[int, int] = {}
        self._outlines: dict[tuple[int, tuple[int, ...]], Outline] = {}

    def take(self, step: Step) -> None:
        found = None if self.room.alone(step) else self._windows(step)
        if isinstance(step.code, Pack) and step.operands[0].slot not in self._wrote:
            self.packed.append(Open(step.count))
            self.packed[-1].add(step, found or [])
            return
        written = {operand.slot for operand in step.operands}
        if found is not None:
            written = {window.slot for window in found if window.written}
        number = self._home(step, found, written)
        self._wrote.update(dict.fromkeys(written, number))
        for operand in step.operands:
            self._touched[operand.slot] = max(number, self._touched.get(operand.slot, -1))

    def _windows(self, step: Step) -> list[Window] | None:
        """An unrolled loop has the same few kernels again and again, each with its outline."""
        key = (id(step.code), step.meta)
        if key not in self._outlines:
            self._outlines[key] = outline(step.code, step.meta)
        return placed(self._outlines[key], step.operands)

    def _home(self, step: Step, found: list[Window] | None, written: set[int]) -> int:
        """The number of the strip that a step joins."""
        number: int
        first = max(
            max((self._wrote.get(operand.slot, -1) for operand in step.operands), default=-1),
            max((self._touched.get(slot, -1) for slot in written), default=-1),
        )
        last = len(self.opened) - 1
        reason = "it is no loop"
        near = (first,) if first >= max(0, last - LOOK_BACK) else ()
        if found is not None and last >= 0:
            for number in dict.fromkeys((*near, last)):
                joined = self.opened[number].joined(step, found, self.room)
                if isinstance(joined, Open):
                    self.opened[number] = joined
                    return number
                reason = joined if number == first else reason
        if first >= 0 and self.opened[first].spans:
            self.notes.append(f"a strip | {_title(step)}: {reason}")
        fresh = Open(step.count)
        fresh.add(step, found or [])
        self.opened.append(fresh)
        return last + 1


def _title(step: Step) -> str:
    """What a note calls a step."""
    name = type(step.code).__name__.lower()
    return f"{name} ({step.where})" if step.where else name


def _kept(strip: Strip, formed: Open, unchanging: Container[int]) -> Strip:
    """The strip, to be kept if it is the packing of an input that does not change."""
    if len(formed.steps) == 1 and isinstance(formed.steps[0].code, Pack):
        source = formed.steps[0].operands[0].slot
        return replace(strip, kept=source) if source in unchanging else strip
    return strip


def _close(formed: Open, first: int, end: int) -> Strip:
    """A formed strip, with the rows of one turn."""
    rows, whole = formed.rows, Strip(first, end)
    if rows <= 1 or not formed.spans:
        return whole
    work = sum(map(nanoseconds, formed.steps))
    shared = work >= SHARED
    fit = rows if len(formed.steps) == 1 else max(1, CACHE // max(formed.widest, 1))
    if not shared and fit >= rows:
        return whole
    least = int(CHUNK * rows / work)
    fair = -(-rows // PARTS) if shared else rows
    unit = math.lcm(*(_unit(step, rows) for step in formed.steps))
    grain = -(-max(1, least, min(fit, fair)) // unit) * unit
    return whole if grain >= rows else replace(whole, rows=rows, grain=grain, threads=shared)


def _unit(step: Step, rows: int) -> int:
    """The rows that make up a whole number of the portions that a step's kernel likes."""
    a_row = step.count // rows
    flat = isinstance(step.code, Loop) and step.code.rank == 1 and a_row == 1
    return FLAT if flat else step.grain // math.gcd(step.grain, a_row)


def _with_scratch(
    slots: Sequence[Slot], opened: Sequence[Open], strips: Sequence[Strip]
) -> tuple[tuple[Slot, ...], int]:
    """The slots, with those that live inside one strip made scratch, and its bytes a thread."""
    placed, most = list(slots), 0
    touched = strips_of(opened)
    for formed, strip in zip(opened, strips, strict=True):
        if strip.grain == strip.rows:
            continue
        found, size = scratch(slots, formed, strip.grain, touched)
        most = max(most, size)
        for slot, made in found.items():
            placed[slot] = made
    return tuple(placed), most


def strips_of(opened: Sequence[Open]) -> Counter[int]:
    """How many strips touch each slot."""
    return Counter(
        slot
        for formed in opened
        for slot in {operand.slot for step in formed.steps for operand in step.operands}
    )


def scratch(
    slots: Sequence[Slot], formed: Open, grain: int, touched: Mapping[int, int]
) -> tuple[dict[int, Slot], int]:
    """What becomes of slots that live inside one strip, and the bytes of `grain` rows of them."""
    pitches = {
        slot: spans[0].pitch or 0
        for slot, spans in formed.spans.items()
        if touched[slot] == 1 and _may_be_scratch(slots[slot], spans, formed.rows)
    }
    lives = _lives(formed.steps, pitches)
    offsets, size = place(lives, {slot: p * grain for slot, p in pitches.items()})
    made = {
        slot: replace(slots[slot], role=Role.SCRATCH, offset=offsets[slot], pitch=pitch)
        for slot, pitch in pitches.items()
    }
    return made, size


def _may_be_scratch(slot: Slot, spans: Sequence[Span], rows: int) -> bool:
    """Whether a slot is nothing but the rows of a strip, one after the other."""
    pitch = spans[0].pitch if len(spans) == 1 else None
    if slot.role is not Role.TEMPORARY or pitch is None or pitch * rows != slot.bytes:
        return False
    return spans[0].low >= 0 and spans[0].high <= pitch


def _lives(steps: Sequence[Step], slots: Container[int]) -> dict[int, tuple[int, int]]:
    """The first and the last step that touches each of the slots."""
    lives: dict[int, tuple[int, int]] = {}
    for number, step in enumerate(steps):
        for operand in step.operands:
            if operand.slot in slots:
                lives[operand.slot] = (lives.get(operand.slot, (number, 0))[0], number)
    return lives
