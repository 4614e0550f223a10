"""fj.save and fj.load: bits, gradients, branches, Variables, arguments; what cannot be saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.portable import models


def saved(f: Any, folder: Path, *args: Any, **kwargs: Any) -> Any:
    fj.save(f, folder / "function", *args, **kwargs)
    return fj.load(folder / "function")


@pytest.mark.parametrize("model", [models.mlp, models.lstm_cell, models.convolution])
@pytest.mark.compiled
def test_a_fresh_process_without_the_source(model: Any, tmp_path: Path) -> None:
    f, x = model()
    f(x)
    found = models.elsewhere(f, tmp_path, x)
    expected = f(x).numpy()
    assert found["fused"].tobytes() == found["again"].tobytes() == expected.tobytes()
    np.testing.assert_allclose(found["eager"], expected, rtol=1e-5)
    assert found["gradient"].tobytes() == fj.gradients_function(f)(x)[0].numpy().tobytes()
    for number, (gradient, _) in enumerate(fj.implicit_gradients(f)(x)):
        assert found[f"variable{number}"].tobytes() == gradient.numpy().tobytes()


def test_branches_are_taken_by_value(tmp_path: Path) -> None:
    @fj.function
    def f(x: fj.Tensor) -> fj.Tensor:
        if fj.sum(x) > 0.0:
            return x * 2.0
        if fj.max(x) > 0.0:
            return x - 1.0
        return -x

    positive, mixed, negative = (fj.constant(v) for v in ([3.0, -1.0], [1.0, -3.0], [-1.0, -3.0]))
    for x in (positive, mixed):
        f(x)
    g = saved(f, tmp_path, positive)
    for x in (positive, mixed, positive, mixed):
        assert g(x).tolist() == f(x).tolist()
    with pytest.raises(fj.CaptureError, match=r"no branch.*bool\(\) reads at test_portable.py:\d+ "
                       r"was True, now False"):  # fmt: skip
        g(negative)
    f(negative)
    g = saved(f, tmp_path, positive)
    for x in (negative, positive, mixed, negative):
        assert g(x).tolist() == f(x).tolist()


@pytest.mark.replayed
def test_branches_replay_and_nothing_is_recorded_again(tmp_path: Path) -> None:
    @fj.function
    def collatz(n: fj.Tensor) -> int:
        steps = 0
        while not fj.equal(n, 1):
            n = n // 2 if fj.equal(n % 2, 0) else n * 3 + 1
            steps += 1
        return steps

    numbers = [fj.constant(i) for i in range(1, 12)]
    expected = [collatz(n) for n in numbers]
    g = saved(collatz, tmp_path, numbers[0])
    assert [g(n) for n in numbers] == expected
    traces = g.num_traces
    assert [g(n) for n in numbers] == expected
    assert g.num_traces == traces


def test_variables_are_variables(tmp_path: Path) -> None:
    total, rate = fj.Variable(0.0, name="total"), fj.Variable(2.0, name="rate", trainable=False)

    @fj.function
    def add(x: fj.Tensor) -> Any:
        total.assign_add(x * rate)
        return {"total": total, "now": total.read(), "first": (1, "text", None)}

    add(fj.constant(1.0))
    g = saved(add, tmp_path, fj.constant(1.0))
    held = g.named_variables()
    assert {n: (float(v), v.trainable) for n, v in held.items()} == {
        "total": (2.0, True),
        "rate": (2.0, False),
    }
    for expected in (8.0, 14.0, 20.0):
        found = g(fj.constant(3.0))
        assert found["total"] is held["total"]
        assert float(found["now"]) == float(held["total"]) == expected
        assert found["first"] == (1, "text", None)
    held["rate"].assign(0.5)
    assert float(g(fj.constant(2.0))["now"]) == 21.0
    assert float(total) == 2.0  # the original's is another


def test_random_numbers_are_those_of_the_process(tmp_path: Path) -> None:
    @fj.function
    def noisy(x: fj.Tensor) -> fj.Tensor:
        return x + fj.random.normal(x.shape)

    x = fj.zeros(4)
    g = saved(noisy, tmp_path, x)
    for _ in range(3):
        fj.random.seed(5)
        expected = noisy(x).tolist()
        fj.random.seed(5)
        assert g(x).tolist() == expected
    assert g.named_variables()["random.state"] is fj.random.state


def test_arguments_of_every_form(tmp_path: Path) -> None:
    def f(
        x: fj.Tensor, pair: Any, /, mode: str = "plain", *rest: Any, scale: float = 2.0, **more: Any
    ) -> Any:
        y = fj.multiply(x, scale) + pair[0] - pair[1]["b"]
        for each in rest:
            y = y + each
        return [y if mode == "plain" else -y, (more["extra"] * y,)]

    x = fj.constant([1.0, 2.0])
    pair = (x * 3.0, {"b": x, "n": 7})
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((x, pair), {"extra": x}),
        ((x, pair, "plain", x, x * 5.0), {"extra": x, "scale": 3.0}),
        ((x, pair, "minus"), {"extra": x}),
        ((x.numpy(), pair), {"extra": x}),
    ]
    decorated = fj.function(f)
    for args, kwargs in calls:
        decorated(*args, **kwargs)
    g = saved(decorated, tmp_path, x, pair, extra=x)
    for args, kwargs in calls * 2:
        ours, theirs = g(*args, **kwargs), f(*args, **kwargs)
        assert (ours[0].tolist(), ours[1][0].tolist()) == (
            theirs[0].tolist(),
            theirs[1][0].tolist(),
        )
    with pytest.raises(fj.CaptureError, match=r"not recorded for these arguments.*mode: 'plain'"):
        g(x, pair, "other", extra=x)
    with pytest.raises(fj.CaptureError, match=r"x: f32\[2\]"):
        g(fj.constant([1.0]), pair, extra=x)
    with pytest.raises(TypeError, match="positional"):
        g(x=x, pair=pair)


@pytest.mark.replayed
def test_new_floats_are_not_recorded_again(tmp_path: Path) -> None:
    @fj.function
    def f(x: fj.Tensor, unit: float, bias: float = 0.5) -> fj.Tensor:
        return x * unit + bias

    x = fj.constant([1.0, 3.0])
    g = saved(f, tmp_path, x, 2.0)
    for unit, bias in ((2.0, 0.5), (0.1, -0.0), (float("nan"), 7.0), (1e300, 0.0), (-0.0, -0.0)):
        ours, theirs = g(x, unit, bias=bias).numpy(), f.eager(x, unit, bias).numpy()
        assert ours.tobytes() == theirs.tobytes()
    assert g.num_traces == 1
    assert g(x, unit=3.0).tolist() == [3.5, 9.5]
    with pytest.raises(fj.CaptureError, match="unit: f64"):
        g(x, 2)


def test_one_object_twice_is_not_two(tmp_path: Path) -> None:
    f = fj.function(lambda a, b: a * b)
    x, y = fj.constant([2.0]), fj.constant([5.0])
    f(x, x)
    g = saved(f, tmp_path, x, x)
    assert g(y, y).tolist() == [25.0]
    with pytest.raises(fj.CaptureError):
        g(x, y)
    f(x, y)
    assert saved(f, tmp_path, x, y)(x, x).tolist() == [4.0]


def test_a_global_that_is_an_argument_is_not_taken_for_one(tmp_path: Path) -> None:
    shared = fj.constant([2.0])
    f = fj.function(lambda x, options={"k": 3.0}: x * shared * options["k"])
    f(shared)
    with pytest.raises(fj.CaptureError, match="changes from call to call"):
        fj.save(f, tmp_path / "function", shared)
    f(fj.constant([5.0]))
    assert saved(f, tmp_path, fj.constant([5.0]))(shared, {"k": 3.0}).tolist() == [12.0]


def test_methods_networks_and_plain_callables(tmp_path: Path) -> None:
    class Scale:
        def __init__(self, by: float) -> None:
            self.w = fj.Variable([by, by], name="by")

        @fj.function
        def call(self, x: fj.Tensor) -> fj.Tensor:
            return x * self.w

    x = fj.constant([1.0, 2.0])
    two, three = Scale(2.0), Scale(3.0)
    assert three.call(x).tolist() == [3.0, 6.0]
    assert saved(two.call, tmp_path, x)(x).tolist() == [2.0, 4.0]
    network = fj.Sequential([fj.layers.Dense(3, activation="tanh"), fj.layers.Dense(2)])
    # It has no variables before the first call, which saving makes.
    g = saved(network, tmp_path, fj.ones((4, 5)))
    assert np.array_equal(g(fj.ones((4, 5))).numpy(), network(fj.ones((4, 5))).numpy())
    assert list(g.named_variables()) == list(network.named_variables())


def test_what_was_read_before_it_changed_is_left_out(tmp_path: Path) -> None:
    settings = {"k": 2.0}

    @fj.function
    def f(x: fj.Tensor) -> fj.Tensor:
        return x * settings["k"]

    x, y = fj.constant([1.0]), fj.constant([1.0, 1.0])
    f(x)
    settings["k"] = 3.0
    f(y)
    g = saved(f, tmp_path, y)
    assert g(y).tolist() == [3.0, 3.0]
    with pytest.raises(fj.CaptureError, match="not recorded"):
        g(x)


def test_loaded_functions_nest_and_are_saved_again(tmp_path: Path) -> None:
    w = fj.Variable([2.0, 3.0], name="w")
    inner = saved(fj.function(lambda x: fj.tanh(x * w)), tmp_path, fj.zeros(2))

    @fj.function
    def outer(x: fj.Tensor) -> fj.Tensor:
        return fj.sum(inner(x) ** 2.0)

    x = fj.constant([0.3, -0.2])
    expected = float(fj.sum(fj.tanh(x * w) ** 2.0))
    assert [float(outer(x)) for _ in range(3)] == [expected] * 3
    again = saved(outer, tmp_path, x)
    assert [float(again(x)) for _ in range(2)] == [expected] * 2
    ours = fj.gradients_function(again)(x)[0]
    theirs = fj.gradients_function(outer)(x)[0]
    assert ours.tolist() == theirs.tolist()


def test_a_training_step_is_saved_whole(tmp_path: Path) -> None:
    w = fj.Variable(fj.ones((3, 2)), name="w")
    optimizer = fj.train.AdamOptimizer(learning_rate=0.1)

    @fj.function
    def step(x: fj.Tensor) -> fj.Tensor:
        return optimizer.minimize(lambda: fj.mean((x @ w) ** 2.0))

    x = fj.ones((4, 3))
    step(x)
    step(x)
    g = saved(step, tmp_path, x)
    assert [float(g(x)) for _ in range(4)] == [float(step(x)) for _ in range(4)]
    assert g.named_variables()["w"].tolist() == w.tolist()


def test_higher_gradients(tmp_path: Path) -> None:
    g = saved(fj.function(lambda x: fj.exp(x) * x), tmp_path, fj.constant(0.5))
    second = fj.gradients_function(lambda x: fj.gradients_function(g)(x)[0])
    assert float(second(fj.constant(0.5))[0]) == pytest.approx(2.5 * np.exp(0.5), rel=1e-6)


def test_a_gradient_that_the_graph_does_not_say_is_refused(tmp_path: Path) -> None:
    @fj.custom_gradient
    def clipped(x: fj.Tensor) -> Any:
        return x * 1.0, lambda dy: fj.clip(dy, -1.0, 1.0)

    g = saved(fj.function(lambda x: clipped(x) * 9.0), tmp_path, fj.constant(2.0))
    assert float(g(fj.constant(3.0))) == 27.0
    with pytest.raises(fj.GradientError, match="custom_gradient"):
        fj.gradients_function(g)(fj.constant(3.0))


def test_dtypes_of_every_kind(tmp_path: Path) -> None:
    @fj.function
    def f(*xs: fj.Tensor) -> Any:
        return [fj.sum(x * x) for x in xs]

    names = ("float16", "bfloat16", "float64", "complex64", "complex128", "int8", "uint64")
    xs = [fj.asarray([1, 2, 3], dtype=name) for name in names]
    g = saved(f, tmp_path, *xs)
    for ours, theirs in zip(g(*xs), f(*xs), strict=True):
        assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist())


def test_what_cannot_be_saved_says_why(tmp_path: Path) -> None:
    class Model:
        w = fj.Variable(1.0)

    path = tmp_path / "function"
    x = fj.constant([1.0])
    with pytest.raises(fj.CaptureError, match=r"m is a Model.*closure"):
        fj.save(fj.function(lambda m, x: x * m.w), path, Model(), x)
    with (
        pytest.warns(fj.EagerWarning, match="print"),
        pytest.raises(fj.CaptureError, match="print, an effect"),
    ):
        fj.save(fj.function(lambda x: print(x.shape) or x), path, x)
    with pytest.raises(fj.CaptureError, match="coroutine or generator"):
        fj.save((lambda x: (yield x)), path, x)
    assert not path.exists()


def test_an_op_of_the_users_is_found_by_its_name(tmp_path: Path) -> None:
    from fusejit.op import OPS, elementwise

    triple = elementwise(
        "test_triple", numpy=lambda x: x * 3, scalar=lambda x: x * 3, vjp=lambda g: (g * 3,)
    )
    x = fj.constant([2.0])
    try:
        assert saved(fj.function(lambda x: triple(x)), tmp_path, x)(x).tolist() == [6.0]
    finally:
        del OPS["test_triple"]
    with pytest.raises(fj.FileError, match="'test_triple' is not registered here; import"):
        fj.load(tmp_path / "function")
