"""Draws from the global generators of random and NumPy are seen in the memory of these objects."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusejit.capture.purity import _drawn, _generator_states

DRAWS: dict[str, Callable[[], Any]] = {
    "random": random.random,
    "getrandbits": lambda: random.getrandbits(3),
    "first gauss": lambda: random.gauss(0.0, 1.0),
    "shuffle": lambda: random.shuffle([1, 2, 3]),
    "rand": np.random.rand,
    "first normal": np.random.standard_normal,
    "integers": lambda: np.random.randint(5),
    "permutation": lambda: np.random.permutation(3),
    "seeded anew": lambda: np.random.seed(7),
    "random, all words": lambda: [random.getrandbits(32) for _ in range(624)],
    "rand, all words": lambda: np.random.randint(0, 2**32, 624, np.uint32),
}


@pytest.fixture(autouse=True)
def restored() -> Any:
    states = random.getstate(), np.random.get_state()
    random.seed(1)
    np.random.seed(1)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_every_draw_shows(draw: Callable[[], Any]) -> None:
    before = _generator_states()
    draw()
    assert _drawn(before, _generator_states())


@pytest.mark.parametrize(
    "draw", [lambda: random.gauss(0.0, 1.0), np.random.standard_normal, np.random.randn]
)
def test_a_draw_that_was_kept_shows(draw: Callable[[], Any]) -> None:
    """Every second normal comes from the first pair and draws no new bits."""
    for _ in range(2):
        before = _generator_states()
        draw()
        assert _drawn(before, _generator_states())


def test_what_draws_nothing_does_not() -> None:
    before = _generator_states()
    random.getstate(), np.random.get_state()
    random.Random(3).random(), np.random.default_rng(3).normal(), np.random.RandomState(3).rand()
    assert not _drawn(before, _generator_states())


def test_other_bit_generators() -> None:
    numbers: Any = np.random
    kept = numbers.get_bit_generator()
    try:
        for kind in (np.random.PCG64, np.random.Philox, np.random.SFC64):
            numbers.set_bit_generator(kind(5))
            before = _generator_states()
            assert not _drawn(before, _generator_states())
            np.random.rand(3)
            assert _drawn(before, _generator_states())
    finally:
        numbers.set_bit_generator(kept)
