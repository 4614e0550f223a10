"""Numbers that may change while training goes on: attributes whose values live in Variables."""

from __future__ import annotations

from ..errors import FuseJitError
from ..ops.cast import astype
from ..tensor import Tensor
from ..variable import Variable


def number(name: str, value: float) -> Variable:
    """A float64 scalar: 0.001 has more digits than float32 keeps, and one scalar costs nothing."""
    return Variable(float(value), name=name, trainable=False, dtype="float64")


class Numbers:
    """An object whose numbers are Variables: to set the attribute assigns, and replays go on.

    Example:
        >>> import fusejit as fj
        >>> optimizer = fj.train.MomentumOptimizer(learning_rate=0.1)
        >>> optimizer.learning_rate = 0.05  # no decorated function is recorded again
        >>> float(optimizer.learning_rate)
        0.05
    """

    def __setattr__(self, name: str, value: object) -> None:
        known = self.__dict__.get(name)
        if isinstance(known, Variable) and not isinstance(value, (Variable, Numbers)):
            known.assign(astype(value, known.dtype) if isinstance(value, Tensor) else value)
        else:
            object.__setattr__(self, name, value)

    def named_variables(self) -> dict[str, Variable]:
        """The Variables that are attributes, by name; those of a part as "part/name"."""
        found: dict[str, Variable] = {}
        for name, value in self.__dict__.items():
            if isinstance(value, Variable):
                found[name] = value
            elif isinstance(value, Numbers):
                inner = value.named_variables()
                found.update({f"{name}/{part}": variable for part, variable in inner.items()})
        return found


def check_fraction(owner: str, name: str, value: float) -> None:
    """FuseJitError unless 0 <= value < 1."""
    if not 0.0 <= value < 1.0:
        raise FuseJitError(f"{owner}: expected 0 <= {name} < 1, got {value}.")


def check_positive(owner: str, name: str, value: float) -> None:
    """FuseJitError unless value > 0."""
    if not value > 0.0:
        raise FuseJitError(f"{owner}: expected {name} > 0, got {value}.")


def unique(names: list[str]) -> list[str]:
    """The names, those that occur again with a number: w, w_1, w_2.

    Example:
        >>> unique(["w", "b", "w"])
        ['w', 'b', 'w_1']
    """
    found: list[str] = []
    for name in names:
        candidate, again = name, 0
        while candidate in found:
            again += 1
            candidate = f"{name}_{again}"
        found.append(candidate)
    return found
