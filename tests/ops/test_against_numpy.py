"""Every elementwise op in the registry: its scalar program gives what its NumPy function gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusejit.dtypes import COMPILED
from fusejit.errors import DTypeError
from fusejit.numerics.evaluate import evaluate
from fusejit.op import OPS, Elementwise
from fusejit.ops.arithmetic import add
from fusejit.ops.cast import astype_

ELEMENTWISE = [op for op in OPS.values() if isinstance(op, Elementwise)]
DTYPES = sorted(COMPILED, key=str)
ULPS = 4  # of the functions that IEEE does not define; NumPy's own may err by almost as much


def operand_dtypes(op: Elementwise, dtype: np.dtype[Any]) -> tuple[np.dtype[Any], ...]:
    """What dispatch casts operands of `dtype` to; DTypeError if the op does not take them."""
    fixed = op.dtype.leading
    common = op.dtype.common(op.name, dtype)
    return (*fixed, *[common] * (len(op.inputs) - len(fixed)))


def edge_values(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        near = [limits.min, limits.min + 1, limits.max - 1, limits.max]
        small = [-129, -8, -3, -2, -1, 0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 100]
        return np.array([*near, *(n for n in small if n >= limits.min)], dtype)
    limit = np.finfo(dtype.name)
    sizes = [0.0, 0.4, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 7.75, 1e3, limit.max, limit.tiny, np.inf]
    denormal = float(limit.smallest_subnormal)
    return np.array([*sizes, *(-s for s in sizes), denormal, -denormal * 3, np.nan], dtype)


def operands(op: Elementwise, dtypes: tuple[np.dtype[Any], ...], edges: bool) -> list[Any]:
    """All combinations of edge values, or numbers from the op's domain."""
    if edges:
        return [a.ravel() for a in np.meshgrid(*map(edge_values, dtypes), indexing="ij")]
    rng = np.random.default_rng(7)
    low, high = op.domain
    numbers = [rng.uniform(low, high, 500) for _ in dtypes]
    return [
        n > 0 if d.kind == "b" else (np.abs(n) if d.kind == "u" else n).astype(d)
        for n, d in zip(numbers, dtypes, strict=True)
    ]


def assert_same_bits(found: Any, expected: Any, context: list[Any]) -> None:
    """Equal bits, but any NaN equals any other."""
    assert found.dtype == expected.dtype
    same = found == expected
    if found.dtype.kind == "f":
        same = (same & (np.signbit(found) == np.signbit(expected))) | (
            np.isnan(found) & np.isnan(expected)
        )
    wrong = np.flatnonzero(~same)[:5]
    got = [(*(a[i] for a in context), found[i], expected[i]) for i in wrong]
    assert not wrong.size, f"(operands, found, NumPy's): {got}"


def assert_near(found: Any, expected: Any) -> None:
    """Within ULPS of the wider of what both are, and special values alike."""
    assert found.dtype == expected.dtype
    assert np.array_equal(np.isfinite(found), np.isfinite(expected))
    finite = np.isfinite(expected)
    distance = np.abs(found[finite].astype("f8") - expected[finite].astype("f8"))
    assert np.all(distance <= ULPS * np.spacing(np.abs(expected[finite])).astype("f8"))


def programs() -> list[Any]:
    found = []
    for op in ELEMENTWISE:
        for dtype in DTYPES:
            try:
                dtypes = operand_dtypes(op, dtype)
            except DTypeError:
                continue
            if op.dtype.operand is None and dtypes[-1] != dtype:
                continue  # tested as the dtype it is cast to
            if op is not astype_ and op.name != "random_bits" and op.program(dtypes, {}):
                found.append(pytest.param(op, dtypes, id=f"{op.name}-{dtype}"))
    return found


@pytest.mark.parametrize(("op", "dtypes"), programs())
def test_scalar_program_equals_numpy(op: Elementwise, dtypes: tuple[np.dtype[Any], ...]) -> None:
    program = op.program(dtypes, {})
    assert program is not None
    for edges in (True, False):
        if edges and not op.exact:
            continue  # special values of these are the business of tests/numerics
        arrays = operands(op, dtypes, edges)
        (found,) = evaluate(program, *arrays)
        with np.errstate(all="ignore"):
            expected = np.asarray(op.numpy(*arrays))
        if op.exact or dtypes[-1].kind != "f":
            assert_same_bits(found, expected, arrays)
        else:
            assert_near(found, expected)


@pytest.mark.parametrize("target", DTYPES, ids=str)
@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_casts_equal_numpy(source: np.dtype[Any], target: np.dtype[Any]) -> None:
    values = edge_values(source)
    program = astype_.program((source,), {"dtype": target})
    assert program is not None
    with np.errstate(all="ignore"):
        ours = astype_.numpy(values, dtype=target)
        numpys = values.astype(target)
    assert_same_bits(evaluate(program, values)[0], ours, [values])
    if source.kind == "f" and target.kind in "iu":  # elsewhere C leaves the result undefined
        limits = np.iinfo(target.name)
        inside = (values > limits.min) & (values < limits.max)
        ours, numpys = ours[inside], numpys[inside]
    assert np.array_equal(ours, numpys, equal_nan=source.kind == target.kind == "f")


def test_every_op_says_what_it_is() -> None:
    for op in OPS.values():
        assert op.doc.endswith("."), op.name
        assert op.name == op.name.strip("_"), op.name


def test_an_op_that_numpy_defines_is_named_by_its_record() -> None:
    assert add.inputs == ("a", "b")
    assert add.wants == ("g",)


@pytest.mark.parametrize("dtype", ["float16", "complex64", "complex128"])
def test_dtypes_without_kernels_have_no_program(dtype: str) -> None:
    wanted = np.dtype(dtype)
    assert add.program((wanted, wanted), {}) is None
