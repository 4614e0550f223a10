"""What fuses with what, as golden texts: kernels, their bodies, each refusal with its reason."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

import fusejit as fj
from fusejit.ir.graph import FUSED, Graph, walk
from fusejit.passes import fuse
from fusejit.passes.kinds import instructions
from fusejit.passes.memory import MAX_INSTRUCTIONS, MAX_OPERANDS
from tests.passes.graphs import arrays, names, recorded, text

sigmoid, tanh = fj.nn.sigmoid, fj.nn.tanh


def gates(x: Any, w: Any, b: Any) -> Any:
    return sigmoid(x * w + b) * tanh(x - b)


def lstm_cell(x: Any, h: Any, c: Any, w: Any, b: Any) -> Any:
    z = fj.matmul(fj.concat([x, h], axis=1), w) + b
    i, f, g, o = (z[:, 4 * k : 4 * k + 4] for k in range(4))
    c = sigmoid(f + 1.0) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def gru_cell(x: Any, h: Any, wx: Any, wh: Any) -> Any:
    a, b = fj.matmul(x, wx), fj.matmul(h, wh)
    r = sigmoid(a[:, :4] + b[:, :4])
    u = sigmoid(a[:, 4:8] + b[:, 4:8])
    n = tanh(a[:, 8:] + r * b[:, 8:])
    return (1.0 - u) * n + u * h


def layer_norm(x: Any, gain: Any, bias: Any) -> Any:
    mean = fj.mean(x, axis=-1, keepdims=True)
    centred = x - mean
    deviation = fj.sqrt(fj.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)
    return centred / deviation * gain + bias


def mlp_gradients(x: Any, w: Any, b: Any, v: Any) -> Any:
    def loss(w: Any, b: Any, v: Any) -> Any:
        return fj.sum(fj.matmul(tanh(fj.matmul(x, w) + b), v))

    return fj.gradients_function(loss)(w, b, v)


def mean_square(x: Any, y: Any) -> Any:
    error = x - y
    return fj.mean(error * error)


def two_reductions(x: Any) -> Any:
    y = fj.exp(x)
    return fj.sum(y, axis=0), fj.max(y, axis=1)


CASES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "gates": (gates, arrays((3, 4), (4,), (3, 1))),
    "lstm_cell": (lstm_cell, arrays((2, 3), (2, 4), (2, 4), (7, 16), (16,))),
    "gru_cell": (gru_cell, arrays((2, 3), (2, 4), (3, 12), (4, 12))),
    "softmax": (lambda x: fj.nn.softmax(x), arrays((3, 8))),
    "layer_norm": (layer_norm, arrays((3, 8), (8,), (8,))),
    "mlp_gradients": (mlp_gradients, arrays((5, 3), (3, 4), (4,), (4, 2))),
    "mean_square": (mean_square, arrays((4, 5), (4, 5))),
    "concat_in_place": (lambda x, y: fj.concat([-x, fj.exp(y)], axis=1), arrays((2, 3), (2, 2))),
    "transpose_into_loop": (lambda x, y: (x * 2.0).T + y, arrays((3, 4), (4, 3))),
    "transposed_result": (lambda x: fj.exp(x).T, arrays((3, 4))),
    "row_and_column": (lambda x, r, c: (x + r) * c, arrays((3, 4), (4,), (3, 1))),
    "sum_over_rows": (lambda x, y: fj.sum(fj.exp(x) * y, axis=0), arrays((6, 3), (6, 3))),
    "sum_over_outer_axes": (lambda x: fj.sum(x * 2.0, axis=(0, 2)), arrays((2, 3, 4))),
    "two_reductions": (two_reductions, arrays((3, 4))),
    "cheap_row": (lambda x, r: x + r * 2.0, arrays((3, 4), (4,))),
    "transposed_matmul": (lambda x, w: fj.matmul(x.T, (w * 2.0).T), arrays((4, 3), (5, 4))),
    "flipped_matmul": (lambda x, w: fj.matmul(fj.flip(x), w), arrays((3, 4), (4, 5))),
    "views_of_views": (lambda x: fj.reshape(x[::2, ::-1].T, (4, 2, 1)) * 2.0, arrays((4, 4))),
    "merging_reshape": (lambda x: fj.reshape(fj.exp(x), -1)[::2] + 1.0, arrays((3, 4))),
    "arange": (lambda x: x * fj.arange(4) + 1.0, arrays((3, 4))),
    "sort_in_the_middle": (lambda x: fj.sort(x * 2.0) + x, arrays((3, 4))),
    "scalars": (lambda x: fj.sum(x) / 12.0 + fj.max(x), arrays((3, 4))),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_fusion(case: str, golden: Callable[[str, str], None]) -> None:
    function, args = CASES[case]
    golden(f"passes/fuse/{case}", text(recorded(function, *args, stage="fuse")))


def loops(case: str) -> list[str]:
    function, args = CASES[case]
    return names(recorded(function, *args, stage="fuse"))


def test_kernel_counts() -> None:
    """The claims behind the goldens, so that rewriting them cannot hide a loss."""
    assert loops("gates") == ["loop"]
    assert loops("lstm_cell") == ["concat", "matmul", "loop"]
    assert loops("gru_cell") == ["matmul", "matmul", "loop"]
    assert loops("softmax").count("loop") == 2
    assert loops("mean_square") == ["reduce", "divide"]
    assert loops("concat_in_place") == ["negative", "exp", "concat"]
    assert loops("transpose_into_loop") == loops("transposed_result") == ["loop"]
    assert loops("sum_over_rows") == ["reduce"]
    assert loops("flipped_matmul") == ["slice", "matmul"]
    assert loops("arange") == loops("cheap_row") == ["loop"]


REASONS = [
    ("softmax", "max | abs: a reduction ends its kernel"),
    ("mlp_gradients", "matmul | add: a matrix product is a BLAS call"),
    ("sort_in_the_middle", "multiply | sort: sort is a step of its own"),
    ("sort_in_the_middle", "sort | add: sort is a step of its own"),
    (
        "two_reductions",
        "exp | sum: only rows, and several of them, are reduced where they are computed",
    ),
    ("transposed_matmul", "multiply | matmul: a BLAS call reads matrices from memory"),
    ("flipped_matmul", "slice | matmul: BLAS reads rows or columns of consecutive elements"),
]


@pytest.mark.parametrize(("case", "reason"), REASONS)
def test_refusals_have_their_reasons(case: str, reason: str) -> None:
    function, args = CASES[case]
    assert f"// {reason}\n" in text(recorded(function, *args, stage="fuse"))


def test_shapes_and_places_are_reasons() -> None:
    def wider(r: Any, x: Any) -> Any:
        return fj.exp(r) + x  # costs more to compute again than to load

    def elsewhere(x: Any) -> Any:
        y = fj.exp(x)
        return y + fj.flip(y)

    r, x = arrays((4,), (3, 4))
    notes = recorded(wider, r, x, stage="fuse").notes
    assert notes[0].endswith("it loops over [4], not [3, 4]")
    notes = recorded(elsewhere, x, stage="fuse").notes
    assert notes[0].endswith("it is read at other places than where it is computed")


def chain(count: int) -> Callable[[Any], Any]:
    def function(x: Any) -> Any:
        for k in range(count):
            x = x * 1.5 if k % 2 else x + 0.25
        return x

    return function


def test_kernels_keep_their_limits() -> None:
    def wide(*xs: Any) -> Any:
        total = xs[0]
        for x in xs[1:]:
            total = total + x * x
        return total

    def deep(x: Any) -> Any:
        for _ in range(100):
            x = tanh(x)
        return fj.sum(x)

    graph = recorded(wide, *arrays(*[(5,)] * 60), stage="fuse")
    assert 3 <= len(graph.nodes) <= 5
    assert max(len(n.inputs) for n in graph.nodes) <= MAX_OPERANDS
    assert "another kernel lies between them, or theirs is full" in graph.notes[0]
    graph = recorded(deep, *arrays((5,)), stage="fuse")
    assert all(_weight(g) <= MAX_INSTRUCTIONS for g in graph.nodes)
    assert len(graph.nodes) < 20


def test_arrays_that_reductions_read_count_as_operands() -> None:
    def many(x: Any) -> Any:
        values = [x]
        for k in range(40):
            values.append(tanh(values[-1] * (k + 1.5)))
        return [fj.sum(v, axis=0) for v in values]

    graph = recorded(many, *arrays((5, 3)), stage="fuse")
    groups = [n for n in graph.nodes if names_of(n) == "loop"]
    assert all(len(n.inputs) + len(n.outputs) <= MAX_OPERANDS for n in groups)
    assert len(groups) <= 3


def names_of(node: Any) -> str:
    return node.params["kind"].value if node.op is FUSED else node.op.name


def test_single_elements_are_computed_by_the_kernels_that_read_them() -> None:
    def update(rate: Any, *xs: Any) -> Any:
        step = rate * 2.0 - 1.0
        return [x - step * x * x for x in xs]

    rate, *xs = arrays((), *[(n, 3) for n in range(2, 9)])
    assert names(recorded(update, rate, *xs, stage="fuse")) == ["loop"] * 7

    def costly(rate: Any, *xs: Any) -> Any:
        return [x * fj.exp(rate) for x in xs]

    kinds = names(recorded(costly, rate, *xs, stage="fuse"))
    assert kinds == ["exp"] + ["multiply"] * 7


def test_what_is_cheap_is_computed_again_and_not_stored() -> None:
    """1 - z, which both parts of a gradient read: z is stored, for it is a sigmoid."""

    def gradient(x: Any, w: Any) -> Any:
        def loss(x: Any) -> Any:
            z = sigmoid(x)
            return fj.sum(((1.0 - z) * x) @ w * z)

        return fj.gradients_function(loss)(x)

    graph = recorded(gradient, *arrays((4, 4), (4, 4)), stage="fuse")
    first = next(n for n in graph.nodes if names_of(n) == "loop")
    body = first.params["body"]
    assert [body.producers()[v].op.name for v in body.outputs] == ["sigmoid", "multiply"]


def test_backward_ops_sink_into_the_group_that_reads_them() -> None:
    def gradient(x: Any, w: Any, v: Any) -> Any:
        def loss(x: Any) -> Any:
            return fj.sum(tanh(x @ w) @ v)

        return fj.value_and_gradients_function(loss)(x)

    graph = recorded(gradient, *arrays((4, 3), (3, 5), (5, 2)), stage="fuse")
    assert "tanh" in names(graph), "alone: 1 - tanh(x)**2 is computed where it is multiplied"


def _weight(node: Any) -> int:
    return sum(map(instructions, node.params["body"].nodes)) if node.op is FUSED else 0


def test_long_chains_take_linear_work() -> None:
    x = arrays((2,))[0]
    sizes = [sum(1 for _ in walk(recorded(chain(n), x, stage="fuse"))) for n in (1000, 2000, 3000)]
    one, two = (b - a for a, b in itertools.pairwise(sizes))
    assert abs(one - two) <= 2, "kernels of the same size, so as many more for as many more ops"


class Counting(dict):  # type: ignore[type-arg]
    """Counts look-ups, which every visit of a value makes."""

    visits = 0

    def get(self, *args: Any) -> Any:
        self.visits += 1
        return super().get(*args)

    def __contains__(self, key: object) -> bool:
        self.visits += 1
        return super().__contains__(key)


@pytest.mark.parametrize("shape", [(2,), (2, 3)])
def test_fusion_visits_each_value_a_bounded_number_of_times(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops over time, with a reduction at every step, as an unrolled loss has."""

    def unrolled(count: int) -> Callable[[Any], Any]:
        def function(x: Any) -> Any:
            total = fj.sum(x)
            for _ in range(count):
                x = tanh(x * 0.5) + x[..., ::-1]
                total = total + fj.sum(x * x)
            return total

        return function

    tables: list[Counting] = []

    def counted(self: Graph) -> Any:
        tables.append(Counting((v, n) for n in self.nodes for v in n.outputs))
        return tables[-1]

    x = arrays(shape)[0]
    visits = []
    graphs = [recorded(unrolled(count), x, stage="dce") for count in (50, 100)]
    monkeypatch.setattr(Graph, "producers", counted)
    for graph in graphs:
        tables.clear()
        fuse(graph)
        visits.append(sum(t.visits for t in tables))
    assert visits[1] <= 2.2 * visits[0]
