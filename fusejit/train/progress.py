"""How far training has come: what the loop shows, returns, and goes on from after a restart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..variable import Variable

Values = Mapping[str, float]


class Progress:
    """The state of a training loop besides network, optimizer and data; JSON, and Variables.

    Attributes:
        step: steps taken.
        epoch: epochs completed.
        epochs: for each of them the means of the loss and the metrics, those of validation as
            "validation/loss".
        best: the least loss of an epoch, of validation if there is any, and `best_epoch` its place.
        interrupted: whether Ctrl-C ended it.
    """

    def __init__(self, variables: Mapping[str, Variable] | None = None) -> None:
        self.step = 0
        self.epoch = 0
        self.epochs: list[dict[str, float]] = []
        self.best = math.inf
        self.best_epoch = 0
        self.interrupted = False
        self._totals: dict[str, float] = {}  # of this epoch, each weighted by its examples
        self._examples = 0
        self._variables = dict(variables or {})
        self._kept = {
            name: Variable(v.read(), name=f"{name}/best", trainable=False)
            for name, v in self._variables.items()
        }

    def count(self, values: Values, examples: int) -> None:
        """Note a step over so many examples."""
        self.step += 1
        self._examples += examples
        for name, value in values.items():
            self._totals[name] = self._totals.get(name, 0.0) + value * examples

    def means(self) -> dict[str, float]:
        """Of the epoch so far, each example counting the same."""
        return {name: total / self._examples for name, total in self._totals.items()}

    def end_epoch(self, validation: Values) -> None:
        """Keep the means of the epoch, and the weights if they are the best so far."""
        found = self.means()
        found.update({f"validation/{name}": value for name, value in validation.items()})
        self.epochs.append(found)
        self.epoch += 1
        self._totals, self._examples = {}, 0
        loss = validation.get("loss", found.get("loss", math.inf))
        if loss < self.best:
            self.best, self.best_epoch = loss, self.epoch
            for name, kept in self._kept.items():
                kept.assign(self._variables[name].read())

    def is_over(self, epochs: int, patience: int | None) -> bool:
        """Whether all epochs are done, or the last `patience` of them brought nothing better."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= epochs or (patience is not None and waited >= patience)

    def use_best(self) -> None:
        """Give the network the weights of its best epoch."""
        if self.best_epoch:
            for name, kept in self._kept.items():
                self._variables[name].assign(kept.read())

    def named_variables(self) -> dict[str, Variable]:
        return dict(self._kept)

    def state(self) -> dict[str, Any]:
        names = ("step", "epoch", "epochs", "best", "best_epoch", "_totals", "_examples")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        return f"<Progress: {self.step} steps, {self.epoch} epochs, best loss {self.best:.4g}>"
