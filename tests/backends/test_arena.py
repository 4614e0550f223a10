"""Temporaries: no two that live at the same time share a byte, and reuse pays."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import fusejit as fj
from fusejit.backends.arena import ALIGNMENT, place_temporaries
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.lower import lower, work_of
from fusejit.backends.plan import Opaque, Operand, Plan, Role, Slot, Step, Strip
from tests.passes.graphs import arrays, names, recorded

F32 = np.dtype("float32")
sizes = st.lists(st.integers(0, 200), min_size=1, max_size=12)


def step(*slots: int) -> Step:
    return Step(Opaque("step", lambda *a: None), tuple(map(Operand, slots)), (), 1)


@given(sizes, st.lists(st.lists(st.integers(0, 11), max_size=4), min_size=1, max_size=20))
def test_what_lives_together_lies_apart(extents: list[int], uses: list[list[int]]) -> None:
    slots = [Slot(Role.TEMPORARY, F32, (n,)) for n in extents]
    steps = [step(*(u for u in use if u < len(slots))) for use in uses]
    strips = [Strip(i, i + 1) for i in range(len(steps))]
    placed, size = place_temporaries(slots, steps, strips, reuse=True)
    _check(placed, steps, size)
    apart, whole = place_temporaries(slots, steps, strips, reuse=False)
    _check(apart, steps, whole)
    assert size <= whole


def _check(slots: Any, steps: list[Step], size: int) -> None:
    lives: dict[int, list[int]] = {}
    for number, each in enumerate(steps):
        for operand in each.operands:
            lives.setdefault(operand.slot, []).append(number)
    boxes = [
        (slots[s].offset, slots[s].offset + 4 * slots[s].shape[0], min(at), max(at))
        for s, at in lives.items()
    ]
    assert all(start % ALIGNMENT == 0 and end <= size for start, end, _, _ in boxes)
    for i, (start, end, born, dies) in enumerate(boxes):
        for other in boxes[i + 1 :]:
            together = born <= other[3] and other[2] <= dies
            assert not (together and start < other[1] and other[0] < end)


def unrolled(x: Any, w: Any) -> Any:
    for _ in range(20):
        x = fj.tanh(fj.matmul(x, w))
    return x


def plans(f: Any, *args: Any) -> tuple[Plan, Plan]:
    graph = recorded(f, *args, stage="fuse")
    return lower(graph, reuse=True), lower(graph, reuse=False)


def test_unrolling_needs_no_more_memory() -> None:
    x, w = arrays((8, 8), (8, 8))
    tight, loose = plans(unrolled, x, w)
    panels = 512  # w, packed once
    assert tight.arena <= 2 * 256 + panels < loose.arena
    results = [load_plan(p).run([x.numpy(), w.numpy()])[0].tobytes() for p in (tight, loose)]
    assert results == [unrolled(x, w).numpy().tobytes()] * 2


def test_no_reuse_is_a_setting() -> None:
    x, w = arrays((8, 8), (8, 8))
    f = fj.function(unrolled)
    expected = unrolled(x, w).numpy().tobytes()
    with fj.config.override(no_reuse=True):
        assert [f(x, w).numpy().tobytes() for _ in range(2)] == [expected] * 2


def test_assemblies_whose_parts_are_made_in_place_take_no_step() -> None:
    args = arrays((2, 3), (2, 2))
    graph = recorded(lambda x, y: fj.concat([-x, fj.exp(y)], axis=1), *args, stage="fuse")
    assert names(graph) == ["negative", "exp", "concat"]
    assert [node.op.name for node in work_of(graph)[0]] == ["negative", "exp"]
    assert len(lower(graph).steps) == 2
    graph = recorded(lambda x, y: fj.concat([x, fj.exp(y)], axis=1), *args, stage="fuse")
    assert [node.op.name for node in work_of(graph)[0]] == ["exp", "concat"]
