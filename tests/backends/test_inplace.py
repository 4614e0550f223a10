"""Temporaries that take over the memory of an operand: when they may, and that it does not show."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusejit.backends.arena import place_temporaries
from fusejit.backends.base import Access, Loop, Walk
from fusejit.backends.inplace import heirs
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.plan import Operand, Plan, Role, Step, Strip
from fusejit.backends.strips import form
from fusejit.frozen import replace
from fusejit.scalar import F32, I32, cast, trace
from tests.backends.plans import Writer, f32

N = 70


def placed(plan: Plan, reuse: bool = True) -> Plan:
    """The plan with strips formed and its temporaries placed, as lowering does it."""
    formed = form(plan.slots, plan.steps)
    slots, arena = place_temporaries(formed.slots, plan.steps, formed.strips, reuse)
    return replace(plan, slots=slots, arena=arena, strips=formed.strips, scratch=formed.scratch)


def alone(plan: Plan, reuse: bool = True) -> Plan:
    """The same with a strip for each step."""
    strips = tuple(Strip(i, i + 1) for i in range(len(plan.steps)))
    slots, arena = place_temporaries(plan.slots, plan.steps, strips, reuse)
    return replace(plan, slots=slots, arena=arena, strips=strips)


def reversed_loop(writer: Writer, source: int, target: int) -> None:
    """target[i] = source[n - 1 - i]: not walked alike."""
    accesses = Access(F32, Walk.STRIDED), Access(F32, Walk.UNIT)
    kernel = Loop(1, accesses[:1], accesses[1:], trace(lambda x: x, [F32]))
    operands = (Operand(source, 4 * (N - 1)), Operand(target))
    writer.steps.append(Step(kernel, operands, (N, -1, 1), N))


def chain(length: int) -> Plan:
    writer = Writer()
    last = writer.input(N)
    for _ in range(length):
        last, before = writer.temporary(N), last
        writer.loop(lambda x: x + x, before, last)
    writer.loop(lambda x: x + x, last, writer.output(N))
    return writer.plan()


def test_a_chain_of_loops_needs_one_buffer() -> None:
    one, many = alone(chain(1)), alone(chain(20))
    assert one.arena == many.arena == 320
    assert alone(chain(20), reuse=False).arena == 20 * 320
    (result,) = load_plan(many).run([f32(np.ones(N))])
    assert (result == 2.0**21).all()


def owners(writer: Writer, *strips: Strip) -> dict[int, int]:
    plan = writer.plan()
    lives: dict[int, tuple[int, int]] = {}
    for time, strip in enumerate(strips):
        for step in plan.steps[strip.first : strip.end]:
            for operand in step.operands:
                if plan.slots[operand.slot].role is Role.TEMPORARY:
                    lives[operand.slot] = (lives.get(operand.slot, (time, 0))[0], time)
    return heirs(plan.slots, plan.steps, strips, lives)


def three_slots(dtype: Any = F32) -> tuple[Writer, int, int, int]:
    """x -> a, and the step that makes b is yet to come."""
    writer = Writer()
    x, a, b = writer.input(N), writer.temporary(N), writer.temporary(N, dtype=dtype)
    writer.loop(lambda x: x + x, x, a)
    return writer, x, a, b


BOTH = Strip(0, 1), Strip(1, 2), Strip(2, 3)


def test_an_operand_that_dies_is_taken_over() -> None:
    writer, _, a, b = three_slots()
    writer.loop(lambda x: x + x, a, b)
    writer.loop(lambda x: x + x, b, writer.output(N))
    assert owners(writer, *BOTH) == {b: a}


def test_an_operand_that_lives_on_is_not() -> None:
    writer, _, a, b = three_slots()
    writer.loop(lambda x: x + x, a, b)
    writer.loop(lambda x, y: x + y, a, b, writer.output(N))
    assert owners(writer, *BOTH) == {}


def test_another_dtype_is_not() -> None:
    writer, _, a, b = three_slots(I32)
    writer.loop(lambda x: cast(x, I32), a, b)
    assert owners(writer, *BOTH[:2]) == {}


def test_another_order_is_not() -> None:
    writer, _, a, b = three_slots()
    reversed_loop(writer, a, b)
    assert owners(writer, *BOTH[:2]) == {}


def test_another_step_of_the_strip_may_not_touch_it() -> None:
    writer, _, a, b = three_slots()
    c = writer.temporary(N)
    writer.loop(lambda x: x + x, a, c)
    writer.loop(lambda x: x + x, a, b)
    assert owners(writer, Strip(0, 1), Strip(1, 3)) == {}


def test_one_operand_has_one_heir_and_one_result_one_owner() -> None:
    writer, x, a, b = three_slots()
    c = writer.temporary(N)
    writer.loop(lambda x: x * x, x, c)
    writer.loop(lambda x, y: x + y, a, c, b)
    assert owners(writer, *BOTH) == {b: a}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 3)),
        min_size=1,
        max_size=14,
    ),
    st.booleans(),
)
def test_reuse_does_not_show(choices: list[tuple[int, int, int]], joined: bool) -> None:
    """Random graphs of loops, reversals and Python steps: the same bits with and without reuse."""
    writer = Writer()
    made = [writer.input(N), writer.input(N)]
    for one, other, kind in choices:
        a, b, new = made[one % len(made)], made[other % len(made)], writer.temporary(N)
        if kind == 0:
            reversed_loop(writer, a, new)
        elif kind == 1:
            writer.python(lambda x, y: np.copyto(y, np.sort(x)), a, new)
        else:
            writer.loop(lambda x, y: x * 0.5 + y, a, b, new)
        made.append(new)
    writer.loop(lambda x, y: x + y, made[-1], made[len(made) // 2], writer.output(N))
    place = placed if joined else alone
    x = [f32(np.random.default_rng(i).standard_normal(N)) for i in range(2)]
    tight, loose = place(writer.plan()), place(writer.plan(), reuse=False)
    assert tight.arena <= loose.arena
    results = [load_plan(plan).run(x)[0].tobytes() for plan in (tight, loose)]
    assert results[0] == results[1]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_of_a_chain_that_cannot_fuse() -> None:
    """20 steps on 40 MB, every other one by NumPy: the result, two buffers, NumPy's own result."""
    program = """
        import numpy as np, fusejit as fj
        from pathlib import Path
        from fusejit.backends.llvm import blocks
        def status(name):
            lines = Path("/proc/self/status").read_text().splitlines()
            (line,) = [l for l in lines if l.startswith(name)]
            return int(line.split()[1]) * 1024
        def chain(x):
            for _ in range(10):
                x = fj.cumulative_sum(x) * 0.5
            return x
        f = fj.function(chain)
        x = fj.ones((10_000_000,))
        first = f(x).numpy()[:3].tobytes()
        f(x)
        blocks.clear()
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        again = f(x)
        assert again.numpy()[:3].tobytes() == first
        print((status("VmHWM") - before) / 40e6)
        """
    source = "\n".join(line[8:] for line in program.splitlines())
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 3.2
