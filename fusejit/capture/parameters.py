"""Calls in one form: every parameter of a function as one positional value, defaults filled in."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Parameters:
    """The parameters of a function.

    `simple` functions have positional parameters only, so their positional calls are already in the
    one form and can be entered natively.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.signature = inspect.signature(function)
        self.names = tuple(self.signature.parameters)
        self._kinds = [p.kind for p in self.signature.parameters.values()]
        self.simple = all(kind in _POSITIONAL for kind in self._kinds)

    def flatten(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """One value a parameter; *args is a tuple, **kwargs a dict. TypeError as Python's own."""
        if self.simple and not kwargs and len(args) == len(self.names):
            return tuple(args)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return tuple(bound.arguments[name] for name in self.names)

    def call(self, function: Callable[..., Any], flat: Sequence[Any]) -> Any:
        """Call `function` with what `flatten` made."""
        if self.simple:
            return function(*flat)
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, kind, value in zip(self.names, self._kinds, flat, strict=True):
            if kind in _POSITIONAL:
                args.append(value)
            elif kind is inspect.Parameter.VAR_POSITIONAL:
                args.extend(value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                kwargs.update(value)
            else:
                kwargs[name] = value
        return function(*args, **kwargs)
