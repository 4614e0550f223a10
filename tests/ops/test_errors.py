"""Errors name the op, say what came and what to do."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj

X = np.ones((3, 4), "float32")

CASES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: fj.add(fj.zeros((3, 4)), fj.zeros(5)),
        fj.ShapeError,
        r"add: cannot broadcast \[3,4\] with \[5\]: axis 1 is 4 and 5.*f32\[5\].*test_errors.py:",
    ),
    (
        lambda: fj.subtract(True, False),
        fj.DTypeError,
        "subtract: expected integers, unsigned, floats",
    ),
    (lambda: fj.bitwise_and(X, 1), fj.DTypeError, "bitwise_and: expected bool, integers, unsigned"),
    (lambda: fj.less(X, 1j), fj.DTypeError, "less: expected bool.*got complex64"),
    (lambda: fj.astype([1j], "float32"), fj.DTypeError, r"astype: c64\[1\] would lose.*real\(x\)"),
    (
        lambda: fj.pow(np.arange(3), np.array(-1)),
        fj.DTypeError,
        "pow: an integer to a negative power",
    ),
    (
        lambda: fj.reshape(X, (5, -1)),
        fj.ShapeError,
        r"reshape: cannot make shape \(5, -1\) of f32\[3,4\]",
    ),
    (lambda: fj.permute_dims(X, (0, 0)), fj.AxisError, "permute_dims: expected each axis"),
    (
        lambda: fj.broadcast_to(X, (3, 5)),
        fj.ShapeError,
        r"broadcast_to: f32\[3,4\] does not broadcast",
    ),
    (lambda: fj.squeeze(X, 0), fj.ShapeError, "squeeze: expected extent 1 at axis 0"),
    (lambda: fj.expand_dims(X, 9), fj.AxisError, "expand_dims: axis 9 does not exist"),
    (
        lambda: fj.matrix_transpose([1]),
        fj.ShapeError,
        "matrix_transpose: expected at least two axes",
    ),
    (lambda: fj.moveaxis(X, (0, 1), (0, 0)), fj.AxisError, "moveaxis: expected as many"),
    (lambda: fj.flip(X, axis=(0, -2)), fj.AxisError, "flip: expected different axes"),
    (lambda: fj.zeros((2, -1)), fj.ShapeError, "full: expected a shape of non-negative extents"),
    (lambda: fj.sum(X, axis=2), fj.AxisError, "sum: axis 2 does not exist: the operand has 2 axes"),
    (
        lambda: fj.max(np.zeros((0, 2)), axis=0),
        fj.ShapeError,
        "max: no element to choose along axes",
    ),
    (lambda: fj.max([1j]), fj.DTypeError, "max: expected bool, integers, unsigned, floats"),
    (lambda: fj.argmin(np.zeros((0, 2)), 0), fj.ShapeError, "argmin: no element to choose"),
    (lambda: fj.argmax([]), fj.ShapeError, "argmax: no element to choose"),
    (lambda: fj.concat([X, X[:, 1:]]), fj.ShapeError, "concat: .* differ in another axis than 0"),
    (lambda: fj.concat([]), fj.ShapeError, "concat: expected at least one array"),
    (lambda: fj.stack([X, X[0]]), fj.ShapeError, "stack: expected one shape"),
    (lambda: fj.split(X, 2), fj.ShapeError, r"split: cannot cut axis 0 of f32\[3,4\] into 2 equal"),
    (lambda: fj.pad(X, [(1, 1)]), fj.ShapeError, "pad: expected .before, after. for each axis"),
    (lambda: fj.matmul(X, X), fj.ShapeError, r"matmul: cannot multiply \[3, 4\] by \[3, 4\]"),
    (lambda: fj.matmul(X, 1), fj.ShapeError, "matmul: expected at least one axis"),
    (lambda: fj.tensordot(X, X, 1), fj.ShapeError, "tensordot: axes .* differ in extent"),
    (lambda: fj.cross([1, 2], [3, 4]), fj.ShapeError, "cross: expected 3 elements"),
    (lambda: fj.diagonal([1]), fj.ShapeError, "diagonal: expected at least two axes"),
    (lambda: fj.einsum("ij,jk->ik", X), fj.ShapeError, "einsum: .* is for 2 operands, not 1"),
    (lambda: fj.einsum("ijk->i", X), fj.ShapeError, r"einsum: 'ijk' .* does not fit f32\[3,4\]"),
    (lambda: fj.einsum("ij,ij->i", X, X[:2]), fj.ShapeError, "einsum: 'i' .* is both 3 and 2"),
    (lambda: fj.einsum("ij->k", X), fj.ShapeError, "einsum: the result of"),
    (lambda: fj.arange(0, 1, 0), fj.ShapeError, "arange: the step is 0"),
    (lambda: fj.linspace(0, 1, -1), fj.ShapeError, "linspace: expected a count"),
    (lambda: fj.tril([1]), fj.ShapeError, "tril: expected at least two axes"),
    (lambda: fj.meshgrid([1], indexing="no"), fj.ShapeError, "meshgrid: expected indexing"),
    (lambda: fj.meshgrid(X), fj.ShapeError, "meshgrid: expected one axis each"),
    (lambda: fj.topk([1, 2], 3), fj.ShapeError, "topk: expected 0 <= k <= 2"),
    (lambda: fj.searchsorted(X, 1), fj.ShapeError, "searchsorted: expected one axis"),
    (lambda: fj.searchsorted([1], 1, side="up"), fj.ShapeError, "searchsorted: expected side"),
    (lambda: fj.take_along_axis(X, [0]), fj.ShapeError, "take_along_axis: expected as many axes"),
    (lambda: fj.nonzero(3), fj.ShapeError, "nonzero: expected at least one axis"),
    (lambda: fj.linalg.inv(X), fj.ShapeError, "inv: expected square matrices"),
    (lambda: fj.linalg.inv(np.zeros((2, 2))), np.linalg.LinAlgError, "Singular"),
    (
        lambda: fj.linalg.det(np.ones((2, 2), "float16")),
        fj.DTypeError,
        "det: expected float32, float64",
    ),
    (lambda: fj.linalg.solve(np.eye(2), [1, 2, 3]), fj.ShapeError, "solve: expected as many rows"),
    (lambda: fj.linalg.qr(X, mode="raw"), fj.ShapeError, "qr: expected mode"),
    (lambda: fj.linalg.matrix_norm(X, ord=3), fj.ShapeError, "matrix_norm: expected fro"),
    (
        lambda: fj.linalg.norm(np.ones((2, 2, 2)), ord=1),
        fj.ShapeError,
        "norm: expected one or two axes",
    ),
    (lambda: fj.fft.fft(X, norm="no"), fj.ShapeError, "fft: expected norm backward"),
    (lambda: fj.fft.rfft([1j]), fj.DTypeError, "rfft: expected real numbers"),
    (lambda: fj.fft.fft([]), fj.ShapeError, "fft: expected at least one element"),
    (lambda: bool(fj.zeros(3)), fj.ShapeError, r"bool: expected one element, got f32\[3\].*any"),
    (lambda: range(fj.constant(1.5)), fj.DTypeError, "index: expected an integer scalar"),
    (
        lambda: fj.nn.softmax_cross_entropy_with_logits(labels=[1], logits=X),
        fj.ShapeError,
        "sparse_softmax",
    ),
    (
        lambda: fj.nn.sparse_softmax_cross_entropy_with_logits(labels=X, logits=X),
        fj.DTypeError,
        "integer labels",
    ),
    (lambda: fj.nn.dropout(X, 1.0), fj.ShapeError, "dropout: expected 0 <= rate < 1"),
]


@pytest.mark.parametrize(("f", "kind", "message"), CASES, ids=[c[2][:28] for c in CASES])
def test_errors_say_what_is_wrong(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f()


def test_no_floating_point_warnings() -> None:
    big = np.array([1e38, -1.0, 0.0, np.inf], "float32")
    fj.exp(big)
    fj.log(big)
    fj.sqrt(big)
    fj.divide(big, 0)
    fj.multiply(big, big)
    fj.sigmoid(np.array([-6e4, np.inf], "float16"))
    fj.astype(big, "int8")
    fj.floor_divide(np.array([-128], "int8"), np.array([-1], "int8"))
    fj.sum(np.array([6e4, 6e4], "float16"))


@pytest.mark.parametrize("f", [lambda: fj.ones(2) + fj.ones(3), lambda: fj.ones(2) @ fj.ones(3)])
def test_tracebacks_end_shortly_behind_the_users_line(f: Callable[[], Any]) -> None:
    with pytest.raises(fj.ShapeError) as caught:
        f()
    files = [entry.filename for entry in traceback.extract_tb(caught.value.__traceback__)]
    assert files[1] == __file__ and 0 < len(files[2:]) <= 5, files
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_device_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(fj.DeviceError, match="/gpu:99"):
        fj.device("/gpu:99")


def test_a_setting_of_no_dtype() -> None:
    with pytest.raises(fj.FuseJitError, match="default_float: expected 'float32' or 'float64'"):
        fj.config.default_float = "float8"
