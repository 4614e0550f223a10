"""The tape: what it watches, records, keeps and plays back."""

from __future__ import annotations

import re
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit import dispatch
from fusejit.op import OPS, opaque
from tests.collecting import collect


def test_gradient_of_a_watched_tensor() -> None:
    x = fj.constant([1.0, 2.0])
    with fj.GradientTape() as tape:
        tape.watch(x)
        y = x * x * x
    assert tape.gradient(y, x).tolist() == [3.0, 12.0]


def test_a_tensor_that_is_not_watched_has_no_gradient() -> None:
    x, c = fj.constant(2.0), fj.constant(3.0)
    with fj.GradientTape() as tape:
        tape.watch(x)
        y = x * c
    found = tape.gradient(y, {"x": x, "c": c})
    assert float(found["x"]) == 3.0
    assert found["c"] is None


def test_sources_may_be_nested_and_intermediate() -> None:
    x = fj.constant(2.0)
    with fj.GradientTape() as tape:
        tape.watch(x)
        middle = x * x
        y = middle * 5.0
    a, (b, c) = tape.gradient(y, (x, [middle, y]))
    assert (float(a), float(b), float(c)) == (20.0, 5.0, 1.0)


def test_targets_may_be_nested_and_weighted() -> None:
    x = fj.constant([1.0, 2.0])
    with fj.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = {"a": x * 2.0, "b": x * x}
    assert tape.gradient(y, x).tolist() == [4.0, 6.0]
    assert tape.gradient(y, x, {"a": [1.0, 0.0], "b": None}).tolist() == [4.0, 4.0]
    with pytest.raises(fj.ShapeError, match=r"expected f32\[2\], got f32\[3\]"):
        tape.gradient(y["a"], x, [1.0, 2.0, 3.0])


def test_broadcasting_is_undone() -> None:
    a, b, c = fj.ones((2, 3)), fj.ones((3,)), fj.ones((2, 1))
    with fj.GradientTape() as tape:
        tape.watch([a, b, c])
        y = a * b + c
    found = tape.gradient(y, [a, b, c])
    assert [g.shape for g in found] == [(2, 3), (3,), (2, 1)]
    assert [g.tolist() for g in found[1:]] == [[2.0] * 3, [[3.0], [3.0]]]


def test_casts_between_floats_are_differentiable() -> None:
    x = fj.constant([1.0, 2.0])
    with fj.GradientTape() as tape:
        tape.watch(x)
        y = x * fj.constant([3.0, 4.0], dtype="float64")
    found = tape.gradient(y, x)
    assert y.dtype == "float64"
    assert found.dtype == "float32"
    assert found.tolist() == [3.0, 4.0]


def test_variables_are_watched_when_read() -> None:
    w = fj.Variable([1.0, 2.0], name="w")
    frozen = fj.Variable(2.0, trainable=False)
    counter = fj.Variable(2)
    with fj.GradientTape() as tape:
        y = w * frozen * counter
    assert tape.watched_variables() == (w,)
    found = tape.gradient(y, [w, frozen, counter])
    assert found[0].tolist() == [4.0, 4.0]
    assert found[1:] == [None, None]


def test_a_variable_that_is_not_trainable_can_be_watched() -> None:
    v = fj.Variable(2.0, trainable=False)
    with fj.GradientTape() as tape:
        tape.watch(v)
        y = v * v
    assert float(tape.gradient(y, v)) == 4.0


def test_all_values_read_from_a_variable_count_and_assign_is_not_differentiated() -> None:
    v, x = fj.Variable(3.0), fj.constant(5.0)
    with fj.GradientTape() as tape:
        tape.watch(x)
        y = v * v
        v.assign(x * 2.0)
        y = y + v * 7.0 + v * 1.0
    dv, dx = tape.gradient(y, [v, x])
    assert float(dv) == 6.0 + 8.0
    assert dx is None


def test_a_variable_made_of_a_watched_tensor_is_another_value() -> None:
    x = fj.constant(5.0)
    with fj.GradientTape() as tape:
        tape.watch(x)
        v = fj.Variable(x)
        y = v * x
    dv, dx = tape.gradient(y, [v, x])
    assert (float(dv), float(dx)) == (5.0, 5.0)


