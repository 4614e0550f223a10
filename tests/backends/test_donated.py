"""Outputs that may take the memory of inputs: when they may, and that it does not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusejit.backends.base import Access, Loop, Walk
from fusejit.backends.donate import donated, first_write
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.plan import Matmul, MatmulForm, Operand, Pack, Step, Strip
from fusejit.frozen import replace
from fusejit.scalar import F32, I32, cast, trace
from tests.backends.plans import Writer

N = 64


def found(writer: Writer, *strips: Strip, given: int = 0, taken: int = 1) -> bool:
    """Whether slot 1 may take the memory of slot 0; by default each step is a strip."""
    plan = writer.plan()
    cut = strips or tuple(Strip(i, i + 1) for i in range(len(plan.steps)))
    pairs = donated(plan.slots, plan.steps, cut, [(given, taken)])
    assert pairs in ((), ((given, taken),))
    return bool(pairs)


def update(dtype: Any = F32, shape: tuple[int, ...] = (N,)) -> Writer:
    """An input, the output that replaces it, and another output."""
    writer = Writer()
    writer.input(*shape)
    writer.output(*shape, dtype=dtype)
    writer.output(*shape)
    return writer


def double(x: Any) -> Any:
    return x + x


def moved(writer: Writer, source: Operand, target: Operand, count: int, stride: int = 1) -> None:
    """target[i] = source[i * stride]."""
    accesses = Access(F32, Walk.UNIT if stride == 1 else Walk.STRIDED), Access(F32, Walk.UNIT)
    kernel = Loop(1, accesses[:1], accesses[1:], trace(double, [F32]))
    writer.steps.append(Step(kernel, (source, target), (count, stride, 1), count))


def test_a_loop_over_both() -> None:
    writer = update()
    writer.loop(double, 0, 1)
    assert found(writer)
    assert found(writer, Strip(0, 1, N, 16, threads=True))


def test_what_was_read_before() -> None:
    writer = update()
    writer.loop(double, 0, 2)
    writer.loop(double, 2, 1)
    assert found(writer)
    assert found(writer, Strip(0, 2, N, 16))  # row by row, always the same one


def test_who_reads_it_afterwards() -> None:
    writer = update()
    writer.loop(double, 0, 1)
    writer.loop(double, 0, 2)
    assert not found(writer)
    assert not found(writer, Strip(0, 2))
    assert not found(writer, Strip(0, 2, N, 16))


def test_the_result_may_be_read_afterwards() -> None:
    writer = update()
    writer.loop(double, 0, 1)
    writer.loop(double, 1, 2)
    assert found(writer)
    assert found(writer, Strip(0, 2, N, 16))


@pytest.mark.parametrize("stride", [-1, 2])
def test_another_order(stride: int) -> None:
    writer = update()
    start = 4 * (N - 1) if stride < 0 else 0
    moved(writer, Operand(0, start), Operand(1), N // abs(stride), stride)
    assert not found(writer)


def test_other_rows_of_a_strip_come_later() -> None:
    """Row r writes element r, and some row before or after it still reads that."""
    writer = update()
    moved(writer, Operand(0, 4), Operand(2), N // 2)
    moved(writer, Operand(2), Operand(1), N // 2)
    assert found(writer)
    assert found(writer, Strip(0, 2))
    assert not found(writer, Strip(0, 2, N // 2, 8))


def test_one_part_is_written_before_another_is_read() -> None:
    writer = update()
    moved(writer, Operand(0), Operand(1), N // 2)
    moved(writer, Operand(0, 2 * N), Operand(1, 2 * N), N // 2)
    assert not found(writer)


def test_a_loop_that_stores_twice() -> None:
    writer = update()
    access = Access(F32, Walk.UNIT)
    kernel = Loop(1, (access,), (access, access), trace(lambda x: (x, x + x), [F32]))
    half = N // 2
    places = (Operand(0), Operand(1, 4 * half), Operand(1))
    writer.steps.append(Step(kernel, places, (half, 1, 1, 1), half))
    assert not found(writer)


def test_another_dtype_or_shape() -> None:
    writer = update(dtype=I32)
    writer.loop(lambda x: cast(x, I32), 0, 1)
    assert not found(writer)
    turned = Writer()
    turned.input(4, 16)
    turned.output(16, 4)
    turned.loop(double, 0, 1)
    assert not found(turned)


@pytest.mark.parametrize("stop", ["guard", "python", "blas"])
def test_what_may_stop_the_plan_comes_first(stop: str) -> None:
    def add(writer: Writer) -> None:
        if stop == "guard":
            writer.guard(0, bytes(4))
        elif stop == "python":
            writer.python(lambda a, b: None, 3, 2)
        else:
            eight = (1, 8, 8, 8, *(64, 8, 1) * 3)
            writer.matmul((Operand(3), Operand(3), Operand(2)), eight, F32)

    before, after = update(), update()
    for writer in (before, after):
        writer.input(N)
    add(before)
    before.loop(double, 0, 1)
    after.loop(double, 0, 1)
    add(after)
    assert found(before)
    assert not found(after)


def product(reads: int) -> Writer:
    """A product that reads slot 0 as its A or B, and a loop that then writes slot 1."""
    writer = update(shape=(8, 8))
    other, result = writer.input(8, 8), writer.temporary(8, 8)
    operands = [other, other]
    operands[reads] = 0
    code = Matmul(F32, MatmulForm.PLAIN)
    places = (*map(Operand, operands), Operand(result))
    writer.steps.append(Step(code, places, (1, 8, 8, 8, *(64, 8, 1) * 3), 8))
    access = Access(F32, Walk.UNIT)
    kernel = Loop(2, (access,), (access,), trace(double, [F32]))
    writer.steps.append(Step(kernel, (Operand(result), Operand(1)), (8, 8, 8, 1, 8, 1), 8))
    return writer


def test_rows_that_a_product_has_read() -> None:
    assert found(product(0), Strip(0, 2, 8, 2, threads=True))


def test_a_matrix_that_all_rows_of_a_product_read() -> None:
    assert not found(product(1), Strip(0, 2, 8, 2, threads=True))
    assert found(product(1), Strip(0, 2))


def test_a_product_that_writes_over_its_operand() -> None:
    writer = update(shape=(8, 8))
    places = (Operand(0), Operand(0), Operand(1))
    code = Matmul(F32, MatmulForm.PLAIN)
    writer.steps.append(Step(code, places, (1, 8, 8, 8, *(64, 8, 1) * 3), 8))
    assert not found(writer)


def test_panels_are_made_from_all_of_it() -> None:
    writer = update(shape=(16, 16))
    panels = writer.temporary(16, 16)
    writer.steps.append(Step(Pack(F32), (Operand(0), Operand(panels)), (16, 16, 16, 1), 1))
    writer.loop(double, 0, 1)
    assert found(writer)
    assert not found(writer, Strip(0, 2, 1, 2))


def test_an_output_takes_one_memory() -> None:
    writer = update()
    other = writer.input(N)
    writer.loop(lambda x, y: x + y, 0, other, 1)
    plan = writer.plan()
    strips = (Strip(0, 1),)
    assert donated(plan.slots, plan.steps, strips, [(0, 1), (other, 1)]) == ((0, 1),)


def swapped(order: Callable[[list[Any]], Any]) -> list[bool]:
    """a, b -> 2 b, 2 a in two steps: which of them may lie where its own input does."""
    writer = Writer()
    a, b, p, q = writer.input(N), writer.input(N), writer.output(N), writer.output(N)
    for source, target in order([(b, p), (a, q)]):
        writer.loop(double, source, target)
    return [found(writer, given=a, taken=p), found(writer, given=b, taken=q)]


def test_a_swap_needs_one_fresh_result() -> None:
    assert swapped(list) == [False, True]
    assert swapped(lambda steps: list(reversed(steps))) == [True, False]


def test_where_a_plan_begins_to_write() -> None:
    writer = update()
    writer.loop(double, 0, 2)
    writer.loop(double, 0, 1)
    plan = replace(writer.plan(), strips=(Strip(0, 1), Strip(1, 2)))
    assert first_write(plan) >= 2
    assert first_write(replace(plan, donated=((0, 1),))) == 1


def test_a_plan_run_by_itself_has_fresh_outputs() -> None:
    """Inputs are donated by native calls alone, which know who refers to them."""
    writer = update()
    writer.loop(double, 0, 2)
    writer.loop(double, 0, 1)
    plan = replace(writer.plan(), strips=(Strip(0, 1), Strip(1, 2)), donated=((0, 1),))
    data = np.arange(N, dtype=np.float32)
    results = load_plan(plan).run([data])
    assert isinstance(results, list)
    for result in results:
        assert not np.shares_memory(result, data)
        np.testing.assert_array_equal(result, 2 * np.arange(N))
    assert (data == np.arange(N)).all()
