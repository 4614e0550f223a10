"""`fit`: the training loop, written as one would write it by hand.

A step is one decorated function: loss, gradients and update are one plan. All that the loop knows
is in five objects (network, optimizer, iterator, progress, `fj.random`), and a checkpoint is these.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..autodiff import GradientTape
from ..capture.function import Function, function
from ..data import Dataset, Iterator
from ..files import AnyPath
from ..layers import Network
from ..ops.reduce import mean
from ..tensor import Tensor
from .accumulation import Accumulated
from .checkpoint import Checkpoint
from .interrupts import Interrupts
from .optimizer import Optimizer
from .progress import Progress

Loss: TypeAlias = Callable[..., Any]
"""loss(network, *batch) returns the loss, or (the loss, {name: metric}). A loss for each example is
averaged. If it has a parameter `training`, that is True in training and False in validation."""
Log: TypeAlias = Callable[[int, Mapping[str, float]], object]


def fit(
    network: Network,
    dataset: Dataset,
    loss: Loss,
    optimizer: Optimizer | Accumulated,
    *,
    epochs: int = 1,
    validation: Dataset | None = None,
    patience: int | None = None,
    checkpoint: AnyPath | None = None,
    save_every: int | None = None,
    log: Log | None = None,
    bar: bool = True,
) -> Progress:
    """Train a network on the batches of a dataset.

    If the network has no variables yet, the loss is called once on the first batch to make them.
    Ctrl-C ends the training after the step that it is in, and saves; a second one ends it at once.

    Args:
        network, dataset, optimizer: what is trained, on which batches, by what.
        loss: `loss(network, *batch)` returns the loss, or the loss and a dict of metrics. A loss
            for each example is averaged. If it has a parameter `training`, it gets it.
        epochs: how often the dataset is passed over, the passes before a restart included.
        validation: batches that the network is tested on after each epoch.
        patience: stop after so many epochs without a lower loss (of validation, if there is any);
            the network then has the weights of the best epoch.
        checkpoint: a folder. What is in there is gone on from, to the same numbers as without the
            interruption; files are saved after each epoch and at Ctrl-C.
        save_every: save after so many steps as well.
        log: called with the step and the values after each step and each validation, for example a
            `fj.train.TensorBoard`.
        bar: whether to show a bar for each epoch.
    Returns:
        How it went: `epochs` has the means of each epoch.
    Example:
        >>> import fusejit as fj
        >>> x = fj.random.normal((64, 3))
        >>> y = x @ fj.constant([[1.0], [2.0], [3.0]])
        >>> network = fj.Sequential([fj.layers.Dense(1)])
        >>> progress = fj.train.fit(
        ...     network,
        ...     fj.data.Dataset.from_tensor_slices((x, y)).shuffle(64).batch(8),
        ...     lambda network, x, y: fj.square(network(x) - y),
        ...     fj.train.GradientDescentOptimizer(learning_rate=0.1),
        ...     epochs=20,
        ...     bar=False,
        ... )
        >>> progress.epochs[-1]["loss"] < 1e-3
        True
    """
    batches = Iterator(dataset)
    _build(network, optimizer, loss, batches)
    progress = Progress(network.named_variables() if patience else None)
    saved = None
    if checkpoint is not None:
        saved = Checkpoint(
            checkpoint, network=network, optimizer=optimizer, batches=batches, progress=progress
        )
        saved.restore()
    step, test = training_step(network, loss, optimizer), testing_step(network, loss)

    with batches, Interrupts() as interrupts:
        while not progress.is_over(epochs, patience):
            with _Bar(batches, f"epoch {progress.epoch + 1}/{epochs}", bar) as shown:
                for batch in batches:
                    values = _floats(step(*_arguments(batch)))
                    progress.count(values, _examples(batch))
                    shown.step(progress.means(), _examples(batch))
                    if log is not None:
                        log(progress.step, values)
                    due = save_every is not None and progress.step % save_every == 0
                    if saved is not None and (due or interrupts.arrived):
                        saved.save(progress.step)
                    if interrupts.arrived:
                        progress.interrupted = True
                        return progress
                found = {} if validation is None else _test(test, validation)
                progress.end_epoch(found)
                shown.end(progress.epochs[-1])
            if log is not None and found:
                log(progress.step, {f"validation/{name}": value for name, value in found.items()})
            batches.restart()
            if saved is not None:
                saved.save(progress.step)
    if patience is not None:
        progress.use_best()
    return progress


def training_step(network: Network, loss: Loss, optimizer: Optimizer | Accumulated) -> Function:
    """A decorated function of a batch that takes one step: loss, gradients, update, as one plan.

    Returns:
        A function that returns {"loss": ..., and the metrics}, Tensors of no axes.
    """
    options = _options(loss, training=True)

    @function
    def step(*batch: Any) -> dict[str, Tensor]:
        with GradientTape() as tape:
            value, metrics = _parts(loss(network, *batch, **options))
        variables = tape.watched_variables()
        gradients = tape.gradient(value, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return {"loss": value, **metrics}

    return step


def testing_step(network: Network, loss: Loss) -> Function:
    """A decorated function of a batch that returns what `training_step` does, without a step."""
    options = _options(loss, training=False)

    @function
    def test(*batch: Any) -> dict[str, Tensor]:
        value, metrics = _parts(loss(network, *batch, **options))
        return {"loss": value, **metrics}

    return test


def evaluate(network: Network, dataset: Dataset, loss: Loss) -> dict[str, float]:
    """The means of loss and metrics over a dataset, each example counting the same.

    Example:
        >>> import fusejit as fj
        >>> data = fj.data.Dataset.from_tensor_slices(fj.ones((4, 1))).batch(2)
        >>> network = fj.Sequential([fj.layers.Dense(1, kernel_initializer="ones")])
        >>> fj.train.evaluate(network, data, lambda network, x: network(x))
        {'loss': 1.0}
    """
    return _test(testing_step(network, loss), dataset)


def _test(test: Function, dataset: Dataset) -> dict[str, float]:
    progress = Progress()
    with Iterator(dataset) as batches:
        for batch in batches:
            progress.count(_floats(test(*_arguments(batch))), _examples(batch))
    return progress.means()


def _build(
    network: Network, optimizer: Optimizer | Accumulated, loss: Loss, batches: Iterator
) -> None:
    """Make all Variables now, so that checkpoints find them and the first step is recorded once."""
    if not network.variables:
        start = batches.state()
        loss(network, *_arguments(next(batches)), **_options(loss, training=False))
        batches.restore(start)
    optimizer.build(network.trainable_variables)


def _options(loss: Loss, training: bool) -> dict[str, bool]:
    return {"training": training} if "training" in inspect.signature(loss).parameters else {}


def _parts(found: Any) -> tuple[Tensor, dict[str, Tensor]]:
    value, metrics = found if isinstance(found, tuple) else (found, {})
    return mean(value), {name: mean(metric) for name, metric in metrics.items()}


def _arguments(batch: Any) -> tuple[Any, ...]:
    return batch if isinstance(batch, tuple) else (batch,)


def _examples(batch: Any) -> int:
    """The first axis of the first array."""
    while isinstance(batch, (tuple, dict)):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return int(batch.shape[0])


def _floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


class _Bar:
    """A tqdm bar for one epoch: the means so far, and examples a second."""

    def __init__(self, batches: Iterator, title: str, shown: bool) -> None:
        from tqdm import tqdm

        try:
            total = len(batches.dataset)
        except TypeError:
            total = None
        self.bar = tqdm(
            total=total, initial=batches.taken, desc=title, unit="batch", disable=not shown
        )
        self.examples, self.started, self.rate = 0, time.perf_counter(), 0.0

    def step(self, means: Mapping[str, float], examples: int) -> None:
        self.examples += examples
        self.rate = self.examples / (time.perf_counter() - self.started)
        self._show(means, refresh=False)
        self.bar.update()

    def end(self, means: Mapping[str, float]) -> None:
        self._show(means, refresh=True)

    def _show(self, means: Mapping[str, float], refresh: bool) -> None:
        texts = [f"{name} {value:.4g}" for name, value in means.items()]
        self.bar.set_postfix_str(f"{', '.join(texts)}, {self.rate:,.0f} examples/s", refresh)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()