def test_tapes_nest_to_any_order() -> None:
    x = fj.constant(2.0)
    with fj.GradientTape() as third:
        third.watch(x)
        with fj.GradientTape() as second:
            second.watch(x)
            with fj.GradientTape() as first:
                first.watch(x)
                y = x * x * x * x
            one = first.gradient(y, x)
        two = second.gradient(one, x)
    three = third.gradient(two, x)
    assert [float(d) for d in (one, two, three)] == [32.0, 48.0, 48.0]


def test_a_persistent_tape_records_gradients_taken_inside_its_block() -> None:
    x = fj.constant(2.0)
    with fj.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x * x
        one = tape.gradient(y, x)
    assert float(tape.gradient(one, x)) == 12.0
    assert float(tape.gradient(y, x)) == 12.0


def test_a_plain_tape_stops_at_its_gradient() -> None:
    x = fj.constant(2.0)
    with fj.GradientTape() as tape:
        tape.watch(x)
        assert float(tape.gradient(x * x, x)) == 4.0
        assert list(dispatch.handlers()) == []
    with pytest.raises(fj.GradientError, match="persistent=True"):
        tape.gradient(x, x)
    with pytest.raises(fj.GradientError, match="persistent=True"), tape:
        pass


def test_tapes_may_be_closed_in_any_order() -> None:
    x = fj.constant(3.0)
    first, second = fj.GradientTape(), fj.GradientTape()
    first.__enter__()
    second.__enter__()
    first.watch(x)
    second.watch(x)
    y = x * x
    first.__exit__(None, None, None)
    z = y * x
    second.__exit__(None, None, None)
    assert list(dispatch.handlers()) == []
    assert first.gradient(z, x) is None
    assert float(second.gradient(z, x)) == 27.0


def test_a_tape_that_records_cannot_be_entered_again() -> None:
    with fj.GradientTape() as tape, pytest.raises(fj.GradientError, match="already recording"):
        tape.__enter__()


def test_an_exception_in_the_block_leaves_no_tape_behind() -> None:
    with pytest.raises(ZeroDivisionError), fj.GradientTape():
        1 / 0  # noqa: B018
    assert list(dispatch.handlers()) == []


@pytest.mark.parametrize("value", [fj.constant(1), fj.constant([True])], ids=["i64", "bool"])
def test_integers_cannot_be_watched(value: fj.Tensor) -> None:
    with fj.GradientTape() as tape, pytest.raises(fj.GradientError, match="only floats"):
        tape.watch(value)


def test_only_tensors_can_be_watched_or_differentiated() -> None:
    x = fj.constant(1.0)
    with fj.GradientTape(persistent=True) as tape:
        tape.watch(x)
        with pytest.raises(fj.GradientError, match="watch: expected a Tensor, got float"):
            tape.watch(1.0)
    with pytest.raises(fj.GradientError, match="floating Tensor, got float"):
        tape.gradient(1.0, x)
    with pytest.raises(fj.GradientError, match=r"floating Tensor, got bool\[\]"):
        tape.gradient(x > 0.0, x)
    with pytest.raises(fj.GradientError, match="source must be a Tensor or Variable, got str"):
        tape.gradient(x, "x")


def test_integers_and_comparisons_pass_through() -> None:
    x = fj.constant([1.0, -2.0])
    with fj.GradientTape() as tape:
        tape.watch(x)
        y = fj.where(x > 0.0, x, -x) * fj.astype(x > 0.0, "float32") + fj.astype(x, "int64") * 2
    assert tape.gradient(y, x).tolist() == [1.0, 0.0]


def test_an_op_without_gradient_is_refused_where_it_is_applied() -> None:
    hidden = opaque("hidden", numpy=np.cbrt, types=lambda t: t, registered=False)
    with fj.GradientTape() as tape:
        x = fj.constant([1.0])
        hidden(x)
        tape.watch(x)
        with pytest.raises(fj.GradientError, match=r"hidden at test_tape\.py:\d+: .* no gradient"):
            hidden(x)


