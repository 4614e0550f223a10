"""`fit`: what it reports, keeps and stops for, and that an interruption changes no number."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit import train
from fusejit.data import Dataset

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype(np.float32)
Y = (X @ RNG.normal(size=(4, 3))).argmax(axis=1)


class Model(fj.Network):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = fj.layers.Dense(8, activation="relu")
        self.dropout = fj.layers.Dropout(0.25)
        self.output = fj.layers.Dense(3)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.output(self.dropout(self.hidden(x), training=training))


def loss(network: Any, x: Any, y: Any, training: bool) -> Any:
    logits = network(x, training=training)
    losses = fj.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
    return losses, {"accuracy": fj.argmax(logits, axis=1) == y}


def data() -> Dataset:
    return Dataset.from_tensor_slices((X, Y)).shuffle(20, seed=0).batch(10).prefetch(2)


def fit(**options: Any) -> tuple[train.Progress, Model]:
    model = Model()
    optimizer = train.AdamOptimizer(1e-2, clip_norm=1.0)
    return train.fit(model, data(), loss, optimizer, bar=False, **options), model


def test_a_network_learns() -> None:
    fj.random.seed(0)
    validation = Dataset.from_tensor_slices((X, Y)).batch(48)
    progress, model = fit(epochs=30, validation=validation)
    assert (progress.step, progress.epoch, len(progress.epochs)) == (150, 30, 30)
    last = progress.epochs[-1]
    assert list(last) == ["loss", "accuracy", "validation/loss", "validation/accuracy"]
    assert last["loss"] < 0.7 * progress.epochs[0]["loss"] and last["validation/accuracy"] > 0.8
    again = train.evaluate(model, validation, loss)
    assert again["accuracy"] == last["validation/accuracy"]


def test_a_step_is_one_plan() -> None:
    model, optimizer = Model(), train.AdamOptimizer(1e-2)
    model.build((1, 4))
    optimizer.build(model.trainable_variables)
    step = train.training_step(model, loss, optimizer)
    for _ in range(3):
        found = step(fj.asarray(X), fj.asarray(Y))
    assert sorted(found) == ["accuracy", "loss"]
    assert step.num_traces == 1


def test_the_bar_shows_loss_metrics_and_speed(capsys: pytest.CaptureFixture[str]) -> None:
    train.fit(Model(), data(), loss, train.AdamOptimizer(), epochs=2)
    shown = capsys.readouterr().err
    assert "epoch 2/2: 100%" in shown and "accuracy 0." in shown and "examples/s" in shown


def test_training_ends_early_with_the_best_weights() -> None:
    # Nothing can be learned, so the rate only takes the weights away from where they were.
    progress, model = fit(
        epochs=50, patience=3, validation=Dataset.from_tensor_slices((X, Y)).batch(9)
    )
    assert progress.epoch <= 50 and progress.best_epoch <= progress.epoch
    found = train.evaluate(model, Dataset.from_tensor_slices((X, Y)).batch(9), loss)
    assert found["loss"] == pytest.approx(progress.best, rel=1e-6)


def test_patience_counts_epochs_without_improvement() -> None:
    model = Model()
    progress = train.fit(
        model, data(), loss, train.GradientDescentOptimizer(0.0), epochs=50, patience=2, bar=False,
        validation=Dataset.from_tensor_slices((X, Y)).batch(48),
    )  # fmt: skip
    assert (progress.epoch, progress.best_epoch) == (3, 1)


class Interrupting:
    """A log that presses Ctrl-C after some steps."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.losses: list[float] = []

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        self.losses.append(values["loss"])
        if step == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("at", [3, 5, 7])
def test_to_resume_gives_the_numbers_of_an_uninterrupted_run(at: int, tmp_path: Path) -> None:
    fj.random.seed(1)
    whole = Interrupting(at=-1)
    expected, model = fit(epochs=3, log=whole, checkpoint=tmp_path / "whole")
    fj.random.seed(1)
    first = Interrupting(at)
    stopped, _ = fit(epochs=3, log=first, checkpoint=tmp_path / "parts")
    assert stopped.interrupted and stopped.step == at == len(first.losses)
    fj.random.seed(99)  # a new process: another state, other initial weights
    second = Interrupting(at=-1)
    resumed, again = fit(epochs=3, log=second, checkpoint=tmp_path / "parts")
    assert first.losses + second.losses == whole.losses
    assert resumed.epochs == expected.epochs and not resumed.interrupted
    for mine, theirs in zip(again.variables, model.variables, strict=True):
        assert mine.numpy().tobytes() == theirs.numpy().tobytes()


def test_a_second_ctrl_c_is_raised() -> None:
    def press(step: int, values: Mapping[str, float]) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(log=press)
    assert signal.getsignal(signal.SIGINT) is before


def test_every_so_many_steps_are_saved(tmp_path: Path) -> None:
    fit(epochs=2, checkpoint=tmp_path, save_every=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"checkpoint-{n:08d}.safetensors" for n in (4, 5, 6, 8, 10)]


def test_event_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with train.TensorBoard(tmp_path, every=2) as board:
        fit(log=board, validation=Dataset.from_tensor_slices((X, Y)).batch(48))
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    assert b"validation/accuracy" in content and content.count(b"loss") == 2 + 1


def test_a_batch_may_be_one_array_or_a_dict() -> None:
    dense = fj.Sequential([fj.layers.Dense(1)])
    one = Dataset.from_tensor_slices(X).batch(16)
    optimizer = train.GradientDescentOptimizer(0.1)
    train.fit(dense, one, lambda n, x: fj.square(n(x)), optimizer, bar=False)
    named = Dataset.from_tensor_slices({"x": X}).batch(16)
    progress = train.fit(dense, named, lambda n, b: fj.square(n(b["x"])), optimizer, bar=False)
    assert progress.step == 3


def test_small_batches_with_accumulation() -> None:
    optimizer = train.Accumulated(train.AdamOptimizer(1e-2), every=2)
    progress = train.fit(Model(), data(), loss, optimizer, epochs=2, bar=False)
    assert progress.step == 10 and int(optimizer.optimizer.step) == 5
