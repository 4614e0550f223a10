"""Operators: what Tensor and Variable share; `fusejit.ops` installs each next to its op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from .tensor import Tensor

NUMBERS = (bool, int, float, complex)
PLAIN: set[type] = {*NUMBERS}
"""Operands, by exact class, that an op takes without running code of the user's: numbers here, and
Tensor and Variable where they are defined."""


class Operators:
    """The base of Tensor and Variable: operators and methods, installed by `fusejit.ops`."""

    __slots__ = ()
    # NumPy's binary operators must leave the work to ours; see __array_ufunc__ in ops/interop.
    __array_priority__ = 1000

    @classmethod
    def install(cls, name: str, function: Any) -> None:
        """Make `function` (or a property) the attribute `name` of every Tensor and Variable."""
        setattr(cls, name, function)

    if TYPE_CHECKING:  # for type checkers only: the operators are installed, not written here
        stacked: Callable[[Sequence[Any]], Tensor]
        to: Callable[[str], Tensor]

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def _unary(self) -> Tensor: ...
        def _binary(self, other: Any) -> Tensor: ...

        @property
        def T(self) -> Tensor: ...
        @property
        def mT(self) -> Tensor: ...

        __neg__ = __pos__ = __abs__ = __invert__ = _unary
        __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _binary
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = _binary
        __matmul__ = __rmatmul__ = __rpow__ = __lt__ = __le__ = __gt__ = __ge__ = _binary
        __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = _binary
        __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = _binary

        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]


ArrayLike: TypeAlias = "Operators | np.ndarray[Any, Any] | np.generic | complex | Sequence[Any]"
"""What array arguments may be: `complex` stands for every Python number."""


def is_number(value: object) -> TypeGuard[bool | int | float | complex]:
    """Whether `value` is a Python number, weak in promotion; NumPy's scalars are arrays instead."""
    if type(value) in NUMBERS:
        return True
    return isinstance(value, NUMBERS) and not isinstance(value, np.generic)


def is_operand(value: object) -> bool:
    """Whether an operator takes `value`: arrays, Variables, numbers and nested lists of numbers."""
    return isinstance(value, (Operators, np.ndarray, np.generic, list, *NUMBERS))


def binary_operator(
    name: str, function: Callable[[Any, Any], Any], *, has_reflected: bool = True
) -> None:
    """Install `__name__` and `__rname__`; operands that are no arrays get NotImplemented."""

    # Most operands are of a plain class, which is seen ten times as fast as that they are operands.
    def forward(self: Any, other: Any) -> Any:
        if type(other) in PLAIN or is_operand(other):
            return function(self, other)
        return NotImplemented

    def reflected(self: Any, other: Any) -> Any:
        if type(other) in PLAIN or is_operand(other):
            return function(other, self)
        return NotImplemented

    Operators.install(f"__{name}__", forward)
    if has_reflected:
        Operators.install(f"__r{name}__", reflected)
