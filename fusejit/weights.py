"""Weights in a file: the values of Variables by their names, and what fits what."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from .dtypes import TensorType, kind_of
from .errors import FileError
from .files import AnyPath, read, write
from .op import Array
from .variable import Variable

KIND = "fusejit"  # the name in the metadata that says what a file is
_WEIGHTS = "weights 1"
_ADVICE = (
    " Networks and optimizers make their Variables at the first use: before loading, call the "
    "network once (or its build), and build(variables) of the optimizer."
)
_SHOWN = 8  # names that an error lists, of each sort


class Named(Protocol):
    """What has Variables with names: networks and optimizers."""

    def named_variables(self) -> Mapping[str, Variable]: ...


def save_weights(network: Named, path: AnyPath) -> None:
    """Save the value of every Variable of a network by its name, as safetensors.

    If saving fails or is cut off, a file that was there before is there still.

    Args:
        network: anything with `named_variables()`.
        path: the file.
    Raises:
        FileError: there are no Variables yet: call the network once, or build it.
        OSError: no room, or no permission.
    Example:
        >>> import fusejit as fj, tempfile
        >>> from fusejit.weights import load_weights, save_weights
        >>> class Scale:
        ...     def __init__(self, number):
        ...         self.factor = fj.Variable(number)
        ...     def named_variables(self):
        ...         return {"factor": self.factor}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(Scale(2.0), folder + "/scale.safetensors")
        ...     other = Scale(0.0)
        ...     load_weights(other, folder + "/scale.safetensors")
        >>> float(other.factor)
        2.0
    """
    named = network.named_variables()
    if not named:
        raise FileError(f"save_weights: {_called(network)} has no Variables yet; call it once.")
    write(path, {name: v.numpy() for name, v in named.items()}, {KIND: _WEIGHTS})


def load_weights(network: Named, path: AnyPath) -> None:
    """Give every Variable of a network the value that a file has under its name.

    Floats may be of another dtype in the file, and are cast. A network that makes its Variables at
    the first call has to be called, or built, before.

    Args:
        network: anything with `named_variables()`.
        path: a file of `save_weights`, or other safetensors of the same names.
    Raises:
        FileError: names are missing, unexpected or of another shape, or the file is damaged;
            nothing has changed then.
    """
    found = read(path)
    commit = fitted(network.named_variables(), found.arrays, os.fspath(path), _called(network))
    commit()


def fitted(
    named: Mapping[str, Variable], arrays: Mapping[str, Array], file: str, target: str
) -> Callable[[], None]:
    """What assigns the arrays to the Variables of the same names.

    Raises:
        FileError: names every Variable and array that does not fit.
    """
    both = [name for name in named if name in arrays]
    problems = {
        "missing in the file": [name for name in named if name not in arrays],
        "unexpected in the file": [name for name in arrays if name not in named],
        "of another type": [
            f"{name} ({_type_of(arrays[name])} in the file, {named[name].type} here)"
            for name in both
            if not _fits(_type_of(arrays[name]), named[name].type)
        ],
    }
    told = [f"{what}: {_listed(names)}" for what, names in problems.items() if names]
    if told:
        advice = _ADVICE if problems["unexpected in the file"] else ""
        raise FileError(
            f"{file} does not fit {target}; nothing was changed. {'; '.join(told)}.{advice}"
        )
    # Converted before the first is assigned: what is short of memory fails here.
    values = [(named[name], arrays[name].astype(named[name].dtype)) for name in both]

    def commit() -> None:
        for variable, value in values:
            variable.assign(value)

    return commit


def _type_of(array: Array) -> TensorType:
    return TensorType(array.dtype, array.shape)


def _fits(stored: TensorType, wanted: TensorType) -> bool:
    """Floats are cast to floats, and complex numbers to such; all else is to be the same."""
    kind = kind_of(wanted.dtype)
    alike = kind in "fc" and kind_of(stored.dtype) == kind
    return stored.shape == wanted.shape and (alike or stored.dtype == wanted.dtype)


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _called(network: object) -> str:
    """What an error calls a network."""
    return f"the {type(network).__name__}"
