"""Dispatch: the one place every op passes, and the per-thread stack of handlers it passes through.

At the bottom stands eager execution (installed by `tensor`). A tape or a recorder is a `Handler`
pushed on top: it sees each op, each read of a Variable, each assignment and each value that reaches
Python, calls what lies below it, and notes what it needs. Dispatch knows neither of them.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .op import Op
    from .tensor import Tensor
    from .variable import Variable

T = TypeVar("T")


class Handler:
    """One layer of the stack. Each method's default is to ask the layer below."""

    below: Handler

    def apply(
        self, op: Op, inputs: tuple[Tensor, ...], params: Mapping[str, Any]
    ) -> tuple[Tensor, ...]:
        """Run `op` on operands that are already converted and promoted; return its outputs."""
        return self.below.apply(op, inputs, params)

    def observe(self, tensor: Tensor, how: str) -> None:
        """The value of `tensor` is about to reach Python: as "bool", "int", "float", "item" (a
        scalar, which can be guarded) or "array" (which cannot)."""
        self.below.observe(tensor, how)

    def made(self, tensor: Tensor, source: object) -> None:
        """`tensor` was just made from Python data: a number, a nested list, or an ndarray."""
        self.below.made(tensor, source)

    def read(self, variable: Variable) -> Tensor:
        """The current value of `variable`."""
        return self.below.read(variable)

    def assign(self, variable: Variable, value: Tensor) -> None:
        """Make `value` the value of `variable`."""
        self.below.assign(variable, value)

    def trusted(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args), which runs no code of the user's: a layer that watches what Python does
        need not look."""
        return self.below.trusted(function, *args)


class Bottom(Handler):
    """Eager execution, and the conversion of what users pass into tensors."""

    def trusted(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def call(self, op: Op, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        raise NotImplementedError


class _Stack(threading.local):
    top: Handler | None = None


_stack = _Stack()
_bottom = Bottom()

handlers_active = ctypes.c_int64(0)
"""How many handlers are pushed in the whole process. Native call entries read it: while any thread
records or differentiates, every call takes the slow path, which looks at its own thread's stack."""


def install_bottom(bottom: Bottom) -> None:
    """Called once, by `tensor`."""
    global _bottom
    _bottom = bottom


def top() -> Handler:
    """The handler that the next op of this thread meets first."""
    return _stack.top or _bottom


def call(op: Op, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Apply `op` to what the user passed: a Tensor, or a tuple if it has several outputs."""
    return _bottom.call(op, operands, params)


def under(handler: Handler, run: Callable[[], T]) -> T:
    """`run()` with `handler` on top of this thread's stack.

    No context manager: an interrupt that comes when its `__enter__` is done and the block not yet
    begun would leave the handler there.
    """
    push(handler)
    try:
        return run()
    finally:
        try:
            _unwind(handler)
        finally:
            _unwind(handler)  # an interrupt may have come before it had begun


def push(handler: Handler) -> None:
    handler.below = top()
    # CPython changes threads and raises what signals ask for only at calls, at the beginning of
    # functions and at the end of loops: nothing comes between the lines that change stack and
    # count, here and below, and no function does it for them.
    _stack.top = handler
    handlers_active.value += 1


def remove(handler: Handler) -> None:
    """Take `handler` off the stack, wherever it stands: tapes may be closed in any order."""
    above, current = None, _stack.top
    while current is not None and current is not handler:
        above, current = current, getattr(current, "below", None)
    if current is None:
        return
    below = None if handler.below is _bottom else handler.below
    if above is None:  # see `push`
        _stack.top = below
    else:
        above.below = handler.below
    handlers_active.value -= 1


def _unwind(handler: Handler) -> None:
    """Take `handler` off the stack, with what was left on top of it."""
    current, count = _stack.top, 1
    while current is not None and current is not handler:
        current, count = getattr(current, "below", None), count + 1
    if current is None:
        return
    _stack.top = None if handler.below is _bottom else handler.below  # see `push`
    handlers_active.value -= count


def eagerly(run: Callable[[], T]) -> T:
    """`run()`, of which no handler sees what this thread does."""
    before, _stack.top = _stack.top, None
    try:
        return run()
    finally:
        _stack.top = before


def handlers() -> Iterator[Handler]:
    """This thread's handlers, topmost first, without the eager bottom."""
    current = _stack.top
    while current is not None and current is not _bottom:
        yield current
        current = current.below
