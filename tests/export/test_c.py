"""Object files, called by C programs that know nothing of Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends.llvm.target import host
from fusejit.dtypes import kind_of
from fusejit.export.to_c import CPUS
from fusejit.op import OPS, Contraction, Elementwise, Op, Opaque, Reduction
from fusejit.testing import samples
from tests.portable import models

COMPILER = shutil.which("gcc") or shutil.which("cc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")

MAIN = """
#include <stdio.h>
#include "%(name)s.h"
%(arrays)s
static _Alignas(64) unsigned char space[%(macro)s_WORKSPACE + 64];
static void all(FILE *file, void *data, size_t size, int writing) {
    size_t done = writing ? fwrite(data, 1, size, file) : fread(data, 1, size, file);
    if (done != size) { perror("data"); _Exit(2); }
}
int main(int count, char **names) {
    FILE *given = fopen(names[1], "rb"), *found = fopen(names[2], "wb");
    for (int i = 0; i < 64; i++) space[%(macro)s_WORKSPACE + i] = 77;
%(reading)s
    %(name)s(%(arguments)s, space);
    %(name)s(%(arguments)s, space);
    for (int i = 0; i < 64; i++) if (space[%(macro)s_WORKSPACE + i] != 77) return 3;
%(writing)s
    return fclose(found);
}
"""


def run(header: Path, xs: list[Any], outputs: list[Any]) -> list[np.ndarray[Any, Any]]:
    """What a C program gets from the object beside a header."""
    folder, name = header.parent, header.stem
    inputs = [np.ascontiguousarray(x) for x in xs]
    ins = [f"in{i}" for i in range(len(inputs))]
    outs = [f"out{i}" for i in range(len(outputs))]
    sizes = dict(zip([*ins, *outs], [max(a.nbytes, 1) for a in (*inputs, *outputs)], strict=True))
    text = MAIN % {
        "name": name,
        "macro": name.upper(),
        "arrays": "\n".join(f"static _Alignas(64) char {n}[{size}];" for n, size in sizes.items()),
        "reading": "\n".join(f"    all(given, {n}, {sizes[n]}, 0);" for n in ins),
        "writing": "\n".join(f"    all(found, {n}, {sizes[n]}, 1);" for n in outs),
        "arguments": ", ".join(f"(void *){n}" for n in (*ins, *outs)),
    }
    (folder / "main.c").write_text(text)
    (folder / "given").write_bytes(b"".join(a.tobytes() or b"\0" for a in inputs))
    assert COMPILER is not None
    build = [COMPILER, "-O1", "-Wall", "-Werror", "-o", "main", "main.c", f"{name}.o", "-lm"]
    subprocess.run(build, cwd=folder, check=True)
    subprocess.run(["./main", "given", "found"], cwd=folder, check=True)
    data, found, at = (folder / "found").read_bytes(), [], 0
    for output in outputs:
        part = np.frombuffer(data[at : at + output.nbytes], output.dtype)
        found.append(part.reshape(output.shape))
        at += max(output.nbytes, 1)
    return found


def agree(
    f: Any, folder: Path, *xs: fj.Tensor, cpu: str | None = None, exact: bool = False
) -> None:
    header = fj.export.c(f, folder, *xs, cpu=cpu, name="exported")
    f(*xs)
    expected = f(*xs)
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    wanted = [y.numpy() for y in expected]
    for theirs, ours in zip(run(header, [x.numpy() for x in xs], wanted), wanted, strict=True):
        if exact:
            assert theirs.tobytes() == ours.tobytes()
        np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", [models.mlp, models.lstm_cell, models.convolution])
def test_functions_have_the_same_bits(model: Any, tmp_path: Path) -> None:
    f, x = model()
    agree(f, tmp_path, x, exact=True)


LEVELS = ["x86-64", "x86-64-v3", *(["x86-64-v4"] if host().has_avx512 else [])]


@pytest.mark.skipif(not host().is_x86, reason="levels of x86-64")
@pytest.mark.parametrize("cpu", LEVELS)
def test_other_machines(cpu: str, tmp_path: Path) -> None:
    f, x = models.lstm_cell()
    agree(f, tmp_path, x, cpu=cpu)


def test_networks_agree(tmp_path: Path) -> None:
    layers = fj.layers
    fj.random.seed(4)
    cnn = fj.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPool(2),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )
    x = fj.random.normal((2, 10, 10, 1))
    cnn(x)
    agree(cnn, tmp_path, x)


def test_an_lstm_cell_agrees(tmp_path: Path) -> None:
    fj.random.seed(7)
    cell = fj.layers.LSTMCell(16)
    x, h, c = (fj.random.normal((4, n)) for n in (8, 16, 16))
    cell(x, (h, c))

    def step(x: fj.Tensor, h: fj.Tensor, c: fj.Tensor) -> Any:
        _, state = cell(x, (h, c))
        return state

    agree(fj.function(step), tmp_path, x, h, c, exact=True)


def test_attention_agrees(tmp_path: Path) -> None:
    """Stacks of products, which BLAS does where fusejit runs them."""
    fj.random.seed(8)
    attention = fj.layers.MultiHeadAttention(heads=4, units=16)
    x = fj.random.normal((3, 6, 16))
    attention(x)
    agree(attention, tmp_path, x)


def test_products_of_every_form(tmp_path: Path) -> None:
    """Stacks of matrices, vectors, transposed and constant ones, single rows, and none at all."""
    fj.random.seed(5)
    w = fj.Variable(fj.random.normal((20, 33)))
    v = fj.Variable(fj.random.normal((33, 20)), dtype="float64")

    @fj.function
    def f(a: fj.Tensor, b: fj.Tensor, c: fj.Tensor, d: fj.Tensor) -> Any:
        stack = a @ b  # (3, 5, 7) @ (3, 7, 20)
        return (
            stack,
            stack @ w,
            stack @ fj.matrix_transpose(stack),
            fj.matrix_transpose(b) @ fj.matrix_transpose(a),
            a @ b[0],
            a[0] @ b,
            stack[0] @ w[:, 0],
            stack[0, :1] @ w,
            c @ v,
            fj.matrix_transpose(v) @ fj.matrix_transpose(c),
            a[:, :, :0] @ b[:, :0],
            d @ d,
            fj.einsum("bij,bkj->bik", stack, stack + 1.0),
        )

    xs = [fj.random.normal(shape) for shape in ((3, 5, 7), (3, 7, 20))]
    agree(f, tmp_path, *xs, fj.random.normal((150, 33), dtype="float64"), fj.ones((1, 1)))


def has_kernel(op: Op, dtypes: list[Any], params: dict[str, Any]) -> bool:
    """Whether an op of these dtypes is compiled, and takes them as they are."""
    if isinstance(op, Elementwise):
        if len(dtypes) > len(op.dtype.leading):
            rule, last = op.dtype, dtypes[-1]
            if kind_of(last) not in rule.kinds or rule.common(op.name, last) != last:
                return False
        return op.program(tuple(dtypes), params) is not None
    if isinstance(op, Reduction):
        of_bools = type(op.identity(np.dtype(np.int64))) is bool
        return of_bools == (dtypes[0] == np.bool_) and dtypes[0].kind in op.dtype.kinds
    if isinstance(op, Contraction):
        return dtypes[0] == np.float32
    return not isinstance(op, Opaque) and all(d.kind in "biuf" for d in dtypes)


def test_every_compiled_op(tmp_path: Path, rng: np.random.Generator) -> None:
    """One object of all ops that have kernels, in float32 and int64."""
    results: list[Any] = []
    operands: list[fj.Tensor] = []
    for op in OPS.values():
        for dtype in (np.float32, np.int64, np.bool_):
            for arrays, params in samples(op, rng, dtype):
                xs = [fj.asarray(np.asarray(a)) for a in arrays]
                if has_kernel(op, [x.dtype for x in xs], params):
                    results.append((op, params, len(operands), len(xs)))
                    operands += xs
    assert len(results) > 100

    @fj.function
    def f(*xs: fj.Tensor) -> Any:
        return [op(*xs[at : at + n], **params) for op, params, at, n in results]

    agree(f, tmp_path, *operands)


def test_results_that_nothing_computes(tmp_path: Path) -> None:
    w = fj.Variable([1.0, 2.0])

    @fj.function
    def f(x: fj.Tensor) -> Any:
        y = x * 2.0
        return y, x, w.read(), fj.constant(3.0), fj.zeros((0, 2)), fj.reshape(x, (2, 1))

    agree(f, tmp_path, fj.constant([5.0, 7.0]), exact=True)


def test_large_arrays_take_turns(tmp_path: Path) -> None:
    """Strips of several rows at a time, with scratch."""
    fj.random.seed(6)
    w, b = fj.Variable(fj.random.normal((256, 300))), fj.Variable(fj.random.normal(300))
    f = fj.function(lambda x: fj.nn.softmax(fj.tanh(x @ w + b)))
    x = fj.random.normal((400, 256))
    f(x)
    assert any(strip.grain != strip.rows for strip in f._calls.traces[0].program.plan.strips)
    agree(f, tmp_path, x, exact=True)


def test_names_and_text(tmp_path: Path) -> None:
    f = fj.function(lambda int, output, d: {"a": int["x y"] + output, "b": d})
    header = fj.export.c(f, tmp_path / "new", {"x y": fj.ones(2)}, fj.ones(2), fj.asarray([True]))
    assert header.name == "lambda.h"
    text = header.read_text()
    assert "void lambda(const float *" in text
    assert "const uint8_t *d" in text
    assert "float *output0, uint8_t *output1, void *workspace);" in text
    files = {each.name for each in header.parent.iterdir()}
    assert files == {"lambda.o", "lambda.h", "example.c", "Makefile", "CMakeLists.txt"}


def test_the_example_builds_by_make_and_cmake(tmp_path: Path) -> None:
    f, x = models.mlp()
    folder = fj.export.c(f, tmp_path, x).parent
    counted = (np.arange(x.size) % 7).astype(np.float32).reshape(x.shape)
    expected = f(fj.asarray(counted)).numpy().ravel()[:8]
    commands = [(["make", "-s"], "./example")]
    if shutil.which("cmake"):
        build = "cmake -B build > /dev/null && cmake --build build > /dev/null"
        commands.append((["sh", "-c", build], "build/example"))
    for command, program in commands:
        if shutil.which(command[0]):
            subprocess.run(command, cwd=folder, check=True)
            done = subprocess.run([program], cwd=folder, check=True, capture_output=True, text=True)
            found = [float(line.partition("=")[2]) for line in done.stdout.splitlines()]
            np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_all_that_needs_python_is_named_at_once(tmp_path: Path) -> None:
    count = fj.Variable(0.0, name="count")

    def f(x: fj.Tensor) -> Any:
        count.assign_add(1.0)
        y = fj.linalg.cholesky(x @ x.T + fj.eye(2))
        if fj.sum(y) > 0.0:
            y = fj.sort(y)
        return y, fj.astype(y, "float16")

    with pytest.raises(fj.ExportError) as caught:
        fj.export.c(fj.function(f), tmp_path / "folder", fj.ones((2, 2)))
    text = str(caught.value)
    line = f.__code__.co_firstlineno
    assert f"cholesky (test_c.py:{line + 2}): NumPy runs it" in text
    assert f"sort (test_c.py:{line + 4}): NumPy runs it" in text
    assert f"a value decides what is computed (test_c.py:{line + 3})" in text
    assert f"astype (test_c.py:{line + 5}): NumPy runs it" in text
    assert "assignment to count: C has no state" in text
    assert "f16[2,2] is no type of C" in text
    assert not (tmp_path / "folder").exists()
    with pytest.raises(fj.ExportError, match=f"no such cpu: 'z80'; there are {', '.join(CPUS)}"):
        fj.export.c(lambda x: x + 1.0, tmp_path, fj.ones(2), cpu="z80")
