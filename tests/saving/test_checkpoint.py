"""Checkpoints: killed while saving, resumed to the bit, kept and refused."""

from __future__ import annotations

import os
import random
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.train import Checkpoint

KILLS = 200


class Batches:
    """An iterator whose place can be saved, as those of data sets."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.place = 0

    def next(self) -> fj.Tensor:
        self.place += 1
        return fj.asarray(np.random.default_rng(self.place).normal(size=(8, 4)).astype("f"))

    def state(self) -> dict[str, Any]:
        return {"place": self.place}

    def restore(self, state: dict[str, Any]) -> None:
        self.place = state["place"]


class Run:
    """A network with dropout, an optimizer with slots, and an iterator."""

    def __init__(self, folder: Path) -> None:
        w, b = fj.Variable(fj.ones((4, 3)), name="w"), fj.Variable(fj.zeros(3), name="b")
        optimizer = fj.train.AdamOptimizer(learning_rate=0.05)
        optimizer.build([w, b])

        @fj.function
        def step(x: fj.Tensor) -> fj.Tensor:
            def loss() -> fj.Tensor:
                kept = x * fj.astype(fj.random.bernoulli(0.8, x.shape), "float32")
                return fj.mean(fj.tanh(kept @ w + b) ** 2.0)

            return optimizer.minimize(loss)

        self.step, self.optimizer, self.batches = step, optimizer, Batches()
        self.checkpoint = Checkpoint(
            folder, keep=2, weights={"w": w, "b": b}, optimizer=optimizer, batches=self.batches
        )

    def losses(self, count: int) -> list[float]:
        return [float(self.step(self.batches.next())) for _ in range(count)]


def test_resumed_is_as_never_interrupted(tmp_path: Path) -> None:
    fj.random.seed(3)
    run = Run(tmp_path)
    run.losses(7)
    run.checkpoint.save(7)
    expected = run.losses(9)
    fj.random.seed(11)
    again = Run(tmp_path)
    assert again.checkpoint.restore() == 7
    assert again.losses(9) == expected
    assert float(again.optimizer.learning_rate) == pytest.approx(0.05)
    assert int(again.optimizer.step) == 16


def test_a_shuffled_pass_goes_on_with_the_next_element(tmp_path: Path) -> None:
    def batches() -> fj.Iterator:
        data = fj.data.Dataset.from_tensor_slices(fj.arange(60)).shuffle(20, seed=3)
        return fj.Iterator(data.batch(4).repeat())

    first = batches()
    for _ in range(22):
        next(first)
    Checkpoint(tmp_path, batches=first).save()
    expected = [next(first).tolist() for _ in range(20)]
    second = batches()
    Checkpoint(tmp_path, batches=second).restore()
    assert [next(second).tolist() for _ in range(20)] == expected


def test_two_hundred_kills_never_leave_a_broken_checkpoint(tmp_path: Path) -> None:
    """The child is forked, saves as fast as it can, and is killed after a random time; what is
    there is then whole and of one save, and steps never go back."""
    draw, last = random.Random(0), 0
    weights = {f"w{i}": fj.Variable(fj.zeros((64, 64))) for i in range(4)}
    checkpoint = Checkpoint(tmp_path, keep=2, weights=weights)
    checkpoint.save(0)
    for _ in range(KILLS):
        with warnings.catch_warnings():  # newer Pythons warn that this process has threads
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _save_until_killed(checkpoint, weights, last)
        time.sleep(draw.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        step = checkpoint.restore()
        assert step is not None
        assert step >= last
        assert all(bool(fj.all(v == float(step))) for v in weights.values())
        last = step
    assert last > KILLS // 4  # saves got through, and were not all killed before they began
    checkpoint.save(last + 1)
    assert len(os.listdir(tmp_path)) == 2  # and nothing of the killed ones is left


def _save_until_killed(checkpoint: Checkpoint, weights: dict[str, fj.Variable], step: int) -> None:
    try:
        while True:
            step += 1
            for variable in weights.values():
                variable._value = fj.asarray(np.full((64, 64), step, np.float32))
            checkpoint.save(step)
    finally:
        os._exit(1)


def test_the_last_files_are_kept(tmp_path: Path) -> None:
    w = fj.Variable(0.0)
    checkpoint = Checkpoint(tmp_path / "new" / "folder", keep=2, w=w)
    assert checkpoint.restore() is None
    assert checkpoint.paths == []
    for _ in range(4):
        w.assign_add(1.0)
        checkpoint.save()
    assert [path.name for path in checkpoint.paths] == [
        "checkpoint-00000002.safetensors",
        "checkpoint-00000003.safetensors",
    ]
    assert checkpoint.restore(checkpoint.paths[0]) == 2
    assert float(w) == 3.0
    everything = Checkpoint(tmp_path / "all", keep=None, w=w)
    for _ in range(7):
        everything.save()
    assert len(everything.paths) == 7


def test_a_step_that_is_saved_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    w = fj.Variable(1.0)
    checkpoint = Checkpoint(tmp_path, w=w)
    checkpoint.save(5)
    w.assign(2.0)
    checkpoint.save(5)
    w.assign(3.0)
    assert checkpoint.restore() == 5
    assert float(w) == 2.0


def test_random_numbers_go_on(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save()
    first = fj.random.normal(4).tolist()
    fj.random.seed(99)
    checkpoint.restore()
    assert fj.random.normal(4).tolist() == first


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    Checkpoint(tmp_path, w=fj.Variable([1.0, 1.0]), batches=Batches()).save()
    batches, w = Batches(), fj.Variable([0.0])
    batches.place = 4
    before = fj.random.get_state()
    with pytest.raises(fj.FileError, match=r"w \(f32\[2\] in the file, f32\[1\] here\)"):
        Checkpoint(tmp_path, w=w, batches=batches).restore()
    with pytest.raises(fj.FileError, match="holds the states of"):
        Checkpoint(tmp_path, w=fj.Variable([0.0, 0.0])).restore()
    assert (batches.place, w.tolist(), fj.random.get_state()) == (4, [0.0], before)


def test_an_iterator_that_refuses_its_state_changes_nothing(tmp_path: Path) -> None:
    class Strict(Batches):
        def restore(self, state: dict[str, Any]) -> None:
            if state["place"] < 0:
                raise fj.FileError("no such place")
            super().restore(state)

    one, two, w = Strict(), Strict(), fj.Variable(1.0)
    checkpoint = Checkpoint(tmp_path, one=one, two=two, w=w)
    one.place, two.place = 7, -1
    checkpoint.save()
    one.place, two.place = 2, 3
    w.assign(5.0)
    with pytest.raises(fj.FileError, match="no such place"):
        checkpoint.restore()
    assert (one.place, two.place, float(w)) == (2, 3, 5.0)


def test_an_optimizer_without_slots_is_told_to_build(tmp_path: Path) -> None:
    w = fj.Variable([1.0], name="w")
    built, fresh = fj.train.AdamOptimizer(0.1), fj.train.AdamOptimizer(0.1)
    built.build([w])
    Checkpoint(tmp_path, optimizer=built).save()
    with pytest.raises(fj.FileError, match=r"unexpected.*optimizer/w.*build\(variables\)"):
        Checkpoint(tmp_path, optimizer=fresh).restore()


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    from fusejit import files

    files.write(tmp_path / "checkpoint-00000001.safetensors", {"w": np.ones(1)}, {})
    (tmp_path / "notes.txt").write_text("mine")
    checkpoint = Checkpoint(tmp_path, w=fj.Variable([0.0]))
    with pytest.raises(fj.FileError, match="no checkpoint"):
        checkpoint.restore()
    for _ in range(8):
        checkpoint.save()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_has_no_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(fj.FileError, match="model is a int"):
        Checkpoint(tmp_path, model=3)
    with pytest.raises(fj.FileError, match="always included"):
        Checkpoint(tmp_path, random=fj.Variable(0.0))
    with pytest.raises(fj.FileError, match="at least 1"):
        Checkpoint(tmp_path, keep=0)
