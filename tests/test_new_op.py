"""A new op is one new record: everything else follows from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import fusejit as fj
from fusejit import optable
from fusejit.op import FLOATING, OPS, Elementwise, elementwise
from fusejit.testing import check_gradients


@pytest.fixture
def softsign() -> Iterator[Elementwise]:
    """x / (1 + |x|), declared as a user or a contributor would, and taken out again."""
    yield elementwise(
        "softsign",
        numpy=lambda x: x / (1 + np.abs(x)),
        scalar=lambda x: x / (1 + abs(x)),
        vjp=lambda g, x: (g / fj.square(1 + fj.abs(x)),),
        dtype=FLOATING,
        doc="x / (1 + |x|).",
    )
    del OPS["softsign"]


def test_it_runs_eagerly(softsign: Elementwise) -> None:
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    assert softsign(x).numpy() == pytest.approx(x / (1 + np.abs(x)))
    assert softsign([1, 3]).dtype == np.float64  # integers become float64, as the record says


def test_it_fuses_with_its_neighbours(softsign: Elementwise) -> None:
    @fj.function
    def f(x: fj.Tensor) -> fj.Tensor:
        return softsign(x * 2.0) + 1.0

    x = fj.asarray(np.linspace(-3, 3, 100, dtype=np.float32))
    assert f(x).numpy().tobytes() == f.eager(x).numpy().tobytes() == f(x).numpy().tobytes()
    (kernel,) = f.graph(x, stage="fuse").nodes
    assert "softsign" in [node.op.name for node in kernel.params["body"].nodes]
    assert "fdiv" in f.llvm(x)


@pytest.mark.parametrize("decorate", [lambda f: f, fj.function], ids=["eager", "fused"])
def test_its_gradient_is_right_to_second_order(softsign: Elementwise, decorate: object) -> None:
    assert callable(decorate)
    x = fj.asarray([-2.0, -0.5, 0.7, 3.0], dtype="float64")
    check_gradients(decorate(lambda x: softsign(x) * x), x, order=2)


def test_it_has_a_row_in_the_op_table(softsign: Elementwise) -> None:
    (row,) = [row for row in optable.rows() if row[0] == "softsign"]
    assert row == (
        "softsign",
        "elementwise",
        "float, complex; int as float64",
        "yes",
        "yes",
        "LLVM",
    )
