"""The text of a plan."""

from __future__ import annotations

from typing import Any

import fusejit as fj
from fusejit.backends.lower import lower
from fusejit.backends.printer import format_plan
from tests.passes.graphs import arrays, recorded


def below(x: Any) -> Any:
    return x - fj.max(x, axis=-1, keepdims=True)


def text(rows: int) -> str:
    plan = lower(recorded(below, *arrays((rows, 1000)), stage="fuse"))
    return "\n".join(line.partition("  //")[0] for line in format_plan(plan).splitlines())


def test_a_small_plan_is_steps() -> None:
    assert text(2) == (
        "plan @below: 64 bytes, 0 a thread\n"
        "  input     %0: f32[2,1000]\n"
        "  output    %1: f32[2,1000]\n"
        "  temporary %2: f32[2,1] at 0\n"
        "  reduce[row] %0 -> %2\n"
        "  loop[2] %2 %0 -> %1"
    )


def test_a_large_plan_is_strips() -> None:
    assert text(1024) == (
        "plan @below: 0 bytes, 128 a thread\n"
        "  input     %0: f32[1024,1000]\n"
        "  output    %1: f32[1024,1000]\n"
        "  scratch   %2: f32[1024,1] at 0, 4 a row\n"
        "  strip 1024 rows, 32 at a time, on several threads {\n"
        "    reduce[row] %0 -> %2\n"
        "    loop[2] %2 %0 -> %1\n"
        "  }"
    )
