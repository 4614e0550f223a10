"""Strips: any way of cutting a plan into turns gives the bits of its steps run one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusejit as fj
from fusejit.backends import strips
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.lower import lower
from fusejit.backends.plan import Plan, Role
from fusejit.backends.strips import Span
from fusejit.backends.windows import Window
from tests.passes.graphs import arrays, bits, recorded


def softmax(x: Any) -> Any:
    return fj.nn.softmax(x)


def two_layers(x: Any, w: Any, v: Any) -> Any:
    return fj.matmul(fj.tanh(fj.matmul(x, w) + 1.0), v)


def centred(x: Any) -> Any:
    y = x - fj.mean(x, axis=-1, keepdims=True)
    return y, fj.sum(y * y, axis=-1), fj.concat([y, fj.exp(y)], axis=-1)


def by_column(x: Any) -> Any:
    y = fj.exp(x)
    return y / fj.sum(y, axis=0)


def shifted(x: Any) -> Any:
    y = fj.exp(x)
    return fj.cumulative_sum(y, axis=1)[1:] + y[:-1]


PROGRAMS: list[tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = [
    (softmax, ((24, 70),)),
    (softmax, ((6, 4, 33),)),
    (two_layers, ((24, 16), (16, 40), (40, 8))),
    (centred, ((18, 37),)),
    (by_column, ((30, 20),)),
    (shifted, ((12, 9),)),
]


@pytest.mark.usefixtures("kept_threads")
@pytest.mark.parametrize(("f", "shapes"), PROGRAMS)
@given(
    cache=st.sampled_from([1, 512, 4096, 1 << 20]),
    parts=st.integers(1, 9),
    chunk=st.sampled_from([0.0, 300.0]),
    count=st.integers(1, 3),
)
@settings(max_examples=12, deadline=None)
def test_same_bits_however_it_is_cut(
    f: Callable[..., Any],
    shapes: tuple[tuple[int, ...], ...],
    cache: int,
    parts: int,
    chunk: float,
    count: int,
) -> None:
    args = arrays(*shapes)
    graph = recorded(f, *args, stage="fuse")
    data = [a.numpy() for a in args]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "CACHE", 0)  # each step by itself, and all of it at once
        patch.setattr(strips, "SHARED", float("inf"))
        alone = lower(graph)
        patch.setattr(strips, "CACHE", cache)
        patch.setattr(strips, "SHARED", 0.0)
        patch.setattr(strips, "PARTS", parts)
        patch.setattr(strips, "CHUNK", chunk)
        cut = lower(graph)
    fj.set_num_threads(count)
    expected, found = (load_plan(plan).run(data) for plan in (alone, cut))
    assert isinstance(expected, list)
    assert isinstance(found, list)
    assert bits(found) == bits(expected)
    assert all(strip.end == strip.first + 1 for strip in alone.strips)


def test_every_step_is_in_one_strip() -> None:
    for f, shapes in PROGRAMS:
        plan = lower(recorded(f, *arrays(*shapes), stage="fuse"))
        edges = [(strip.first, strip.end) for strip in plan.strips]
        assert [first for first, _ in edges] == [0, *(end for _, end in edges[:-1])]
        assert edges[-1][1] == len(plan.steps)


def roles(plan: Plan) -> list[Role]:
    return [slot.role for slot in plan.slots if slot.role in (Role.TEMPORARY, Role.SCRATCH)]


def test_a_softmax_is_one_strip_without_temporaries() -> None:
    plan = lower(recorded(softmax, *arrays((1000, 1000)), stage="fuse"))
    (strip,) = plan.strips
    assert strip.rows == 1000
    assert strip.threads
    assert 1 < strip.grain < 100
    assert set(roles(plan)) == {Role.SCRATCH}
    assert plan.arena == 0
    assert plan.scratch < strips.CACHE


def test_what_reads_other_rows_waits_for_all_of_them() -> None:
    plan = lower(recorded(by_column, *arrays((3000, 200)), stage="fuse"))
    assert len(plan.strips) > 1
    assert Role.TEMPORARY in roles(plan)


def test_small_plans_are_not_cut() -> None:
    plan = lower(recorded(softmax, *arrays((4, 10)), stage="fuse"))
    assert all(strip.grain == strip.rows for strip in plan.strips)
    assert not any(strip.threads for strip in plan.strips)


def test_a_value_that_others_read_is_no_scratch() -> None:
    plan = lower(
        recorded(lambda x: fj.sort(fj.nn.softmax(x), axis=0), *arrays((1000, 1000)), stage="fuse")
    )
    assert Role.TEMPORARY in roles(plan)


@given(
    st.integers(-40, 40),
    st.integers(0, 40),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 5),
)
def test_longer_rows_cover_their_indices(
    pitch: int, low: int, size: int, indices: int, rows: int
) -> None:
    span = Span.of(Window(0, pitch, low, low + size, True, size), rows, indices)
    touched = [low + pitch * i for i in range(rows * indices)]
    assert (span.low, span.high) == (min(touched[:indices]), max(touched[:indices]) + size)
    assert (span.start, span.end) == (min(touched), max(touched) + size)
    assert span.pitch == pitch * indices


def test_weights_stay_packed_until_they_change() -> None:
    (x, first, second) = arrays((200, 48), (48, 96), (48, 96))
    w = fj.Variable(first)
    f = fj.function(lambda x: fj.matmul(x, w))
    f(x)
    (plan,) = [t.program.plan for t in f._calls.traces]
    assert [strip.kept for strip in plan.strips if strip.kept >= 0] == [0]
    for value in (first, second, first, first):
        w.assign(value)
        expected = value.numpy().astype("float64")
        for _ in range(2):
            error = abs(f(x).numpy() - x.numpy().astype("float64") @ expected)
            assert error.max() < 1e-4


def test_weights_that_a_step_assigns_are_packed_at_each_call() -> None:
    (x, first) = arrays((200, 48), (48, 48))
    w = fj.Variable(first)

    @fj.function
    def step(x: Any) -> Any:
        y = fj.matmul(x, w)
        w.assign(w * 0.5)
        return y

    step(x)
    expected = first.numpy().astype("float64") * 0.5
    for _ in range(4):
        error = abs(step(x).numpy() - x.numpy().astype("float64") @ expected)
        assert error.max() < 1e-4
        expected *= 0.5
