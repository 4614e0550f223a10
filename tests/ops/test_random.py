"""Random numbers: published known answers, statistics, and the state as an ordinary Variable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.numerics import philox
from fusejit.numerics.evaluate import evaluate
from fusejit.ops.randomness import random_bits
from fusejit.scalar import U32, U64, Expr, trace

# Random123, tests/kat_vectors: philox4x32, 10 rounds: counter, key, result.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def words(text: str) -> list[Any]:
    return [np.array([int(word, 16)], "uint32") for word in text.split()]


@pytest.fixture(autouse=True)
def seeded() -> None:
    fj.random.seed(1)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_known_answers(counter: str, key: str, answer: str) -> None:
    def block(c0: Expr, c1: Expr, c2: Expr, c3: Expr, k0: Expr, k1: Expr) -> tuple[Expr, ...]:
        return philox.philox4x32((c0, c1, c2, c3), (k0, k1))

    program = trace(block, [U32] * 6)
    found = evaluate(program, *words(counter), *words(key))
    assert [int(w[0]) for w in found] == [int(w[0]) for w in words(answer)]


def test_the_op_is_philox_of_a_counter_with_two_words() -> None:
    zero = np.zeros(1, "uint64")
    low, high = (int(philox.random_bits_array(zero, zero, half=half)[0]) for half in (0, 1))
    assert f"{low:016x} {high:016x}" == "e169c58d6627e8d5 9b00dbd8bc57ac4c"


@pytest.mark.parametrize("half", [0, 1])
def test_the_scalar_program_equals_numpy(half: int, rng: np.random.Generator) -> None:
    counter, key = rng.integers(0, 2**64, (2, 1000), dtype=np.uint64)
    program = random_bits.program((U64, U64), {"half": half})
    assert program is not None
    (found,) = evaluate(program, counter, key)
    assert np.array_equal(found, philox.random_bits_array(counter, key, half=half))


def test_the_same_seed_gives_the_same_stream() -> None:
    def draws() -> list[Any]:
        fj.random.seed(123)
        return [
            fj.random.normal(3).tolist(),
            fj.random.uniform((2, 2)).tolist(),
            fj.random.permutation(5).tolist(),
        ]

    assert draws() == draws()
    assert fj.random.normal(3).tolist() != fj.random.normal(3).tolist()


def test_a_draw_advances_the_counter_by_its_elements() -> None:
    fj.random.seed(5)
    fj.random.uniform((2, 3))
    assert fj.random.state.tolist() == [5, 6]
    assert not fj.random.state.trainable
    fj.random.state.assign(np.array([5, 0], "uint64"))
    whole = fj.random.uniform(6).tolist()
    fj.random.seed(5)
    assert [fj.random.uniform().item() for _ in range(6)] == whole


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform(dtype: str) -> None:
    x = fj.random.uniform(20000, dtype=dtype).numpy()
    assert x.dtype == np.dtype(dtype)
    assert x.min() >= 0
    assert x.max() < 1
    assert abs(x.mean() - 0.5) < 0.01
    counts = np.histogram(x, 20, (0, 1))[0]
    assert np.sum((counts - 1000) ** 2 / 1000) < 45  # chi squared, 19 degrees: 1 in 1000 is 43.8
    y = fj.random.uniform(1000, -2.0, 3.0, dtype=dtype).numpy()
    assert y.min() < -1.9
    assert y.max() > 2.9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal(dtype: str) -> None:
    x = fj.random.normal(20000, dtype=dtype).numpy().astype("float64")
    assert np.isfinite(x).all()
    assert abs(x.mean()) < 0.03
    assert abs(x.std() - 1) < 0.02
    assert abs((x**3).mean()) < 0.1
    assert abs((x**4).mean() - 3) < 0.25
    y = fj.random.normal(5000, 10.0, 0.5).numpy()
    assert abs(y.mean() - 10) < 0.05
    assert abs(y.std() - 0.5) < 0.03


def test_bernoulli() -> None:
    x = fj.random.bernoulli(0.25, 10000)
    assert x.dtype == np.dtype(bool)
    assert abs(x.numpy().mean() - 0.25) < 0.02
    assert fj.random.bernoulli([0.0, 1.0]).tolist() == [False, True]


def test_randint() -> None:
    x = fj.random.randint(-3, 4, 7000).numpy()
    assert np.bincount(x + 3).min() > 850
    assert set(x.tolist()) == set(range(-3, 4))
    assert fj.random.randint(10, shape=(2,), dtype="int8").dtype == np.dtype("int8")


def test_permutation_and_choice() -> None:
    assert sorted(fj.random.permutation(100).tolist()) == list(range(100))
    rows = fj.random.permutation(np.arange(12).reshape(6, 2)).numpy()
    assert sorted(rows[:, 0].tolist()) == list(range(0, 12, 2))
    assert np.array_equal(rows[:, 1], rows[:, 0] + 1)
    chosen = fj.random.choice(10, (2, 5), replace=False)
    assert sorted(chosen.numpy().ravel().tolist()) == list(range(10))
    assert set(fj.random.choice([7, 9], 50).tolist()) == {7, 9}


def test_errors() -> None:
    with pytest.raises(fj.ShapeError, match=r"random\.randint: expected low < high"):
        fj.random.randint(3, 3)
    with pytest.raises(fj.DTypeError, match=r"random\.normal: expected float32 or float64"):
        fj.random.normal(3, dtype="int32")
    with pytest.raises(fj.ShapeError, match=r"random\.choice: 3 of 2 elements"):
        fj.random.choice(2, 3, replace=False)
    with pytest.raises(fj.ShapeError, match=r"random\.permutation"):
        fj.random.permutation(1.5)


def test_dropout() -> None:
    x = np.ones(10000, "float32")
    y = fj.nn.dropout(x, 0.25).numpy()
    assert set(np.unique(y).tolist()) == {0.0, float(np.float32(1) / np.float32(0.75))}
    assert abs((y == 0).mean() - 0.25) < 0.02
    assert np.array_equal(fj.nn.dropout(x, 0.25, training=False).numpy(), x)
    grad = fj.gradients_function(lambda x: fj.sum(fj.nn.dropout(x, 0.5)))
    assert set(np.unique(grad(x)[0].numpy()).tolist()) == {0.0, 2.0}
