"""Large outputs: their memory is used again, never while anyone can still see it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusejit as fj
from fusejit.backends.llvm import blocks
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.plan import Plan
from tests.backends.plans import Writer, f32

MiB = 1 << 20
LEAST = 256 * 1024  # bytes from which on outputs are blocks


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    blocks.clear()
    yield
    blocks.clear()


def doubled(count: int) -> Plan:
    """x -> x + x, on `count` floats."""
    writer = Writer()
    x, y = writer.input(count), writer.output(count)
    writer.loop(lambda x: x + x, x, y)
    return writer.plan()


def address(array: np.ndarray[Any, Any]) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("size", [LEAST, MiB, 5 * MiB])
def test_memory_comes_back_when_the_last_reference_goes(size: int) -> None:
    native, x = load_plan(doubled(size // 4)), f32(np.ones(size // 4))
    (first,) = native.run([x])
    view = first[1:]
    (second,) = native.run([x])
    places = {address(first), address(second)}
    assert len(places) == 2 and blocks.kept() == 0
    del first
    assert blocks.kept() == 0  # the view still needs it
    del view, second
    assert blocks.kept() >= 2 * size
    again = native.run([x]) + native.run([x])
    assert {address(a) for a in again} == places and blocks.kept() == 0
    assert all((a == 2.0).all() for a in again)


@pytest.mark.parametrize("size", [LEAST, 3 * MiB, 4 * MiB, 9 * MiB])
def test_the_array_is_as_numpy_makes_them(size: int) -> None:
    (result,) = load_plan(doubled(size // 4)).run([f32(np.ones(size // 4))])
    flags = result.flags
    assert type(result) is np.ndarray
    assert flags.writeable and flags.aligned and flags.c_contiguous and flags.f_contiguous
    assert address(result) % (2 * MiB if size >= 4 * MiB else 64) == 0
    result[-1] = 3.0
    assert result.copy().base is None and result.sum() == 2.0 * (size // 4) + 1.0


def test_small_results_are_plain_ndarrays() -> None:
    count = LEAST // 4 - 1
    (result,) = load_plan(doubled(count)).run([f32(np.ones(count))])
    assert result.base is None and result.flags.owndata
    del result
    assert blocks.kept() == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=40))
def test_no_live_results_overlap(steps: list[tuple[int, bool]]) -> None:
    """Results of several sizes, made and dropped in any order: each keeps what was put there."""
    held: list[np.ndarray[Any, Any]] = []
    for number, (kind, drop) in enumerate(steps):
        if drop and held:
            held.pop(kind % len(held))
            continue
        count = LEAST // 4 + 30_000 * kind
        (result,) = load_plan(doubled(count)).run([f32(np.full(count, number))])
        held.append(result)
        assert all(a.min() == a.max() for a in held)
    spans = sorted((address(a), address(a) + a.nbytes) for a in held)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


def test_no_more_is_kept_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "KEPT", 8 * MiB)
    blocks.clear()
    plans = [(load_plan(doubled(n * MiB // 4)), f32(np.ones(n * MiB // 4))) for n in (1, 2, 3, 9)]
    for _ in range(3):
        held = [native.run([x]) for native, x in plans]
        assert blocks.kept() <= 8 * MiB
        del held
    assert 5 * MiB <= blocks.kept() <= 8 * MiB  # the one of 9 MiB was never kept
    monkeypatch.undo()


def test_the_list_of_free_blocks_is_short() -> None:
    native, x = load_plan(doubled(LEAST // 4)), f32(np.ones(LEAST // 4))
    held = [native.run([x]) for _ in range(100)]
    del held
    assert blocks.kept() == 64 * LEAST


def test_nothing_is_kept_without_reuse() -> None:
    native, x = load_plan(doubled(LEAST)), f32(np.ones(LEAST))
    native.run([x])
    assert blocks.kept() > 0
    with fj.config.override(no_reuse=True):
        assert blocks.kept() == 0
        native.run([x])
        assert blocks.kept() == 0
    native.run([x])
    assert blocks.kept() > 0
    blocks.clear()
    assert blocks.kept() == 0


def test_no_memory_is_a_python_error() -> None:
    load_plan(doubled(LEAST)).run([f32(np.ones(LEAST))])
    assert blocks.kept() > 0
    writer = Writer()
    x, y = writer.input(1), writer.output(1 << 50)
    writer.loop(lambda x: x + x, x, y)
    with pytest.raises(MemoryError, match="Unable to allocate"):
        load_plan(writer.plan()).run([f32([1.0])])
    assert blocks.kept() == 0  # it was given back before giving up
    load_plan(doubled(LEAST)).run([f32(np.ones(LEAST))])


def test_views_of_results_are_not_copied() -> None:
    y = fj.exp(fj.zeros((512, 512)))
    assert y._data.base is not None
    turned = fj.permute_dims(y, (1, 0))
    assert np.shares_memory(turned._data, y._data)
    tape = fj.GradientTape()
    with tape:
        tape.watch(y)
        z = y * y
    assert np.shares_memory(y._data, turned._data)  # nor replaced by what a tape keeps
    np.testing.assert_array_equal(tape.gradient(z, y).numpy(), 2.0)


def test_an_ndarray_of_the_user_still_is_copied() -> None:
    mine = np.zeros((512, 512), np.float32)
    turned = fj.permute_dims(fj.asarray(mine, copy=False), (1, 0))
    mine += 1.0
    assert (turned.numpy() == 0.0).all()


def test_results_may_outlive_everything_else() -> None:
    """At exit, destructors run when modules, and what they hold, have gone."""
    program = """
        import builtins, fusejit as fj
        f = fj.function(lambda x: fj.exp(x))
        x = fj.zeros((1 << 20,))
        for _ in range(3):
            y = f(x)
        builtins.kept = [y.numpy()]
        cycle = [f(x).numpy()]
        cycle.append(cycle)
        """
    source = "\n".join(line[8:] for line in program.splitlines())
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
