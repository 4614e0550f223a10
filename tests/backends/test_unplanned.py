"""Products at sizes that are met for the first time: the bits of their plans, without one."""

from __future__ import annotations

import numpy as np
import pytest

from fusejit.backends.llvm.eager import WITHOUT_PLAN, CpuBackend, one_op_plan
from fusejit.backends.llvm.unplanned import product
from fusejit.op import Array
from fusejit.ops.matmul import matmul_

SIZES = [(1, 1, 2), (3, 5, 7), (8, 300, 33), (17, 256, 512), (100, 64, 65), (33, 1, 17)]


def operands(m: int, k: int, n: int, dtype: str = "f4") -> tuple[Array, Array]:
    rng = np.random.default_rng(m * k + n)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    return a.astype(dtype), b.astype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_bits_are_those_of_a_plan(sizes: tuple[int, int, int], dtype: str) -> None:
    a, b = operands(*sizes, dtype)
    a[0, 0], b[-1, -1] = np.inf, np.nan
    plan = one_op_plan(matmul_, [a, b], {})
    found = product(a, b)
    assert plan is not None and found is not None
    results = plan.run([a, b])
    assert isinstance(results, list)
    assert (found.dtype, found.tobytes()) == (results[0].dtype, results[0].tobytes())


def test_a_plan_is_made_when_the_sizes_come_again_and_again() -> None:
    backend = CpuBackend()
    a, b = operands(17, 20, 30)
    found = [backend.apply(matmul_, [a, b], {}).tobytes() for _ in range(WITHOUT_PLAN)]
    assert not backend._plans
    found += [backend.apply(matmul_, [a, b], {}).tobytes() for _ in range(2)]
    assert len(set(found)) == 1 and len(backend._plans) == 1
    for m in range(18, 40):
        backend.apply(matmul_, operands(m, 20, 30), {})
    assert len(backend._plans) == 1


def unaligned() -> Array:
    return np.frombuffer(bytes(4 * 4 * 4 + 1), np.uint8)[1:].view(np.float32).reshape(4, 4)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((2, 3, 4), np.float32), np.ones((4, 5), np.float32)),
        (np.ones((3, 4), np.float32), np.ones((4, 1), np.float32)),
        (np.ones((0, 4), np.float32), np.ones((4, 5), np.float32)),
        (np.ones((3, 0), np.float32), np.ones((0, 5), np.float32)),
        (np.ones((3, 4), np.int64), np.ones((4, 5), np.int64)),
        (np.ones((4, 3), np.float32).T, np.ones((4, 5), np.float32)),
        (np.ones((4, 4), np.float32), np.ones((4, 10), np.float32)[:, ::2]),
        (unaligned(), np.ones((4, 5), np.float32)),
        (np.ones((900, 900), np.float32), np.ones((900, 900), np.float32)),
    ],
    ids=["stack", "column", "no rows", "no k", "ints", "turned", "part", "unaligned", "long"],
)
def test_what_is_left_to_plans(a: Array, b: Array) -> None:
    assert product(a, b) is None
    expected = CpuBackend().apply(matmul_, [a, b], {})
    np.testing.assert_array_equal(expected, np.matmul(a, b))


def test_read_only_operands_do() -> None:
    a, b = operands(3, 5, 7)
    expected = product(a, b)
    a.flags.writeable = b.flags.writeable = False
    found = product(a, b)
    assert expected is not None and found is not None
    assert found.tobytes() == expected.tobytes()
