"""Programs of graphs, on the emulator: what the CPU gives, in whatever order threads run."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends.cuda import matmul, operands
from fusejit.backends.cuda.lowering import program_of
from fusejit.backends.cuda.program import Launch, Limits, Multiply, Program
from fusejit.backends.plan import Role
from fusejit.op import OPS, Opaque
from tests.cuda import suite
from tests.cuda.emulate import Array, build, orders
from tests.cuda.kernels import needs_emulator
from tests.cuda.suite import Case


def kinds(program: Program) -> Counter[str]:
    """How many launches of each kind of kernel, and of other commands."""
    return Counter(
        c.source.name.partition("_")[0] if isinstance(c, Launch) else type(c).__name__
        for c in program.commands
    )


def named(cases: tuple[Case, ...], name: str) -> Case:
    (found,) = (case for case in cases if case.name == name)
    return found


def check(case: Case) -> None:
    for found, expected in zip(orders(case.program, case.inputs), case.expected, strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), case.name
        if case.exact:
            assert _bits(found) == _bits(expected), (case.name, found, expected)
        elif found.dtype.kind == "f":
            close = np.allclose(found, expected, rtol=2e-5, atol=2e-5, equal_nan=True)
            assert close, (case.name, abs(found - expected).max())
        else:
            assert np.array_equal(found, expected), case.name


def _bits(array: Array) -> bytes:
    return (
        np.where(np.isnan(array), np.nan, array) if array.dtype.kind == "f" else array
    ).tobytes()


@needs_emulator
def test_every_op_of_the_registry() -> None:
    """Elementwise to the last bit. All kernels are compiled at once: 500 would take minutes."""
    cases = suite.of_ops()
    build(case.program for case in cases)
    for case in cases:
        check(case)
    tested = {case.name.partition("-")[0] for case in cases}
    without = {op.name for op in OPS.values() if not isinstance(op, Opaque)} - tested
    assert all(_runs_by_numpy(name) for name in without), without


def _runs_by_numpy(name: str) -> bool:
    """Whether no sample of the op became a kernel because it has none."""
    op = OPS[name]
    return getattr(op, "scalar", None) is None


@needs_emulator
def test_strips() -> None:
    build(case.program for case in suite.of_strips())
    for case in suite.of_strips():
        check(case)


@needs_emulator
def test_products() -> None:
    build(case.program for case in suite.of_products())
    for case in suite.of_products():
        check(case)


@needs_emulator
def test_places_in_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same kernels, as arrays of gigabytes need them."""
    for module in (operands, matmul):
        monkeypatch.setattr(module, "NARROW", 1)
    rng = np.random.default_rng(3)
    x, w, b = (rng.normal(size=s).astype("f") for s in ((40, 65), (65, 30), (30,)))
    cases = [
        suite.case("softmax", suite._softmax, x),
        suite.case("gradients", suite._gradients(suite._layer_norm), x, x[0], x[1]),
        suite.case("dense", lambda x, w, b: fj.tanh(x @ w + b), x, w, b),
        suite.case("columns", lambda x: fj.sum(x, axis=0), x),
        suite.case("indices", lambda x: x + fj.arange(65) * 1.5, x),
    ]
    build(case.program for case in cases)
    for case in cases:
        check(case)
        for command in case.program.commands:
            assert isinstance(command, Launch)
            assert "typedef long long Index;" in command.source.text


@pytest.mark.parametrize("what", ["softmax", "log_softmax", "layer_norm", "cross_entropy"])
def test_rows_are_one_kernel(what: str) -> None:
    for size in ("6x3", "500x10", "40x64", "7x1001", "300x1024"):
        assert kinds(named(suite.of_strips(), f"{what} {size}").program) == {"rows": 1}


def test_columns_of_a_row_are_one_kernel_too() -> None:
    for size in ("5x7x33", "3x40x65", "300x33x2"):
        program = named(suite.of_strips(), f"softmax of columns {size}").program
        assert kinds(program) == {"rows": 1}


def test_what_lives_in_a_strip_takes_no_memory_of_the_device() -> None:
    program = named(suite.of_strips(), "softmax 300x1024").program
    assert program.arena == 0
    assert {slot.role for slot in program.slots} >= {Role.SCRATCH}
    (launch,) = program.commands
    assert isinstance(launch, Launch)
    assert 0 < launch.shared <= suite.LIMITS.shared


