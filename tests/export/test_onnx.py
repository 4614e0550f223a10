"""ONNX models, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.op import OPS, Op, Reduction
from fusejit.testing import samples
from tests.portable import models

pytest.importorskip("onnx", reason="models need the extra [onnx]")
runtime = pytest.importorskip("onnxruntime", reason="models are run by onnxruntime")

TOLERANCE = 1e-5


def run(path: Path, *args: Any) -> list[np.ndarray[Any, Any]]:
    """What onnxruntime makes of a model and these inputs."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, map(np.asarray, args), strict=True)))


def agree(f: Any, path: Path, *args: Any) -> None:
    fj.export.onnx(f, path, *args)
    expected = f(*args)
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    found = run(path, *args)
    assert len(found) == len(expected)
    for ours, theirs in zip(expected, found, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(theirs, ours.numpy(), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("model", [models.mlp, models.lstm_cell, models.convolution])
def test_functions_agree(model: Any, tmp_path: Path) -> None:
    f, x = model()
    agree(f, tmp_path / "model.onnx", x)


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
    mlp = fj.Sequential([layers.Dense(8, activation="gelu"), layers.LayerNorm(), layers.Dense(3)])
    for network, shape in ((cnn, (2, 10, 10, 1)), (mlp, (4, 6))):
        x = fj.random.normal(shape)
        network(x)
        agree(network, tmp_path / "model.onnx", x)


def test_an_lstm_cell_agrees(tmp_path: Path) -> None:
    fj.random.seed(7)
    cell = fj.layers.LSTMCell(16)
    x, h, c = (fj.random.normal((4, n)) for n in (8, 16, 16))
    cell(x, (h, c))

    def step(x: fj.Tensor, h: fj.Tensor, c: fj.Tensor) -> Any:
        _, state = cell(x, (h, c))
        return state

    agree(fj.function(step), tmp_path / "cell.onnx", x, h, c)


def test_inputs_and_outputs_have_names(tmp_path: Path) -> None:
    import onnx

    w = fj.Variable([[2.0], [1.0]], name="weights")
    f = fj.function(lambda first, second: {"a": first @ w, "b": (second, first @ w, 1.0)})
    x = fj.constant([[1.0, 2.0]])
    fj.export.onnx(f, tmp_path / "m.onnx", x, x + 1.0)
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert {each.name for each in graph.input} == {"first", "second"}
    assert [each.name for each in graph.output] == ["output0", "output1", "output2"]
    assert [each.name for each in graph.initializer] == ["weights"]


FIXED = [op for op in OPS.values() if op.name not in ("nonzero", "unique_all")]
"""All but those whose results have shapes that depend on values: these run eagerly."""


def calls(op: Op, rng: np.random.Generator) -> list[tuple[Any, list[fj.Tensor]]]:
    """Functions that apply an op, and operands for each."""
    of_bools = isinstance(op, Reduction) and type(op.identity(np.dtype(np.int64))) is bool

    def applied(params: dict[str, Any]) -> Any:
        return fj.function(lambda *xs: op(*xs, **params))

    found = samples(op, rng, np.bool_ if of_bools else np.float32)
    return [(applied(s.params), [fj.asarray(np.asarray(a)) for a in s.arrays]) for s in found]


FAR = {"expm1", "log1p", "logaddexp", "pow", "erf", "sinh", "cosh", "tan"}  # other approximations


@pytest.mark.parametrize("op", FIXED, ids=lambda op: op.name)
def test_every_op_agrees_or_is_refused(op: Op, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "op.onnx"
    for f, xs in calls(op, rng):
        try:
            fj.export.onnx(f, path, *xs)
        except fj.ExportError as error:
            assert f"{op.name} (test_onnx.py:" in str(error)
            continue
        expected = f(*xs)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for ours, theirs in zip(expected, run(path, *xs), strict=True):
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            tolerance = 3e-5 if op.name in FAR else TOLERANCE
            np.testing.assert_allclose(theirs, ours.numpy(), rtol=tolerance, atol=tolerance)


def test_most_ops_have_a_counterpart(rng: np.random.Generator) -> None:
    """What is refused is what ONNX cannot say, and does not grow unseen."""
    from fusejit.export.to_onnx import model_of

    refused = set()
    for op in FIXED:
        for f, xs in calls(op, rng):
            try:
                model_of(f, xs, {})
            except fj.ExportError:
                refused.add(op.name)
    elementwise = {name for name in refused if hasattr(OPS[name], "scalar")}
    assert elementwise <= {
        "conj", "imag", "real", "nextafter", "random_bits", "signbit", "atan2",
        "bitwise_left_shift", "bitwise_right_shift",
    }, elementwise  # fmt: skip
    others = {name for name in refused - elementwise if not hasattr(OPS[name], "types")}
    assert others == set()


EDGES = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 3.5, 7.0, -7.0, 1e-8, -1e-8, 80.0, -80.0, np.inf, -np.inf]


@pytest.mark.parametrize(
    "f",
    [
        fj.expm1,
        fj.log1p,
        fj.trunc,
        fj.round,
        fj.sign,
        lambda x: fj.copysign(fj.abs(x) + 1.0, x),
        lambda x: fj.remainder(x, 3.0),
        lambda x: fj.remainder(x, -3.0),
        lambda x: fj.floor_divide(x, 2.0),
        lambda x: fj.logaddexp(x, x[::-1]),
        lambda x: fj.where(x > 0, x, -x)[::-2],
        lambda x: fj.astype(fj.clip(x, -50, 50), "int32") // 3,
        lambda x: fj.astype(fj.clip(x, -50, 50), "int32") % -3,
        lambda x: fj.any(x > 5.0) | fj.all(x > -1e9),
        lambda x: fj.prod(fj.clip(x, 0.5, 1.5)) + fj.min(x[:12]),
        lambda x: fj.cumulative_sum(x[:12]),
        lambda x: fj.argmax(x[:12]) + fj.argmin(x[:12]),
        lambda x: x[fj.constant([[0, -1], [3, 2]])],
        lambda x: fj.reshape(x, (3, 5))[fj.constant([0, 2]), fj.constant([1, -1])],
        lambda x: fj.pad(fj.reshape(x, (3, 5)), [(1, 0), (0, 2)], value=4.0),
        lambda x: fj.sum(fj.reshape(x[:12], (2, 3, 2)), axis=(0, 2), keepdims=True),
        lambda x: fj.broadcast_to(fj.permute_dims(fj.reshape(x, (1, 3, 5)), (2, 0, 1)), (5, 4, 3)),
    ],
)
def test_edges_agree(f: Any, tmp_path: Path) -> None:
    x = fj.constant(EDGES)
    decorated = fj.function(lambda x: f(x))
    fj.export.onnx(decorated, tmp_path / "m.onnx", x)
    (found,) = run(tmp_path / "m.onnx", x)
    np.testing.assert_allclose(found, decorated(x).numpy(), rtol=TOLERANCE, atol=1e-12)


def test_a_gradient_is_exported_like_anything_else(tmp_path: Path) -> None:
    f, x = models.mlp()
    agree(fj.function(lambda x: fj.gradients_function(f.eager)(x)[0]), tmp_path / "m.onnx", x)


def test_all_that_onnx_cannot_say_is_named_at_once(tmp_path: Path) -> None:
    count = fj.Variable(0.0, name="count")

    def f(x: fj.Tensor) -> Any:
        count.assign_add(1.0)
        y = fj.linalg.cholesky(x @ x.T + fj.eye(2))
        if fj.sum(y) > 0.0:
            y = fj.nextafter(y, 0.0)
        return y, fj.astype(y, "complex64")

    with pytest.raises(fj.ExportError) as caught:
        fj.export.onnx(fj.function(f), tmp_path / "m.onnx", fj.ones((2, 2)))
    text = str(caught.value)
    line = f.__code__.co_firstlineno
    assert f"cholesky (test_onnx.py:{line + 2}): no counterpart" in text
    assert f"bool (test_onnx.py:{line + 3}): a value decides" in text
    assert f"nextafter (test_onnx.py:{line + 4}): ONNX has no" in text
    assert f"astype (test_onnx.py:{line + 5}): c64[2,2] is no type" in text
    assert "assignment to count: a model has no state" in text
    assert not (tmp_path / "m.onnx").exists()
