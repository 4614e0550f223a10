"""Each rewrite: what it does to the graph, and that no bit of the results changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.ir.builder import Builder, constant
from fusejit.ir.graph import Graph, Value
from fusejit.ops.shape import place_
from fusejit.passes import cse, dce, simplify
from tests.passes.graphs import arrays, bits, eagerly, names, recorded

SPECIAL = np.array([[-0.0, 0.0, np.inf], [-np.inf, 1e-45, -3.5]], np.float32)


def simplified(f: Callable[..., Any], *args: Any) -> list[str]:
    """The ops after simplify and dce, having checked that the results are the same."""
    graph = recorded(f, *args)
    after = dce(simplify(graph))
    given = {name: np.asarray(a) for name, a in zip(f.__code__.co_varnames, args, strict=False)}
    inputs = [given[name] for name in graph.input_names]
    assert bits(eagerly(after, *inputs)) == bits(eagerly(graph, *inputs))
    return names(after)


def test_multiply_by_one() -> None:
    x = fj.constant(SPECIAL)
    assert simplified(lambda x: (x * 1.0, 1.0 * x), x) == []
    assert simplified(lambda x: x * fj.broadcast_to(fj.constant(1.0), (2, 3)), x) == []
    assert simplified(lambda x: x * 1.0 * 2.0, x) == ["multiply"]


def test_what_looks_like_one_is_kept() -> None:
    x, i = fj.constant(SPECIAL), fj.constant([1, 2])
    assert (
        simplified(lambda x: x * fj.constant([[1.0], [1.0], [1.0]])[:, None], x)[-1] == "multiply"
    )
    assert simplified(lambda i: i * 1.0, i) == ["astype"]
    assert simplified(lambda x: x + 0.0, x) == ["add"]  # it makes 0.0 of -0.0
    assert simplified(lambda x: x - 0.0, x) == ["subtract"]
    assert simplified(lambda x: x * -1.0, x) == ["multiply"]


def test_reshapes_merge() -> None:
    (x,) = arrays((2, 3, 4))
    merged = simplified(lambda x: fj.reshape(fj.reshape(fj.reshape(x, (6, 4)), -1), (4, 6)), x)
    assert merged == ["reshape"]
    assert simplified(lambda x: fj.reshape(fj.reshape(x, -1), (2, 3, 4)), x) == []
    kept = simplified(lambda x: fj.reshape(fj.flip(fj.reshape(x, (6, 4))), -1), x)
    assert kept == ["reshape", "slice", "reshape"]


def test_constants_fold() -> None:
    (x,) = arrays((2,))
    assert simplified(lambda x: x + (fj.constant(2.0) + 1.0) * -1.0, x) == ["add"]
    assert simplified(lambda x: x / (fj.constant(0.0) * -1.0), x) == ["divide"]
    assert simplified(lambda x: x + fj.exp(fj.constant(1.0)), x) == ["exp", "add"]


@pytest.mark.parametrize("axes", [(0, 2), (0, 3), (1, 3), (0, 1, 3)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reduced_axes_become_neighbours(axes: tuple[int, ...], keepdims: bool) -> None:
    (x,) = arrays((3, 2, 5, 4))
    ops = simplified(lambda x: fj.sum(x, axis=axes, keepdims=keepdims), x)
    assert ops in (["permute_dims", "sum", "reshape"], ["permute_dims", "sum"])


def test_axes_of_extent_one_are_no_gap() -> None:
    (x,) = arrays((3, 1, 4))
    assert simplified(lambda x: fj.sum(x, axis=(0, 2)), x) == ["sum"]


def gradient_of_slices(x: Any) -> Any:
    return fj.gradients_function(lambda x: fj.sum(x[:2] * 0.0 - x[2:] * 0.0))(x)[0]


def test_placements_merge_with_their_negative_zeros() -> None:
    (x,) = arrays((4,))
    ops = simplified(gradient_of_slices, x)
    assert ops.count("place") == 1
    found = fj.function(gradient_of_slices)
    assert [found(x).numpy().tobytes() for _ in range(3)] == [
        gradient_of_slices(x).numpy().tobytes()
    ] * 3


@pytest.mark.parametrize("zero", [-0.0, 0.0])
def test_adding_a_zero_of_either_sign_is_told_apart(zero: float) -> None:
    """x + -0.0 keeps -0.0, which the sum of two placements turns into 0.0."""
    builder = Builder("f")
    x = builder.input(fj.constant([0.0, 0.0]).type, "x")
    (shifted,) = builder.add(fj.add, [x, constant(np.float32(zero).reshape(()))], {})
    parts = [
        builder.add(place_, [shifted], {"shape": (4,), "ranges": (((at, 1),),)})[0] for at in (0, 2)
    ]
    (total,) = builder.add(fj.add, parts, {})
    graph = builder.finish([total])
    given = np.array([-0.0, -0.0], np.float32)
    after = dce(simplify(graph))
    assert names(after).count("place") == 1
    assert bits(eagerly(after, given)) == bits(eagerly(graph, given))


def test_placements_that_meet_are_kept() -> None:
    def overlapping(x: Any) -> Any:
        return fj.gradients_function(lambda x: fj.sum(x[:3] * 2.0) + fj.sum(x[2:] * 3.0))(x)[0]

    assert simplified(overlapping, *arrays((4,))).count("place") == 2


def sum_of_slices(*slices: Any) -> Callable[[Any], Any]:
    """The gradient of a sum of slices, each times a number of its own."""

    def of(x: Any) -> Any:
        parts = [fj.sum(x[each] * (2.0 + i)) for i, each in enumerate(slices)]
        return sum(parts[1:], parts[0])

    return lambda x: fj.gradients_function(of)(x)[0]


TILES = [np.s_[i : i + 2, j : j + 3] for i in (0, 2) for j in (0, 3)]


@pytest.mark.parametrize(
    ("slices", "placements"),
    [
        (TILES, 1),
        ([*TILES[::-1], np.s_[4:, :]], 1),
        ([np.s_[0], np.s_[1], np.s_[1], np.s_[0]], 1),  # what lies at one place is added there
        ([np.s_[::2], np.s_[1::2]], 2),  # apart, but no plane lies between them
        ([np.s_[3:], np.s_[2:4], np.s_[1], np.s_[0]], 2),  # the last three are apart
        ([np.s_[:1, :3], np.s_[:3, 3:], np.s_[1:, :2], np.s_[3:, 2:], np.s_[1:3, 2:3]], 2),
    ],
)
def test_placements_merge_where_they_are_apart(slices: Any, placements: int) -> None:
    assert simplified(sum_of_slices(*slices), *arrays((5, 6))).count("place") == placements


def test_sums_of_placements_that_others_read_are_kept() -> None:
    builder = Builder("f")
    x = builder.input(fj.constant([1.0, -0.0]).type, "x")
    first, second, third = (
        builder.add(place_, [x], {"shape": (6,), "ranges": (((at, 1),),)})[0] for at in (0, 2, 4)
    )
    (two,) = builder.add(fj.add, [first, second], {})
    (all_three,) = builder.add(fj.add, [third, two], {})
    (square,) = builder.add(fj.multiply, [two, two], {})
    graph = builder.finish([all_three, square])
    after = dce(simplify(graph))
    given = np.array([1.0, -0.0], np.float32)
    assert bits(eagerly(after, given)) == bits(eagerly(graph, given))
    assert names(after).count("place") == 2, "the sum of two, and the third"


def after_cse(f: Callable[..., Any], *args: Any) -> list[str]:
    graph = recorded(f, *args)
    after = dce(cse(graph))
    assert bits(eagerly(after, *args)) == bits(eagerly(graph, *args))
    return names(after)


def test_equal_things_are_computed_once() -> None:
    (x,) = arrays((2, 3))
    assert after_cse(lambda x: fj.exp(x) + fj.exp(x), x) == ["exp", "add"]
    assert after_cse(lambda x: (x[0] * 2.0, x[0] * 2.0), x).count("multiply") == 1
    assert after_cse(lambda x: (x * 2.0, 2.0 * x), x) == ["multiply", "multiply"]


def test_constants_and_parameters_that_compare_equal_are_told_apart() -> None:
    (x,) = arrays((2, 3))
    assert after_cse(lambda x: (x / 0.0, x / -0.0), x) == ["divide", "divide"]
    assert after_cse(lambda x: (fj.sum(x, axis=0), fj.sum(x, axis=1)), x) == ["sum", "sum"]
    kept = after_cse(lambda x: (fj.sum(x, axis=0), fj.sum(x, axis=0, keepdims=True)), x)
    assert kept.count("sum") == 2
    b = fj.constant([True, False])
    zero, false = fj.constant(0), fj.constant(False)
    graph = recorded(lambda b: (fj.where(b, 0, 1), fj.where(b, False, True)), b)
    assert len(cse(graph).nodes) == len(graph.nodes) == 2
    assert (zero.dtype, false.dtype) == (np.dtype("int64"), np.dtype("bool"))


def test_guards_are_never_merged_or_dropped() -> None:
    def guarded(x: Any) -> Any:
        first, second = float(fj.sum(x)), float(fj.sum(x))
        return x * (1.0 if first == second else 2.0)

    (x,) = arrays((2,))
    assert after_cse_with_guards(guarded, x).count("guard") == 2


def after_cse_with_guards(f: Callable[..., Any], *args: Any) -> list[str]:
    return names(dce(cse(recorded(f, *args))))


def test_dead_code_goes() -> None:
    def wasteful(x: Any) -> Any:
        _ = fj.exp(x) @ x
        return x + 1.0

    graph = recorded(wasteful, *arrays((2, 2)))
    assert names(graph) == ["exp", "matmul", "add"]
    assert names(dce(graph)) == ["add"]


def test_dead_results_of_a_live_node_are_kept_in_order() -> None:
    builder = Builder("f")
    x = builder.input(fj.constant([1.0]).type, "x")
    values: list[Value] = [x]
    for _ in range(5):
        values.append(builder.add(fj.exp, [values[-1]], {})[0])
    graph: Graph = dce(builder.finish([values[3]]))
    assert [node.outputs[0] for node in graph.nodes] == values[1:4]
