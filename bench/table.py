"""What a section of the benchmark found, and how it is printed: as a table of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

PASS, FAIL = "yes", "NO"


@dataclass(frozen=True)
class Section:
    """One table: a line of text above, cells below, and the numbers behind them for bench.json."""

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: Any = field(default_factory=dict)

    def __str__(self) -> str:
        return f"## {self.title}\n\n{self.note}\n\n{grid([self.head, *self.rows])}\n"


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first the head, as an aligned Markdown table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = [f"{'-' * widths[0]}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    lines = [
        [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(pairs)]
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def time_cell(seconds: float | None) -> str:
    """ "1.23 ms"; "-" for None."""
    if seconds is None:
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def ratio_cell(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def mark(value: float | None, target: float | None) -> str:
    """Whether a value is within its target; "" where there is none."""
    if target is None:
        return ""
    return "-" if value is None else PASS if value <= target else FAIL


@dataclass(frozen=True)
class Row:
    """Seconds of each peer for one case. The best rival is the fastest of those it is held to."""

    label: str
    seconds: dict[str, float]
    target: float | None
    rivals: Sequence[str]

    @property
    def best(self) -> str | None:
        able = [name for name in self.rivals if name in self.seconds]
        return min(able, key=self.seconds.__getitem__) if able else None

    @property
    def ratio(self) -> float | None:
        """fused over the best rival."""
        if self.best is None or "fused" not in self.seconds:
            return None
        return self.seconds["fused"] / self.seconds[self.best]

    def cells(self, names: Sequence[str]) -> list[str]:
        target = "" if self.target is None else f"{self.target:g}"
        times = [time_cell(self.seconds.get(name)) for name in names]
        ratio = ratio_cell(self.ratio)
        return [self.label, *times, self.best or "-", ratio, target, mark(self.ratio, self.target)]


HEAD_AFTER = ("best peer", "fused / best", "target", "met")


def section_of(title: str, note: str, rows: Sequence[Row], names: Sequence[str]) -> Section:
    """The table of rows that compare the peers `names`."""
    data = {
        row.label: {
            "seconds": row.seconds,
            "best": row.best,
            "ratio": row.ratio,
            "target": row.target,
        }
        for row in rows
    }
    head = ["", *names, *HEAD_AFTER]
    return Section(title, note, head, [row.cells(names) for row in rows], data)
