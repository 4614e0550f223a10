"""Reductions of rows that take in the loop before them: when they do, why not, and equal bits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.ir.graph import FUSED
from fusejit.ir.places import Expansion
from fusejit.passes import fuse, schedule
from fusejit.passes.schedule import MIN_ROW
from tests.passes.graphs import arrays, names, recorded, text

ROW = (3, MIN_ROW)


def layer_norm(x: Any, gain: Any, bias: Any) -> Any:
    centred = x - fj.mean(x, axis=-1, keepdims=True)
    variance = fj.mean(centred * centred, axis=-1, keepdims=True)
    return centred / fj.sqrt(variance + 1e-5) * gain + bias


def loss(logits: Any, labels: Any) -> Any:
    return fj.mean(fj.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits))


def shifted_sums(x: Any, shift: Any) -> Any:
    """A loop with two results of which a reduction reads one, and something else the other."""
    y = fj.exp(x - shift)
    return fj.sum(y, axis=-1), y, y * shift


CASES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "softmax": (lambda x: fj.nn.softmax(x), arrays(ROW)),
    "log_softmax": (lambda x: fj.nn.log_softmax(x), arrays(ROW)),
    "layer_norm": (layer_norm, arrays(ROW, ROW[1:], ROW[1:])),
    "shifted_sums": (shifted_sums, arrays(ROW, (3, 1))),
}


@pytest.mark.parametrize("case", CASES)
def test_rows(case: str, golden: Callable[[str, str], None]) -> None:
    function, args = CASES[case]
    golden(f"passes/rows/{case}", text(recorded(function, *args, stage="fuse")))


def test_kernel_counts() -> None:
    """The claims behind the goldens, so that rewriting them cannot hide a loss."""
    kernels = {case: names(recorded(f, *args, stage="fuse")) for case, (f, args) in CASES.items()}
    assert kernels["softmax"] == ["reduce", "loop", "reduce", "divide"]
    assert kernels["log_softmax"] == ["reduce", "loop", "reduce", "log", "subtract"]
    assert kernels["layer_norm"] == ["sum", "divide", "reduce", "loop", "loop"]
    assert kernels["shifted_sums"] == ["reduce"]


def test_what_is_stored_is_what_others_read() -> None:
    graph = recorded(lambda x: fj.nn.log_softmax(x), *arrays(ROW), stage="fuse")
    (both,) = [n for n in graph.nodes if len(n.outputs) == 2]
    assert both.op is FUSED
    body = both.params["body"]
    stored = [body.producers()[v].op.name for v in body.outputs]
    assert stored == ["sum", "subtract"], "the exponentials are added up and forgotten"


def twice(x: Any) -> Any:
    y = fj.exp(x)
    return fj.sum(y, axis=1), fj.max(y, axis=1)


def flipped(x: Any) -> Any:
    y = fj.exp(x)
    return y, fj.sum(fj.flip(y, axis=1) * 0.5, axis=1)


def joined(x: Any) -> Any:
    y = fj.exp(x)
    return fj.concat([x, y], axis=1), fj.sum(y, axis=1)


def repeated(x: Any, r: Any) -> Any:
    """r repeats along one of two kept axes: no stride walks it."""
    y = fj.exp(x + r)
    return y, fj.sum(y, axis=-1)


def late(x: Any) -> Any:
    """What the sum reads besides the exponentials comes after them, from another reduction."""
    y = fj.exp(x)
    return y, fj.sum(y * fj.sqrt(fj.max(y, axis=1, keepdims=True)), axis=1)


def columns(x: Any) -> Any:
    y = fj.exp(x)
    return y, fj.sum(y, axis=0)


REFUSALS: list[tuple[Callable[..., Any], list[Any], str]] = [
    (twice, arrays(ROW), "exp | max: a reduction ends its kernel"),
    (flipped, arrays(ROW), "exp | sum: it is read at other places than where it is computed"),
    (joined, arrays(ROW), "exp | sum: its loop stores into an array that is joined from several"),
    (repeated, arrays((2, 2, MIN_ROW), (2, 1, MIN_ROW)), "exp | sum: its operand repeats along"),
    (late, arrays(ROW), "sqrt | sum: it is read at other places than where it is computed"),
    (columns, arrays(ROW), "exp | sum: only rows, and several of them, are reduced where they"),
    (twice, arrays((1, MIN_ROW)), "exp | sum: only rows, and several of them, are reduced"),
    (twice, arrays((3, MIN_ROW - 1)), f"exp | sum: rows of less than {MIN_ROW} elements"),
]


@pytest.mark.parametrize(("function", "args", "reason"), REFUSALS)
def test_refusals_have_their_reasons(
    function: Callable[..., Any], args: list[Any], reason: str
) -> None:
    assert f"// {reason}" in text(recorded(function, *args, stage="fuse"))


def test_a_full_loop_takes_in_no_reduction() -> None:
    def wide(x: Any, *others: Any) -> Any:
        y = fj.exp(x)
        for other in others:
            y = y * other
        return y, fj.sum(y * x * y, axis=1)

    many = arrays(*[ROW] * 23)
    assert "multiply | sum: their kernel would be full" in text(recorded(wide, *many, stage="fuse"))
    assert names(recorded(wide, *many[:20], stage="fuse")) == ["reduce"]


LENGTHS = (1, 7, 127, 128, 129, 1000)
DTYPES = ("float32", "float64", "bfloat16")


def operand(shape: tuple[int, ...], dtype: str, layout: str) -> Any:
    """Random values with a NaN, an infinity and zeros of both signs among them."""
    rng = np.random.default_rng(len(shape) + shape[-1])
    values = rng.normal(size=shape) * 3.0
    rows = values.reshape(-1, shape[-1])
    rows[0, 0], rows[-1, -1], rows[-1, 0] = -0.0, np.inf, 0.0
    if len(rows) > 2:
        rows[1, shape[-1] // 2] = np.nan
    x = fj.astype(fj.constant(values), getattr(fj, dtype))
    if layout == "contiguous":
        return x
    wide = fj.stack([x, x * 0.5], axis=-1)
    return fj.constant(wide.numpy())[..., 0]  # every other element


def each(x: Any) -> Any:
    """Softmaxes, normal rows, and reductions with a loop that is a result too."""
    y = fj.exp(x) * 0.5
    return (
        fj.nn.softmax(x),
        fj.nn.log_softmax(x),
        layer_norm(x, 1.5, 0.25),
        (y, fj.sum(y, axis=-1), fj.max(-y, axis=-1)),
    )


@pytest.mark.parametrize("layout", ["contiguous", "strided"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_those_of_eager(dtype: str, rank: int, layout: str) -> None:
    compiled = fj.function(each)
    for length in LENGTHS:
        x = operand((5, 3, length)[3 - rank :], dtype, layout)
        expected = _leaves(each(x))
        for _ in range(2):
            found = _leaves(compiled(x))
            assert [f.tobytes() for f in found] == [e.tobytes() for e in expected], length


def test_bits_of_gradients_are_those_of_each_op() -> None:
    logits, labels = arrays((40, 257), (40, 257))

    def gradients(logits: Any, labels: Any) -> Any:
        return fj.value_and_gradients_function(loss)(logits, fj.nn.softmax(labels))

    graph = recorded(gradients, logits, labels, stage="fuse")
    assert any(len(n.outputs) > 1 for n in graph.nodes if "reduce" in names_of(n))
    value, slopes = fj.function(gradients)(logits, labels)
    expected, others = gradients(logits, labels)
    assert value.numpy().tobytes() == expected.numpy().tobytes()
    assert [s.numpy().tobytes() for s in slopes] == [s.numpy().tobytes() for s in others]


def names_of(node: Any) -> str:
    return str(node.params["kind"].value if node.op is FUSED else node.op.name)


def _leaves(values: Any) -> list[Any]:
    if isinstance(values, tuple):
        return [leaf for value in values for leaf in _leaves(value)]
    return [values.numpy()]


def test_only_what_could_be_taken_in_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that is linear in the graph: an expansion for each loop that is taken in."""
    made: list[int] = []

    def counted(*args: Any) -> Expansion:
        made.append(threading.get_ident())  # in the background others are made
        return Expansion(*args)

    def unrolled(x: Any) -> Any:
        for _ in range(20):
            x = fj.nn.softmax(x) * 2.0
        return x, fj.sum(x, axis=0), fj.max(x[:, :100], axis=1)

    graph = recorded(unrolled, *arrays(ROW), stage="dce")
    monkeypatch.setattr(schedule, "Expansion", counted)
    fuse(graph)
    assert made.count(threading.get_ident()) == 20
