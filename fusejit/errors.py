"""Every error that fusejit raises, and how operands and source lines read in a message.

Each class also derives from the builtin that NumPy would raise, so `except ValueError` keeps
working.
"""

from __future__ import annotations

from collections.abc import Sequence


class FuseJitError(Exception):
    """The base of all errors raised by fusejit."""


class ShapeError(FuseJitError, ValueError):
    """Operands whose shapes do not fit the op."""


class DTypeError(FuseJitError, TypeError):
    """A dtype that the op does not take."""


class AxisError(FuseJitError, IndexError, ValueError):
    """An axis or index that the operand does not have."""


class DeviceError(FuseJitError, RuntimeError):
    """A device that does not exist here, or operands on different devices."""


class GradientError(FuseJitError, RuntimeError):
    """A gradient that cannot be taken; raised when the tape records, not at the end."""


class CaptureError(FuseJitError, TypeError):
    """A function that `@fj.function` cannot decorate, or a call that has no plan."""


class RecompileError(FuseJitError, RuntimeError):
    """A recording or compilation inside `no_recompile()`."""


class NonFiniteError(FuseJitError, FloatingPointError):
    """Under FUSEJIT_DEBUG_NANS=1: an op that makes a NaN or an infinity."""


class CheckError(FuseJitError, AssertionError):
    """Under FUSEJIT_CHECK=1: a replay that differs from the call it stands for."""


class VerifyError(FuseJitError, AssertionError):
    """A graph that breaks the rules of the IR: a bug in fusejit, found before it can do harm."""


class FileError(FuseJitError, ValueError):
    """A file that is damaged, is no such file, or does not fit what it is loaded into."""


class ExportError(FuseJitError, ValueError):
    """A function that another format cannot say."""


class LoweringError(FuseJitError, RuntimeError):
    """Code generation failed: a bug in fusejit or a machine that it does not know."""


def describe_operands(operands: Sequence[str], origins: Sequence[str | None]) -> str:
    """' Operands made at a.py:1 and b.py:2.', or nothing where no origin is known."""
    known = [origin for origin in dict.fromkeys(origins) if origin is not None]
    if not known:
        return ""
    noun = "Operand" if len(operands) == 1 else "Operands"
    return f" {noun} made at {' and '.join(known)}."
