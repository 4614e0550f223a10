"""Plans on the CPU: steps, temporaries, constants, inputs, guards."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from fusejit.backends.llvm import abi
from fusejit.backends.llvm.runtime import StoppedAt, load
from fusejit.backends.plan import Operand, Plan, Role, Slot
from fusejit.errors import LoweringError
from fusejit.scalar import F32, F64, I64
from tests.backends.plans import Writer, add_plan, address_of, f32, outputs

X, Y = f32([0, 1, 2, 3]), f32([1, 2, 3, 4])


# ---- steps


def test_one_loop() -> None:
    plan = add_plan()
    for given in ([X, Y], (X, Y)):
        result = plan.run(given)
        assert isinstance(result, list) and len(result) == 1
        assert result[0].tolist() == [1, 3, 5, 7]
        assert result[0].flags.owndata and result[0].flags.writeable


def test_outputs_are_fresh() -> None:
    plan = add_plan()
    first = outputs(plan, X, Y)[0]
    second = outputs(plan, Y, Y)[0]
    assert first.tolist() == [1, 3, 5, 7] and second.tolist() == [2, 4, 6, 8]


def test_temporaries_constants_and_several_outputs() -> None:
    w = Writer()
    x, scale = w.input(3), w.constant(f32([2, 3, 4]))
    once, twice, product_, total = w.temporary(3), w.temporary(3), w.output(3), w.output(3)
    w.loop(lambda a, b: a * b, x, scale, once)
    w.loop(lambda a, b: a * b, once, scale, twice)
    w.loop(lambda a, b: a * b, once, twice, product_)
    w.loop(lambda a, b: a + b, once, twice, total)
    plan = w.load()
    for _ in range(3):
        got = outputs(plan, f32([1, 1, 1]))
        assert [g.tolist() for g in got] == [[8, 27, 64], [6, 12, 20]]


def test_a_constant_is_the_plans_own() -> None:
    value = f32([1, 2])
    w = Writer()
    w.loop(lambda a, b: a + b, w.input(2), w.constant(value), w.output(2))
    plan = w.load()
    value[...] = 100
    assert outputs(plan, f32([0, 0]))[0].tolist() == [1, 2]


def test_a_constant_of_any_layout() -> None:
    value = np.arange(6, dtype=np.float32).reshape(2, 3).T
    w = Writer()
    w.loop(lambda a: a, w.constant(value), w.output(3, 2))
    assert outputs(w.load())[0].tolist() == value.tolist()


def test_byte_offsets_into_every_kind_of_slot() -> None:
    w = Writer()
    x, c, t, out = w.input(4), w.constant(f32([1, 2, 3, 4])), w.temporary(4), w.output(2)
    w.loop(lambda a, b: a * b, x, c, t)
    second_half = [Operand(slot, 8) for slot in (x, c, t)]
    w.loop(lambda a, b, c: a + b + c, *second_half, out)
    assert outputs(w.load(), f32([5, 6, 7, 8]))[0].tolist() == [7 + 3 + 21, 8 + 4 + 32]


def test_no_inputs_no_steps_no_outputs() -> None:
    assert Writer().load().run([]) == []


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_empty_arrays(shape: tuple[int, ...]) -> None:
    w = Writer()
    x, t, out = w.input(*shape), w.temporary(*shape), w.output(*shape)
    seen: list[tuple[int, ...]] = []
    w.loop(lambda a: a + 1, x, t)
    w.python(lambda a, b: seen.append(a.shape + b.shape), t, out)
    got = outputs(w.load(), np.empty(shape, np.float32))[0]
    assert got.shape == shape and seen == [shape + shape]


def test_scalars_are_zero_dimensional_arrays() -> None:
    w = Writer()
    x, out = w.input(dtype=F64), w.output(dtype=F64)
    w.loop(lambda a: a * 2, x, out)
    got = outputs(w.load(), np.array(1.5))[0]
    assert type(got) is np.ndarray and got.shape == () and got == 3.0


def test_many_steps() -> None:
    w = Writer()
    x, out = w.input(8), w.output(8)
    pair = w.temporary(8), w.temporary(8)
    w.loop(lambda a: a + 1, x, pair[0])
    for i in range(499):
        w.loop(lambda a: a + 1, pair[i % 2], pair[1 - i % 2])
    w.loop(lambda a: a + 1, pair[1], out)
    assert outputs(w.load(), np.zeros(8, np.float32))[0].tolist() == [501] * 8


# ---- what it refuses


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([X], "expected 2 inputs, got 1"),
        ([X, Y, Y], "expected 2 inputs, got 3"),
        ([X, 1.0], "input 1: expected a float32.4. ndarray, got float"),
        ([X, Y[:3]], "got float32.3."),
        ([X.reshape(2, 2), Y], "input 0.*got float32.2, 2."),
        ([X, Y.astype(np.float64)], "got float64.4."),
        ([X, Y.astype(">f4")], "got >f4"),
        ([X, np.zeros(8, np.float32)[::2]], "C-contiguous"),
        ([X, np.zeros(17, np.uint8)[1:].view(np.float32)], "aligned"),
        ([X, np.ma.masked_array(Y)], "got MaskedArray"),
    ],
)
def test_inputs_that_do_not_fit(inputs: list[Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        add_plan().run(inputs)


def test_inputs_that_are_no_sequence() -> None:
    with pytest.raises(TypeError, match="iterable"):
        add_plan().run(3)  # type: ignore[arg-type]


def test_a_dtype_that_means_the_same_fits() -> None:
    other = pickle.loads(pickle.dumps(Y))
    assert outputs(add_plan(), X, other)[0].tolist() == [1, 3, 5, 7]
    w = Writer()
    w.loop(lambda a: a + 1, w.input(2, dtype=I64), w.output(2, dtype=I64))
    assert outputs(w.load(), np.array([1, 2], np.longlong))[0].tolist() == [2, 3]


def test_slots_must_be_listed_and_lie_in_the_arena() -> None:
    slots = (Slot(Role.INPUT, F32, (2,)), Slot(Role.TEMPORARY, F32, (2,), 60))
    with pytest.raises(LoweringError, match="input slots"):
        load(Plan("p", slots, (), (), (), 64), address_of)
    with pytest.raises(LoweringError, match="outside the arena"):
        load(Plan("p", slots, (), (0,), (), 64), address_of)


def test_no_memory_for_an_output() -> None:
    w = Writer()
    w.output(2)
    w.output(1 << 45)
    plan = w.load()
    for _ in range(2):
        with pytest.raises(MemoryError):
            plan.run([])


def test_another_layout_of_objects_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abi, "_byte", lambda place: 0)
    with pytest.raises(LoweringError, match="kind: expected"):
        abi._check_layouts()


# ---- guards


def test_a_guard_stops_the_plan() -> None:
    w = Writer()
    x, flag, out = w.input(4), w.temporary(4), w.output(4)
    ran: list[int] = []
    w.loop(lambda a: a + 1, x, flag)
    w.guard(flag, (X + 1).tobytes())
    w.python(lambda a: ran.append(1), out)
    w.loop(lambda a: a, flag, out)
    plan = w.load()
    assert outputs(plan, X)[0].tolist() == (X + 1).tolist()
    assert plan.run([Y]) == StoppedAt(1, (Y + 1).tobytes())
    assert plan.run([X + 0]) != StoppedAt(1, b"") and ran == [1, 1]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 63, 64, 65])
def test_guards_compare_every_byte(size: int) -> None:
    bytes_ = np.arange(size, dtype=np.uint8)
    w = Writer()
    w.guard(w.input(size, dtype=np.dtype(np.uint8)), bytes_.tobytes())
    plan = w.load()
    assert plan.run([bytes_]) == []
    for i in range(size):
        other = bytes_.copy()
        other[i] ^= 0x80
        assert plan.run([other]) == StoppedAt(0, other.tobytes())


def test_guards_compare_bits() -> None:
    w = Writer()
    w.guard(w.input(dtype=F64), np.array(np.nan).tobytes())
    plan = w.load()
    assert plan.run([np.array(np.nan)]) == []
    assert plan.run([np.array(0.0)]) == StoppedAt(0, np.array(0.0).tobytes())


def test_step_numbers_count_steps_that_are_left_out() -> None:
    w = Writer()
    x, empty, out = w.input(2), w.input(0), w.output(0)
    w.loop(lambda a: a, empty, out)
    w.guard(x, b"\0" * 8)
    plan = w.load()
    assert plan.run([f32([0, 1]), f32([])]) == StoppedAt(1, f32([0, 1]).tobytes())