def test_several_outputs() -> None:
    def rule(g: tuple[fj.Tensor, ...], ys: Any, types: Any) -> tuple[Any]:
        a, b, c = g
        assert (a.tolist(), c.tolist()) == ([0.0, 0.0], [0, 0])
        assert [y.shape for y in ys] == [(2,)] * 3
        assert str(types[0]) == "f32[2]"
        return (b * 10.0,)

    three = opaque(
        "three",
        numpy=lambda x: (x, x + 1, x.astype(int)),
        types=lambda t: (t, t, t),
        vjp=rule,
        registered=False,
    )
    x = fj.constant([1.0, 2.0])
    with fj.GradientTape() as tape:
        tape.watch(x)
        y = three(x)[1]
    assert tape.gradient(y, x).tolist() == [10.0, 10.0]


def test_only_what_leads_to_a_source_is_played_back() -> None:
    played = []

    def rule(g: Any) -> tuple[Any]:
        played.append(1)
        return (g,)

    noted = opaque("noted", numpy=np.copy, types=lambda t: t, vjp=rule, registered=False)
    x, y = fj.constant(1.0), fj.constant(2.0)
    with fj.GradientTape(persistent=True) as tape:
        tape.watch([x, y])
        z = noted(x) * y
    assert float(tape.gradient(z, y)) == 1.0
    assert not played
    assert float(tape.gradient(z, x)) == 2.0
    assert len(played) == 1


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda g: g, "returned a Tensor, not a tuple"),
        (lambda g: (g,), "returned 1 gradients for 2 operands"),
        (lambda g, nonsense: (g, g), "asks for `nonsense`"),
    ],
)
def test_a_wrong_rule_is_explained(rule: Any, message: str) -> None:
    from fusejit.op import elementwise

    wrong = elementwise(
        "wrong", numpy=np.add, scalar=lambda a, b: a + b, vjp=rule, registered=False
    )
    x = fj.constant(1.0)
    with fj.GradientTape() as tape, pytest.raises(fj.GradientError, match=re.escape(message)):
        tape.watch(x)
        tape.gradient(wrong(x, x), x)


def test_names_in_rules_mean_one_thing() -> None:
    reserved = {"g", "gs", "y", "ys", "xs", "types"}
    assert not {op.name for op in OPS.values() if reserved.intersection(op.inputs) and op.vjp}


def test_an_ndarray_may_be_overwritten_after_it_was_used() -> None:
    data, w = np.array([1.0, 2.0]), fj.Variable(3.0, dtype="float64")
    with fj.GradientTape() as tape:
        y = w * data
    data[:] = 0.0
    assert float(tape.gradient(y, w)) == 3.0


def test_a_tape_keeps_only_what_rules_name() -> None:
    x = fj.ones((10,))
    with fj.GradientTape() as tape:
        tape.watch(x)
        middle = x + 1.0  # the rules of add and negative name no value
        dropped = weakref.ref(middle)
        y = -middle
        del middle
        assert dropped() is None
        kept = weakref.ref(z := fj.sigmoid(y))
        out = z + 1.0
        del z
        assert kept() is not None
    tape.gradient(out, x)
    assert kept() is None


def test_memory_is_flat_over_many_steps() -> None:
    w = fj.Variable(np.ones(100))

    def step() -> None:
        with fj.GradientTape() as tape:
            y = fj.sum(w * w)
        w.assign_sub(tape.gradient(y, w) * 1e-4)

    for _ in range(500):
        step()
    collect()
    before = sys.getallocatedblocks()
    for _ in range(10_000):
        step()
    collect()
    assert sys.getallocatedblocks() - before < 1_000


def test_each_thread_has_its_own_tapes() -> None:
    w = fj.Variable(3.0)
    found: list[float] = []

    def work() -> None:
        assert list(dispatch.handlers()) == []
        for _ in range(50):
            with fj.GradientTape() as tape:
                y = w * w
            found.append(float(tape.gradient(y, w)))

    with fj.GradientTape() as outer:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [6.0] * 200
    assert outer.watched_variables() == ()
