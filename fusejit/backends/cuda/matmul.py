"""Matrix products as CUDA C, where no BLAS is there, and the loop that reads a product with it.

A block computes a tile (kernels/cuda/matmul.cuh). If a loop is the next to read the product, at its
own place or in several equal ranges of its columns (the gates of an LSTM cell), each thread applies
the loop's program to the elements that it has in registers: to number q of the ranges in its column
q. Then the product need not be stored unless others read it as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

from ...frozen import frozen
from ...scalar import F32, DType
from ..base import Loop, Walk
from ..plan import Matmul, Step
from .loops import LIBRARIES, THREADS, Opened, open_loop
from .operands import NARROW, Struct, firsts_of, fits_narrow, packed, rows_of
from .program import Launch, Limits, Source
from .text import TYPES, Text, kernel_head, source

SIDE, DEPTH = 16, 16
RANGES = 4
"""Ranges of columns that a loop may read at once: each thread has one column of every range."""
GRID = 65535
"""Blocks of a grid along all but its first axis."""


@frozen
class Following:
    """A loop over the rows and columns of a product: how it reads it, and with what strides."""

    kernel: Loop  # of rank 2
    ranges: tuple[int, ...]  # for each input the range of columns that it is, or -1
    count: int  # of ranges
    step: Step
    strides: tuple[tuple[int, ...], ...]


def following(product: Step, step: Step) -> Following | None:
    """The loop of `step` after a product, if it reads that at its own place and nowhere else."""
    kernel, (batch, m, n), place = step.code, product.meta[:3], product.operands[2]
    if not isinstance(kernel, Loop) or batch != 1 or tuple(product.meta[11:13]) != (n, 1):
        return None
    found = _as_matrix(kernel, step.meta, m, n)
    if found is None or not n:
        return None
    width, matrix, strides = found
    ranges = []
    for number, (access, operand) in enumerate(zip(matrix.inputs, step.operands, strict=False)):
        if access.walk is Walk.INDEX or operand.slot != place.slot:
            ranges.append(-1)
            continue
        size = access.dtype.itemsize
        which, rest = divmod(operand.offset - place.offset, width * size)
        columns = strides[number] == (n, 1) or (m == 1 and strides[number][1] == 1)
        if rest or not columns or not 0 <= which < n // width:
            return None
        ranges.append(which)
    writes = {operand.slot for operand in step.operands[len(ranges) :]}
    if max(ranges, default=-1) < 0 or place.slot in writes:
        return None
    return Following(matrix, tuple(ranges), n // width, step, strides)


def _as_matrix(
    kernel: Loop, meta: Sequence[int], m: int, n: int
) -> tuple[int, Loop, tuple[tuple[int, ...], ...]] | None:
    """A loop as one over [m, width] with its strides, where n is some widths."""
    extents = meta[: kernel.rank]
    accesses = kernel.inputs + kernel.outputs
    strides = rows_of(meta, kernel.rank, len(accesses))
    if kernel.rank == 1 and extents[0] == m * n:
        width, rows = n, tuple((n * s, s) for (s,) in strides)
    elif kernel.rank == 1 and m == 1:
        width, rows = extents[0], tuple((0, s) for (s,) in strides)
    elif kernel.rank == 2 and extents[0] == m:
        width, rows = extents[1], tuple((r, s) for r, s in strides)
    else:
        return None
    if n % width or n // width > RANGES:
        return None
    return width, Loop(2, kernel.inputs, kernel.outputs, kernel.program), rows


def launch(product: Step, then: Following | None, stored: bool, limits: Limits) -> Launch:
    """The launch of a product, with the loop after it; whether the product is stored as well."""
    code = product.code
    assert isinstance(code, Matmul)
    batch, m, n = product.meta[:3]
    count = then.count if then is not None else 1
    down, across = _tile(code.dtype, (batch, m, n), count, limits)
    width = SIDE if count > 1 else SIDE * across
    columns = n // count
    tiles = (max(1, -(-m // (SIDE * down))), max(1, -(-columns // width)), max(1, batch))
    read, written = [*product.operands[:2]], [product.operands[2]] if stored else []
    firsts: list[int] = []
    numbers = [*product.meta, columns, n // count if count > 1 else SIDE]
    narrow = _is_narrow(product.meta)
    if then is not None:
        narrow = narrow and fits_narrow((m, columns), then.strides)
        kernel, operands = then.kernel, then.step.operands
        firsts = firsts_of(kernel.inputs, operands[: len(kernel.inputs)])
        given = zip(kernel.inputs, then.ranges, operands, strict=False)
        read += [o for access, r, o in given if r < 0 and access.walk is not Walk.INDEX]
        written += operands[len(kernel.inputs) :]
        numbers += [m, columns, *(s for row in then.strides for s in row)]
    shape = (code.dtype, down, across, narrow)
    key = None if then is None else (then.kernel, then.ranges, then.count)
    return Launch(
        matmul_source(shape, key, stored),
        (tiles[0], min(tiles[1], GRID), min(tiles[2], GRID)),
        (THREADS, 1, 1),
        DEPTH * (SIDE * (down + across) + 2) * code.dtype.itemsize,
        (*read, *written),
        packed(firsts, numbers, narrow),
        product.where if then is None else then.step.where,
        len(written),
    )


def _tile(
    dtype: DType, shape: tuple[int, int, int], ranges: int, limits: Limits
) -> tuple[int, int]:
    """Rows and columns of a thread: more are read less often, fewer make more blocks."""
    batch, m, n = shape
    for down, across in ((8, 8), (4, 4), (1, 4)):
        if ranges > 1:
            across = ranges
        tiles = batch * -(-m // (SIDE * down)) * -(-n // (SIDE * across))
        large = down * across > 32 and dtype != F32  # 64 doubles leave no registers
        if (tiles >= limits.sms or down == 1) and not large:
            break
    return down, across


def _is_narrow(meta: Sequence[int]) -> bool:
    """Whether 32 bits hold all places of a product."""
    batch, m, n, k = meta[:4]
    far = (
        (batch, m, k, *meta[4:7]),
        (batch, k, n, *meta[7:10]),
        (batch, m, n, *meta[10:13]),
    )
    reach = [sum(abs(s) * e for e, s in zip(row[:3], row[3:], strict=True)) for row in far]
    return max(*reach, m, n, k, prod((m, n))) < NARROW


Shape = tuple[DType, int, int, bool]  # element, rows and columns of a thread, 32-bit places
Epilogue = tuple[Loop, tuple[int, ...], int] | None  # the loop, what it reads of the product


@lru_cache(maxsize=1024)
def matmul_source(shape: Shape, then: Epilogue, stored: bool) -> Source:
    """The kernel of a product."""
    dtype, down, across, narrow = shape
    text, parameters = Text(), Struct()
    element, count = TYPES[dtype], then[2] if then else 1
    parameters.read += [f"const {element}* a;", f"const {element}* b;"]
    if stored:
        parameters.written.append(f"{element}* c;")
    names = ("batch", "m", "n", "k", *(f"{o}_{axis}" for o in "abc" for axis in range(3)))
    parameters.numbers += [*names, "columns", "apart"]
    opened = None
    if then is not None:
        kernel, ranges, _ = then
        opened = open_loop(parameters, kernel, "e_")
        for operand, place in zip(opened.inputs, ranges, strict=True):
            if place >= 0:
                parameters.withdraw(operand)
    parameters.write(text, narrow)
    if opened is not None:
        opened.functions(text)
    wide = SIDE if count > 1 else SIDE * across
    with text.block(kernel_head(THREADS, resident=1)):
        text.line(f"const Index row = (Index)blockIdx.x * {SIDE * down};")
        text.line(f"const int x = threadIdx.x % {SIDE}, y = threadIdx.x / {SIDE};")
        batches = "Index batch = blockIdx.z; batch < p.batch; batch += gridDim.z"
        tiles = f"Index column = (Index)blockIdx.y * {wide}; column < p.columns"
        with text.block(f"for ({batches})"):
            text.line(f"const Matrix<{element}, Index> a = {{p.a + batch * p.a_0, p.a_1, p.a_2}};")
            text.line(f"const Matrix<{element}, Index> b = {{p.b + batch * p.b_0, p.b_1, p.b_2}};")
            with text.block(f"for ({tiles}; column += (Index)gridDim.y * {wide})"):
                text.line(f"{element} sum[{down}][{across}];")
                past = 0 if count > 1 else SIDE
                limits = f"row, p.m, column, p.columns, p.apart, (Index){past}, p.k"
                space = f"({element}*)shared_memory()"
                text.line(f"multiply_tile<{down}, {across}>(sum, a, b, {limits}, {space});")
                _results(text, then, stored, (down, across), opened)
    return source("matmul", (*LIBRARIES, "matmul.cuh"), text)


def _results(
    text: Text, then: Epilogue, stored: bool, tile: tuple[int, int], opened: Opened | None
) -> None:
    """What becomes of the sums of a thread."""
    down, across = tile
    several = then is not None and then[2] > 1
    text.line("#pragma unroll")
    with text.block(f"for (int i = 0; i < {down}; i++)"):
        text.line(f"const Index i0 = row + y + {SIDE} * i;")
        if several:
            text.line("const Index i1 = column + x;")
            _result(text, then, stored, across, opened)
        else:
            text.line("#pragma unroll")
            with text.block(f"for (int q = 0; q < {across}; q++)"):
                text.line(f"const Index i1 = column + x + {SIDE} * q;")
                _result(text, then, stored, 1, opened)


def _result(text: Text, then: Epilogue, stored: bool, columns: int, opened: Opened | None) -> None:
    """One element of a product, or of each of several ranges of its columns."""
    with text.block("if (i0 < p.m && i1 < p.columns)"):
        if stored:
            where = "p.c[batch * p.c_0 + i0 * p.c_1 + {} * p.c_2]"
            if columns == 1:
                text.line(f"{where.format('i1')} = sum[i][q];")
            else:
                text.line("#pragma unroll")
                with text.block(f"for (int q = 0; q < {columns}; q++)"):
                    text.line(f"{where.format('(i1 + q * p.apart)')} = sum[i][q];")
        if then is None or opened is None:
            return
        given = [
            operand.at(["i0", "i1"]) if place < 0 else f"sum[i][{place if columns > 1 else 'q'}]"
            for operand, place in zip(opened.inputs, then[1], strict=True)
        ]
        made = [f"y{number}" for number in range(len(opened.outputs))]
        for name, operand in zip(made, opened.outputs, strict=True):
            text.line(f"{operand.type} {name};")
        text.line(f"{opened.element}({', '.join(given + made)});")
        for name, operand in zip(made, opened.outputs, strict=True):
            text.line(f"{operand.at(['i0', 'i1'])} = {name};")