def test_rows_too_long_for_shared_memory_are_in_the_arena() -> None:
    program = named(suite.of_strips(), "softmax 256x13000").program
    assert program.arena >= 256 * 13000 * 4
    assert kinds(program) == {"rows": 1}


def test_a_loop_after_a_product_is_one_kernel_with_it() -> None:
    assert kinds(named(suite.of_products(), "dense 64x50x70 f").program) == {"matmul": 1}
    assert kinds(named(suite.of_products(), "lstm 6").program) == {"matmul": 2}


def test_with_a_blas_the_pointwise_part_of_an_lstm_cell_is_one_kernel() -> None:
    args = [np.ones(s, "f") for s in ((6, 8), (6, 20), (6, 20), (8, 80), (20, 80), (80,))]
    graph, _ = suite.graph_of(suite._lstm, *args)
    program = program_of(graph, suite.LIMITS, blas=True)
    assert kinds(program) == {"Multiply": 2, "loop": 1}
    assert all(c.code.dtype == np.float32 for c in program.commands if isinstance(c, Multiply))


def test_a_new_size_is_the_same_kernel() -> None:
    def texts(rows: int, length: int) -> list[str]:
        x = np.ones((rows, length), "f")
        graph, _ = suite.graph_of(lambda x: (fj.nn.softmax(x), fj.sum(x, axis=0)), x)
        program = program_of(graph, suite.LIMITS, blas=False)
        return [c.source.text for c in program.commands if isinstance(c, Launch)]

    assert texts(64, 128) == texts(100, 256) == texts(300, 512)


@needs_emulator
def test_a_reduction_has_the_same_bits_alone_and_in_a_strip(rng: np.random.Generator) -> None:
    for rows, length in ((5, 10), (40, 300), (300, 2000)):
        x = rng.normal(size=(rows, length)).astype("f")

        def alone(x: fj.Tensor) -> fj.Tensor:
            return fj.sum(x, axis=1, keepdims=True)

        def inside(x: fj.Tensor) -> tuple[fj.Tensor, fj.Tensor]:
            total = fj.sum(x, axis=1, keepdims=True)
            return total, x / total

        found = []
        for function, limits in ((alone, Limits(4, 49152)), (inside, Limits(132, 49152))):
            graph, inputs = suite.graph_of(function, x)
            program = program_of(graph, limits, blas=False)
            build([program])
            found.append(orders(program, inputs)[0].tobytes())
        assert found[0] == found[1]


def test_the_gradients_of_rows_are_two_kernels_at_most() -> None:
    for what in ("softmax'", "log_softmax'", "cross_entropy'"):
        assert kinds(named(suite.of_strips(), f"{what} 40x64").program) == {"rows": 1}
    # Its scale and its bias are summed over the rows, side by side.
    program = named(suite.of_strips(), "layer_norm' 40x64").program
    assert kinds(program) == {"rows": 1, "reduce": 1}


def _ranges(program: Program, launch: Launch) -> tuple[list[range], list[range]]:
    """The bytes of the arena that a launch reads, and those that it writes."""
    found: tuple[list[range], list[range]] = ([], [])
    for number, operand in enumerate(launch.operands):
        slot = program.slots[operand.slot]
        if slot.role is Role.TEMPORARY:
            written = number >= len(launch.operands) - launch.written
            found[written].append(range(slot.offset, slot.offset + slot.bytes))
    return found


def test_what_a_launch_writes_is_not_what_other_blocks_of_it_read() -> None:
    for case in (*suite.of_strips(), *suite.of_products()):
        for launch in case.program.commands:
            assert isinstance(launch, Launch)
            read, written = _ranges(case.program, launch)
            for one in read:
                for other in written:
                    in_place = one == other and not launch.source.name.startswith("matmul")
                    assert in_place or not range(
                        max(one.start, other.start), min(one.stop, other.stop)
                    )


def test_temporaries_of_later_launches_may_take_their_place() -> None:
    """A chain of products and of sums of all, each of which needs room for itself alone."""

    def chain(x: fj.Tensor, w: fj.Tensor) -> fj.Tensor:
        for _ in range(4):
            x = fj.tanh(x @ w) * fj.sum(x)
        return x

    x, w = np.ones((64, 1024), "f") / 512, np.ones((1024, 1024), "f") / 1024
    graph, _ = suite.graph_of(chain, x, w)
    program = program_of(graph, suite.LIMITS, blas=False)
    assert program.arena < 3 * x.nbytes
