"""Optimizers: beside PyTorch's, beside NumPy in float64, and as part of a decorated step."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit import train

STEPS = 12
Numpy = Iterator[tuple[np.ndarray, ...]]


def descent(w: Any, rate: float = 0.1) -> Any:
    while True:
        g = yield w
        w = w - rate * g


def momentum(w: Any, rate: float = 0.1, mu: float = 0.9, nesterov: bool = False) -> Any:
    v = 0 * w
    while True:
        g = yield w
        v = mu * v + g
        w = w - rate * (g + mu * v if nesterov else v)


def rmsprop(w: Any, mu: float | None = None, centered: bool = False) -> Any:
    s, m, v = 0 * w, 0 * w, 0 * w
    while True:
        g = yield w
        s = 0.99 * s + 0.01 * g * g
        m = 0.99 * m + 0.01 * g
        step = g / (np.sqrt(s - m * m if centered else s) + 1e-8)
        v = (mu or 0) * v + step
        w = w - 1e-2 * v


def adagrad(w: Any) -> Any:
    s = 0 * w
    while True:
        g = yield w
        s = s + g * g
        w = w - 1e-2 * g / (np.sqrt(s) + 1e-10)


def adam(w: Any, decay: float = 0.0) -> Any:
    m, s, t = 0 * w, 0 * w, 0
    while True:
        g = yield w
        t += 1
        m = 0.9 * m + 0.1 * g
        s = 0.999 * s + 0.001 * g * g
        w = w * (1 - 1e-3 * decay)
        w = w - 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)


def lion(w: Any) -> Any:
    m = 0 * w
    while True:
        g = yield w
        step = np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
        w = w * (1 - 1e-4 * 0.1) - 1e-4 * step


# name: ours, the same in NumPy, and the same in PyTorch
CASES: dict[str, tuple[Callable[[], train.Optimizer], Any, tuple[str, dict[str, Any]] | None]] = {
    "descent": (lambda: train.GradientDescentOptimizer(0.1), descent, ("SGD", {"lr": 0.1})),
    "momentum": (
        lambda: train.MomentumOptimizer(0.1),
        momentum,
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ),
    "nesterov": (
        lambda: train.MomentumOptimizer(0.1, nesterov=True),
        lambda w: momentum(w, nesterov=True),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ),
    "rmsprop": (lambda: train.RMSPropOptimizer(1e-2), rmsprop, ("RMSprop", {})),
    "rmsprop centered momentum": (
        lambda: train.RMSPropOptimizer(1e-2, momentum=0.9, centered=True),
        lambda w: rmsprop(w, 0.9, True),
        ("RMSprop", {"momentum": 0.9, "centered": True}),
    ),
    "adagrad": (train.AdagradOptimizer, adagrad, ("Adagrad", {})),
    "adam": (train.AdamOptimizer, adam, ("Adam", {})),
    "adamw": (train.AdamWOptimizer, lambda w: adam(w, 0.01), ("AdamW", {})),
    "lion": (lambda: train.LionOptimizer(weight_decay=0.1), lion, None),
}


def gradients(dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(5, 3)).astype(dtype) for _ in range(STEPS)]


START = np.random.default_rng(0).normal(size=(5, 3))


def trained(name: str, dtype: str, decorate: bool) -> np.ndarray:
    """The values after each step."""
    optimizer = CASES[name][0]()
    w = fj.Variable(START.astype(dtype), name="w")

    def step(g: Any) -> None:
        optimizer.apply_gradients([(g, w)])

    run = fj.function(step) if decorate else step
    found = []
    for g in gradients(dtype):
        run(fj.asarray(g))
        found.append(w.numpy())
    if isinstance(run, fj.Function) and not fj.config.disable:
        assert run.num_traces == (2 if optimizer.slot_names else 1)
    return np.stack(found)


@pytest.mark.parametrize("decorate", [False, True], ids=["eager", "decorated"])
@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-13), ("float32", 1e-5)])
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_numpy(name: str, dtype: str, close: float, decorate: bool) -> None:
    reference = CASES[name][1](START.astype(dtype).astype(float))
    next(reference)
    expected = [reference.send(g.astype(float)) for g in gradients(dtype)]
    np.testing.assert_allclose(trained(name, dtype, decorate), expected, rtol=close, atol=close)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[2]])
def test_steps_are_those_of_pytorch(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    case = CASES[name][2]
    assert case is not None
    kind, options = case
    w = torch.tensor(START.astype(dtype), requires_grad=True)
    optimizer = getattr(torch.optim, kind)([w], **options)
    expected = []
    for g in gradients(dtype):
        w.grad = torch.tensor(g)
        optimizer.step()
        expected.append(w.detach().numpy().copy())
    close = 1e-13 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(trained(name, dtype, True), expected, rtol=close, atol=close)


@pytest.mark.parametrize("name", CASES)
def test_a_rate_that_changes_is_no_new_recording(name: str) -> None:
    optimizer = CASES[name][0]()
    w = fj.Variable([2.0, 1.0])

    @fj.function
    def step() -> Any:
        return optimizer.minimize(lambda: fj.sum(fj.exp(w)))

    for _ in range(3):
        step()
    traces = step.num_traces
    with fj.no_recompile():
        for rate in (0.5, 0.25):
            optimizer.learning_rate = rate
            before = w.numpy()
            step()
            moved = np.abs(w.numpy() - before)
            optimizer.learning_rate = 0.0
            before = w.numpy()
            step()
            assert moved.max() > 0 and np.array_equal(w.numpy(), before)
    assert step.num_traces == traces


def test_minimize_returns_the_loss_and_updates_what_the_loss_reads() -> None:
    a, b = fj.Variable(1.0, name="a"), fj.Variable(1.0, name="b")
    optimizer = train.GradientDescentOptimizer(0.5)
    assert float(optimizer.minimize(lambda: a * 3.0)) == 3.0
    assert (float(a), float(b)) == (-0.5, 1.0)
    assert float(optimizer.minimize(lambda: a * b, variables=[b])) == -0.5
    assert (float(a), float(b)) == (-0.5, 1.25)


def test_state_has_readable_names() -> None:
    w, again = fj.Variable([1.0], name="layer/kernel"), fj.Variable([1.0], name="layer/kernel")
    optimizer = train.AdamOptimizer(train.WarmUp(10, 0.1), clip_norm=1.0)
    optimizer.build([w, again])
    assert list(optimizer.named_variables()) == [
        "step",
        "learning_rate/steps",
        "learning_rate/then/value",
        "clip_norm",
        "beta1",
        "beta2",
        "epsilon",
        "layer/kernel/mean",
        "layer/kernel/square",
        "layer/kernel_1/mean",
        "layer/kernel_1/square",
    ]
    assert len(optimizer.variables) == 11 and not any(v.trainable for v in optimizer.variables)


def test_slots_are_made_once_in_any_order_of_gradients() -> None:
    variables = [fj.Variable([float(i)], name=f"v{i}") for i in range(3)]
    optimizer = train.MomentumOptimizer(0.1)
    for order in ([0, 1, 2], [2, 0], [1, 2, 0]):
        optimizer.apply_gradients([(fj.ones(1), variables[i]) for i in order])
    assert [n for n in optimizer.named_variables() if "/" in n] == [
        f"v{i}/velocity" for i in range(3)
    ]
    velocity = 1 + 0.9 * (1 + 0.9)
    assert float(optimizer.named_variables()["v0/velocity"][0]) == pytest.approx(velocity)
    assert int(optimizer.step) == 3


def test_no_gradient_leaves_a_variable_alone() -> None:
    a, b = fj.Variable(1.0), fj.Variable(1.0)
    optimizer = train.MomentumOptimizer(0.1)
    optimizer.apply_gradients([(None, a), (fj.constant(1.0), b)])
    assert float(a) == 1.0 and float(b) == pytest.approx(0.9)
    with pytest.raises(fj.GradientError, match="no gradient to apply"):
        optimizer.apply_gradients([(None, a)])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_updated_in_float32(dtype: str) -> None:
    w = fj.Variable(fj.ones(3, dtype=getattr(fj, dtype)))
    optimizer = train.AdamOptimizer(1e-2)
    for _ in range(3):
        optimizer.apply_gradients([(fj.ones(3, dtype=w.dtype), w)])
    assert optimizer.variables[-1].dtype == np.float32
    np.testing.assert_allclose(np.asarray(w.numpy(), float), 0.97, atol=6e-3)


def test_integers_are_refused() -> None:
    with pytest.raises(fj.DTypeError, match=r"count: optimizers update floats, and this is i64"):
        train.GradientDescentOptimizer(0.1).apply_gradients(
            [(fj.constant(1.0), fj.Variable(1, name="count"))]
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: train.AdamOptimizer(-1.0), "AdamOptimizer: expected learning_rate >= 0, got -1"),
        (lambda: train.AdamOptimizer(betas=(0.9, 1.0)), "expected 0 <= betas < 1, got 1.0"),
        (lambda: train.MomentumOptimizer(0.1, momentum=1.5), "expected 0 <= momentum < 1"),
        (lambda: train.GradientDescentOptimizer(0.1, clip_norm=0.0), "expected clip_norm > 0"),
        (lambda: train.Accumulated(train.AdamOptimizer(), 0), "expected every >= 1, got 0"),
        (lambda: train.MovingAverage([], decay=1.0), "expected 0 <= decay < 1"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(fj.FuseJitError, match=message):
        make()


# ---- clipping, decay, averages, accumulation


def test_clipping_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype(np.float32) for s in ((3, 4), (5,), ())]
    for limit in (0.5, 100.0):
        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        for tensor, array in zip(tensors, arrays, strict=True):
            tensor.grad = torch.tensor(array)
        norm = torch.nn.utils.clip_grad_norm_(tensors, limit)
        ours = [fj.asarray(a) for a in arrays]
        assert float(train.global_norm(ours)) == pytest.approx(float(norm), rel=1e-6)
        clipped = train.clip_by_global_norm([None, *ours], limit)
        assert clipped[0] is None
        for mine, theirs in zip(clipped[1:], tensors, strict=True):
            assert mine is not None
            np.testing.assert_allclose(mine.numpy(), theirs.grad.numpy(), rtol=1e-5)


def test_an_optimizer_clips() -> None:
    w = fj.Variable([0.0, 0.0])
    optimizer = train.GradientDescentOptimizer(1.0, clip_norm=1.0)
    optimizer.apply_gradients([(fj.constant([3.0, 4.0]), w)])
    np.testing.assert_allclose(w.numpy(), [-0.6, -0.8], rtol=1e-6)
    optimizer.clip_norm = 10.0
    optimizer.apply_gradients([(fj.constant([3.0, 4.0]), w)])
    np.testing.assert_allclose(w.numpy(), [-3.6, -4.8], rtol=1e-6)


def test_only_chosen_variables_lose_weight() -> None:
    kernel, bias = fj.Variable([[1.0]], name="kernel"), fj.Variable([1.0], name="bias")
    optimizer = train.AdamWOptimizer(0.5, weight_decay=0.5, decays=lambda v: v.ndim > 1)
    optimizer.apply_gradients([(fj.zeros((1, 1)), kernel), (fj.zeros(1), bias)])
    assert float(kernel) == 0.75 and float(bias[0]) == 1.0


def test_a_moving_average_in_a_decorated_step() -> None:
    w = fj.Variable(0.0, name="w")
    average = train.MovingAverage([w], decay=0.75)

    @fj.function
    def step() -> None:
        w.assign_add(1.0)
        average.update()

    expected = 0.0
    for i in range(5):
        step()
        expected = 0.75 * expected + 0.25 * (i + 1)
    with average.applied():
        assert float(w) == pytest.approx(expected)
    assert float(w) == 5.0 and step.num_traces == 1
    assert list(average.named_variables()) == ["decay", "w/average"]


def test_accumulated_steps_are_those_of_the_whole_batch() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3))
    whole, pieces = fj.Variable(np.ones(3), name="w"), fj.Variable(np.ones(3), name="w")
    large = train.AdamOptimizer(0.1)
    small = train.Accumulated(train.AdamOptimizer(0.1), every=4)
    small.build([pieces])

    @fj.function
    def step(part: Any) -> Any:
        return small.minimize(lambda: fj.mean((part @ pieces) ** 2))

    for _ in range(3):
        large.minimize(lambda: fj.mean((fj.asarray(x) @ whole) ** 2))
        for start in range(0, 8, 2):
            step(fj.asarray(x[start : start + 2]))
    np.testing.assert_allclose(pieces.numpy(), whole.numpy(), rtol=1e-12)
    assert step.num_traces == 2  # a branch for each case
    with fj.no_recompile(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(8):
            step(fj.asarray(x[:2]))
    assert "w/sum" in small.named_variables()
    assert "optimizer/w/mean" in small.named_variables()


# ---- what a step costs


def kernels(f: fj.Function, *args: Any) -> int:
    found = re.search(r" ops in (\d+) kernels?", str(f.explain(*args)))
    assert found
    return int(found[1])


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["descent", "momentum", "adam", "lion"])
def test_variables_of_one_shape_are_updated_by_few_kernels(name: str) -> None:
    optimizer = CASES[name][0]()
    variables = [fj.Variable(fj.ones((16, 8)), name=f"w{i}") for i in range(12)]

    @fj.function
    def step(g: Any) -> None:
        optimizer.apply_gradients([(g, v) for v in variables])

    g = fj.ones((16, 8))
    for _ in range(3):
        step(g)
    assert kernels(step, g) <= 6  # a kernel takes some of them, as many as it has arguments for
