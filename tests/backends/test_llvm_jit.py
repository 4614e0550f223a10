"""Compiling, linking, the kernel cache and the text of representative kernels."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fusejit.backends.base import Access, Form, Kernel, Loop, Reduce, Walk
from fusejit.backends.llvm import jit
from fusejit.backends.llvm.target import Target, host, make
from fusejit.errors import LoweringError
from fusejit.frozen import replace
from fusejit.numerics.exponential import sigmoid, tanh
from fusejit.scalar import F32, F64, I64, Program, cast, constant, select, trace
from tests.backends.native import AVX2, AVX512, NEON, SSE2, call

pytestmark = pytest.mark.usefixtures("no_object_cache", "quiet")

UNIT, SPLAT = Access(F32, Walk.UNIT), Access(F32, Walk.SPLAT)


def _scaled(factor: float) -> Loop:
    return Loop(1, (UNIT,), (UNIT,), trace(lambda x: x * factor, [F32]))


def _gate() -> Program:
    return trace(lambda a, b, c, d: sigmoid(a * b + c) * tanh(d), [F32] * 4)


def test_equal_kernels_compile_once() -> None:
    jit.clear()
    first, again = jit.compile_kernel(_scaled(1.5)), jit.compile_kernel(_scaled(1.5))
    assert first is again and jit.statistics().num_compiles == 1
    assert jit.compile_kernel(_scaled(2.5)).address != first.address
    assert jit.statistics().num_compiles == 2 and jit.statistics().milliseconds > 0.0
    jit.clear()
    assert jit.statistics() == jit.Statistics()


def test_code_outlives_the_cache() -> None:
    kernel = _scaled(3.5)
    address = jit.compile_kernel(kernel).address
    jit.clear()
    for factor in range(5):
        jit.compile_kernel(_scaled(float(factor)))
    x = np.ones(9, np.float32)
    out = np.zeros(9, np.float32)
    pointers = (ctypes.c_int64 * 2)(x.ctypes.data, out.ctypes.data)
    meta = (ctypes.c_int64 * 3)(9, 1, 1)
    kinds = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    function = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(address)
    assert function(ctypes.addressof(pointers), ctypes.addressof(meta), 0, 9) == 0
    assert (out == 3.5).all()


def test_threads_share_one_compilation() -> None:
    jit.clear()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(jit.compile_kernel, [_scaled(7.25 + n % 2) for n in range(16)]))
    assert jit.statistics().num_compiles == 2
    assert len({m.address for m in made}) == 2


def test_a_kernel_shows_its_code() -> None:
    compiled = jit.compile_kernel(_scaled(1.5))
    assert compiled.name == "loop of rank 1 over 1 inputs, 3 instructions"
    assert "define i64 @kernel(" in compiled.ir
    assert "kernel:" in compiled.asm()


def test_code_for_another_architecture_is_text_only() -> None:
    foreign = NEON if host().is_x86 else AVX2
    with pytest.raises(LoweringError, match="cannot run here"):
        jit.compile_kernel(_scaled(1.5), foreign)
    assert "fmul" in jit.assembly(jit.generate(_scaled(1.5), NEON), NEON)


def test_link_binds_functions_and_data() -> None:
    triple = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda x: 3 * x)
    cell = ctypes.c_int64(40)
    addresses = jit.link(
        """
        @cell = external global i64
        @counter = global i64 1
        declare i64 @triple(i64)
        declare i64 @strlen(ptr)
        @text = private constant [5 x i8] c"four\\00"
        define i64 @run() {
          %a = load i64, ptr @cell
          %b = call i64 @triple(i64 %a)
          %c = call i64 @strlen(ptr @text)
          %d = add i64 %b, %c
          store i64 %d, ptr @counter
          ret i64 %d
        }
        """,
        ["run", "counter"],
        {
            "cell": ctypes.addressof(cell),
            "triple": ctypes.cast(triple, ctypes.c_void_p).value or 0,
        },
    )
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(addresses["run"])() == 124
    assert ctypes.c_int64.from_address(addresses["counter"]).value == 124


@pytest.mark.parametrize(
    ("ir", "exports", "message"),
    [
        ("define i32 @f() { ret i64 0 }", ["f"], "rejects the generated code.*result type"),
        ("define i32 @f() { %a = add i32 %b, 1 \n ret i32 %a }", ["f"], "rejects.*undefined value"),
        ("define void @f() { ret void }", ["g"], "does not link.*g"),
        (
            "declare void @nowhere() define void @f() { call void @nowhere() ret void }",
            ["f"],
            "link",
        ),
    ],
)
def test_bad_modules_are_errors(
    ir: str, exports: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LoweringError, match=f"(?s){message}"):
        jit.link(ir, exports, {})
    assert capfd.readouterr().err == ""


def test_invalid_modules_do_not_reach_the_code_generator() -> None:
    unordered = "define i32 @f() {\n %a = add i32 %b, 1\n %b = add i32 %a, 1\n ret i32 %a\n}"
    with pytest.raises(LoweringError, match="does not dominate"):
        jit.assembly(unordered)


def test_targets_know_their_vectors() -> None:
    assert [t.vector_bytes for t in (SSE2, AVX2, AVX512, NEON)] == [16, 32, 64, 16]
    assert make("generic", "+avx,+avx2", SSE2.triple).vector_bytes == 32
    assert make("knl", "+avx,+avx2,+avx512f", SSE2.triple).vector_bytes == 32
    assert not SSE2.has_fma and not SSE2.has_rounding and NEON.has_fma and NEON.has_rounding
    assert host() is host() and host().vector_bytes in (16, 32, 64)


def test_llvmlite_is_imported_by_the_first_compilation_only() -> None:
    code = (
        "import sys, fusejit.backends.llvm.jit as jit, fusejit.backends.llvm.target as target\n"
        "assert 'llvmlite' not in sys.modules\n"
        "target.host()\n"
        "assert 'llvmlite' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _mixed() -> Loop:
    """scale * sigmoid(bias)[rows, 1] + x[::2] + index, and a flag."""
    inputs = (
        Access(F64, Walk.STRIDED),
        Access(F64, Walk.SPLAT),
        Access(I64, Walk.INDEX),
        Access(np.dtype(np.bool_), Walk.UNIT),
    )
    outputs = (Access(F64, Walk.UNIT), Access(np.dtype(np.bool_), Walk.UNIT))
    program = trace(
        lambda x, s, i, m: (select(m, x * (s * s), cast(i, F64)), m & (x < s)),
        [a.dtype for a in inputs],
    )
    return Loop(2, inputs, outputs, program)


def _largest() -> Program:
    return trace(lambda a, b: select((b < a) | ~a.eq(a), a, b), [F32, F32])


_GOLDEN: dict[str, tuple[Kernel, Target]] = {
    "gate_avx512": (Loop(1, (UNIT, UNIT, SPLAT, UNIT), (UNIT,), _gate()), AVX512),
    "mixed_sse2": (_mixed(), SSE2),
    "row_sum_avx2": (
        Reduce(
            Form.ROW,
            (UNIT, SPLAT),
            UNIT,
            trace(lambda x, m: (x - m) * (x - m), [F32, F32]),
            trace(lambda a, b: a + b, [F32, F32]),
            0.0,
        ),
        AVX2,
    ),
    "column_max_neon": (
        Reduce(Form.COLUMN, (UNIT,), UNIT, trace(lambda x: x, [F32]), _largest(), -np.inf),
        NEON,
    ),
}


@pytest.mark.parametrize("name", _GOLDEN)
def test_the_text_of_kernels(name: str, golden: Callable[[str, str], None]) -> None:
    kernel, target = _GOLDEN[name]
    golden(f"llvm/{name}", jit.generate(kernel, target))


def test_the_text_is_a_function_of_the_kernel() -> None:
    kernel, target = _GOLDEN["gate_avx512"]
    assert jit.generate(kernel, target) == jit.generate(kernel, target)
    slower = replace(target, features=target.features.replace(",+fma", ""), cpu="x86-64")
    assert jit.generate(kernel, slower) == jit.generate(kernel, target)  # AVX-512 has fma


def test_constants_keep_their_bits() -> None:
    values = [0.0, -0.0, 1e-45, 1.1754944e-38, 3.4028235e38, np.inf, -np.inf, 0.1, 1e22, 1e-5]
    for dtype, kept in ((F32, np.float32(values)), (F64, np.float64([*values, 5e-324]))):
        program = trace(lambda x, k=kept: tuple(constant(x, v.item()) for v in k), [dtype])
        outputs = (Access(dtype, Walk.UNIT),) * kept.size
        results = [np.empty(3, dtype) for _ in kept]
        meta = [3, 1] + [1] * kept.size
        call(Loop(1, (Access(dtype, Walk.UNIT),), outputs, program), [0, *results], meta, 0, 3)
        for value, result in zip(kept, results, strict=True):
            assert result.tobytes() == 3 * value.tobytes()
