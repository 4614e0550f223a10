"""Calls in one form: every parameter of a function as one positional value, defaults filled in."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Parameters:
    """The parameters of a function.

    `simple` functions have positional parameters only, so their positional calls are already in the
    one form and can be entered natively.
    """

    def __init__(self, function: types.FunctionType) -> None:
        self._function = function
        self._read()
        self.names = tuple(self.signature.parameters)
        self._kinds = [p.kind for p in self.signature.parameters.values()]
        self.simple = all(kind in _POSITIONAL for kind in self._kinds)

    def _read(self) -> None:
        self.signature = inspect.signature(self._function, follow_wrapped=False)
        self._defaults = self._current_defaults()

    def _current_defaults(self) -> tuple[Any, ...]:
        named = self._function.__kwdefaults__ or {}
        return (_Identity(self._function.__defaults__), *named, *map(_Identity, named.values()))

    def flatten(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """One value a parameter; *args is a tuple, **kwargs a dict. TypeError as Python's own."""
        if self.simple and not kwargs and len(args) == len(self.names):
            return tuple(args)
        if self._defaults != self._current_defaults():
            self._read()  # the user changed them
        try:
            bound = self.signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return tuple(bound.arguments[name] for name in self.names)
        except (TypeError, KeyError):  # Python 3.13.0 binds some wrong ones, to nothing
            self._function(*args, **kwargs)  # raises, and says it as Python does
            raise

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


class _Identity:
    """Equal to what is the same object: defaults may define == as they like."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]
