"""`@fj.function`: what a decorated function is, and how a call finds its plan.

A call enters natively (`backends.llvm.callable`). If no installed trace applies it arrives in
`_miss`, which looks through all traces, runs one under a tape if a tape watches, and records
another if none fits. What cannot be replayed runs eagerly, with one warning that says why and
where.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import sys
import threading
import time
import types
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from .. import dispatch
from ..autodiff.tape import GradientTape
from ..backends.llvm import abi
from ..backends.llvm import callable as native
from ..backends.llvm.checks import Arg, Itself
from ..config import config
from ..device import backend
from ..dtypes import as_dtype
from ..errors import CaptureError, FuseJitError, RecompileError
from ..ir.graph import Graph
from ..tensor import Tensor, as_operand, user_frame, wrap
from . import explain as pages
from .gradient import Differentiable
from .parameters import Parameters
from .purity import location
from .record import Refusal, defined_at, record
from .recorder import Recorder
from .trace import Stopped, Trace

MAX_TRACES = 64
"""Traces kept for a function, the least recently found dropped first. Each holds some 10 KB and is
looked at in turn by a call that none of the first fits, at about 0.2 us each."""
MAX_ATTEMPTS = 3
"""Recordings thrown away because the call changed what it reaches, before a function runs eagerly:
the first call may build state lazily and the second still see it new."""

log = logging.getLogger("fusejit")
_forbidden = threading.local()
_instances: weakref.WeakSet[Function] = weakref.WeakSet()


class EagerWarning(UserWarning):
    """A decorated function runs eagerly; the message says why, where, and what to write instead."""


class Function(native.NativeCallable):
    """A decorated function. Calls behave exactly as those of the undecorated one, and run compiled.

    Attributes:
        eager: the undecorated function.
        num_traces: recordings made.
        num_compiles: kernels that these recordings had compiled, and no one before them.
    """

    def __init__(self, function: types.FunctionType) -> None:
        self.eager = function
        self.num_traces = 0
        self.num_compiles = 0
        self._parameters = Parameters(function)
        self._traces: list[Trace] = []
        self._gradients: dict[Trace, Differentiable] = {}
        self._attempts = 0
        self._refusal: Refusal | None = None
        self._lock = threading.RLock()
        functools.update_wrapper(self, function)

    @property
    def __wrapped_function__(self) -> types.FunctionType:
        return self.eager

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._miss(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<fusejit function {self.eager.__qualname__}: {self.num_traces} traces>"

    def __reduce__(self) -> str:
        return self.eager.__qualname__  # by reference, as functions are; plans are made anew

    def __copy__(self) -> Function:
        return self

    def __deepcopy__(self, memo: object) -> Function:
        return self

    # ---- looking inside

    def _trace_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trace:
        """The trace that this call takes; a call that none fits is made, and so recorded."""
        flat = tuple(map(_contiguous, self._parameters.flatten(args, kwargs)))
        found = next(self._matching(flat), None)
        if found is None:
            self(*args, **kwargs)
            found = next(self._matching(flat), None)
        if found is None:
            refusal = self._refusal
            reason = (
                f"{refusal.reason} ({refusal.where})"
                if refusal
                else "the call changes what it reads"
            )
            raise CaptureError(f"{self.__name__} has no plan for this call: {reason}.")
        return found

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """One page: when the plan of this call applies, its kernels, and why ops were not fused.

        Like the methods below, it makes the call once if it was never recorded. A function that
        runs eagerly gives one line with the reason.
        """
        try:
            trace = self._trace_of(args, kwargs)
        except CaptureError as reason:
            return f"{reason}\n"
        return pages.explain(self, trace)

    def graph(self, *args: Any, stage: str = "recorded", **kwargs: Any) -> Graph:
        """The graph of this call after a stage: "recorded", "simplify", "cse", "dce" or "fuse"."""
        found = self._trace_of(args, kwargs).program.stages
        if stage not in found:
            raise CaptureError(f"no stage {stage!r}; there are {', '.join(found)}")
        return found[stage]

    def ir(self, *args: Any, stage: str = "fuse", **kwargs: Any) -> str:
        """The text of `graph(...)`, after fusion unless another stage is named."""
        return str(self.graph(*args, stage=stage, **kwargs))

    def llvm(self, *args: Any, **kwargs: Any) -> str:
        """The LLVM IR of this call's kernels, before optimisation."""
        return pages.llvm(self._trace_of(args, kwargs))

    def asm(self, *args: Any, **kwargs: Any) -> str:
        """The machine code of this call's kernels."""
        return pages.assembly(self._trace_of(args, kwargs))

    def benchmark(self, *args: Any, **kwargs: Any) -> pages.Benchmark:
        """Time this call eager against fused; Variables keep their values."""
        trace = self._trace_of(args, kwargs)
        flat = self._parameters.flatten(args, kwargs)
        return pages.benchmark(self, trace, flat, lambda: self(*args, **kwargs))

    def warmup(self, *specs: Any) -> None:
        """Record and compile for arguments like `specs`: Tensors, or (shape, dtype) of zeros."""
        self(*(_example(spec) for spec in specs))

    def signatures(self) -> list[str]:
        """The types of the inputs of each trace, the most recently recorded first."""
        graphs = [trace.program.recorded for trace in self._traces]
        return [
            ", ".join(f"{n}: {v.type}" for n, v in zip(g.input_names, g.inputs, strict=True))
            for g in graphs
        ]

    # ---- the slow path

    def _miss(self, /, *args: Any, **kwargs: Any) -> Any:
        if config.settings.disable or any(isinstance(h, Recorder) for h in dispatch.handlers()):
            return self.eager(*args, **kwargs)  # a callee of a recorded function is its Python body
        if _why_not_here() is not None:
            return self.eager(*args, **kwargs)
        if self._refusal is not None:
            return self.eager(*args, **kwargs)
        try:
            flat = tuple(map(_contiguous, self._parameters.flatten(args, kwargs)))
        except TypeError:
            return self.eager(*args, **kwargs)  # wrong arguments: Python says which
        for trace in self._matching(flat):
            try:
                return self._replay(trace, flat)
            except Stopped:
                continue
            except Exception:
                # Nothing is committed yet. The body raises the same, with exactly eager's effects
                # up to there and the user's own lines in the traceback.
                return self.eager(*args, **kwargs)
        return self._record(flat)

    def _matching(self, flat: Sequence[Any]) -> Iterator[Trace]:
        for trace in list(self._traces):
            if trace.entry.first_miss(*flat) < 0:
                yield trace

    def _replay(self, trace: Trace, flat: Sequence[Any]) -> Any:
        tapes = [h for h in dispatch.handlers() if isinstance(h, GradientTape)]
        if not tapes or not trace.watched(flat, lambda t: any(tape.watches(t) for tape in tapes)):
            return trace.replay(flat)
        if trace.untaped is not None:
            return self._parameters.call(self.eager, flat)
        return self._replay_taped(trace, flat)

    def _replay_taped(self, trace: Trace, flat: Sequence[Any]) -> Any:
        """One op for the whole call, so one entry on each tape; reads are visible to tapes too."""
        if trace not in self._gradients:
            self._gradients[trace] = Differentiable(trace.program)
        inputs = [as_operand(x) for x in trace.inputs(flat)]
        for position, ref in trace.variables:
            variable = ref()
            if variable is not None:
                inputs[position] = dispatch.top().read(variable)
        found = dispatch.call(self._gradients[trace].forward, tuple(inputs), {})
        results = found if isinstance(found, tuple) else (found,)
        trace.calls += 1
        return trace.finish(results[: len(trace.program.recorded.results)])

    # ---- recording

    def _record(self, flat: Sequence[Any]) -> Any:
        if getattr(_forbidden, "depth", 0):
            raise RecompileError(f"{self.__name__}: {self._why_new(flat)}, inside no_recompile().")
        why, began = self._why_new(flat), time.perf_counter()
        with self._lock:
            recording = record(self.eager, self._parameters, flat)
            if isinstance(recording.outcome, Refusal):
                self._refuse(recording.outcome)
            else:
                self._keep_or_refuse(recording.outcome)
        self.num_traces += 1
        spent = 1e3 * (time.perf_counter() - began)
        line = f"{self.__name__}: {why} ({spent:.1f} ms) at {location(user_frame())}"
        log.info(line)
        if config.settings.log == "recompiles":
            print(f"fusejit: {line}", file=sys.stderr)
        return recording.result

    def _why_new(self, flat: Sequence[Any]) -> str:
        """One line: what differs from the trace that was used last."""
        if not self._traces:
            return "recording the first call"
        trace = self._traces[0]
        miss = trace.entry.first_miss(*flat) if len(flat) == trace.nargs else -1
        if miss < 0:
            return "recording another path: a guarded value differs"
        return f"recording again: {describe_miss(trace, miss, flat)}"

    def _keep_or_refuse(self, trace: Trace) -> None:
        """The body has run, so a failure to compile costs speed and a warning, never the result."""
        try:
            self._keep(trace)
            if config.settings.dump:
                pages.dump(self, trace, config.settings.dump)
        except (FuseJitError, MemoryError) as error:
            self._refuse(Refusal(f"it could not be compiled: {error}", defined_at(self.eager)))

    def _keep(self, trace: Trace) -> None:
        from ..backends.llvm import jit

        before = jit.statistics()
        began = time.perf_counter()
        _ = trace.entry  # lowers and compiles
        trace.milliseconds["compile"] = 1e3 * (time.perf_counter() - began)
        trace.num_compiles = jit.statistics().num_compiles - before.num_compiles
        self.num_compiles += trace.num_compiles
        self._attempts = 0
        self._traces.insert(0, trace)
        for dropped in self._traces[MAX_TRACES:]:
            self._gradients.pop(dropped, None)
        del self._traces[MAX_TRACES:]
        self._install()

    def _install(self) -> None:
        entries = [t.entry for t in self._traces if t.native_result]
        if self._parameters.simple:
            native.install(self, entries, self._miss)

    def _refuse(self, refusal: Refusal) -> None:
        self._attempts += 1
        if not refusal.lasting and self._attempts < MAX_ATTEMPTS:
            return
        self._refusal = refusal
        native.uninstall(self)
        self._traces.clear()
        warnings.warn(
            f"{self.__name__} runs eagerly: {refusal.reason} ({refusal.where}).",
            EagerWarning,
            stacklevel=_user_level(),
        )

    def _forget(self) -> None:
        """Drop everything recorded: the settings have changed, or the user wants the memory."""
        with self._lock:
            native.uninstall(self)
            self._traces.clear()
            self._gradients.clear()
            self._refusal = None
            self._attempts = 0


@functools.cache  # a fact about the installation
def _why_not_here() -> str | None:
    """Why nothing can be compiled here, said once; None where it can."""
    missing = None if backend("cpu") else "llvmlite is not installed"
    reason = missing or abi.why_not_native()
    if reason is not None:
        warnings.warn(f"fusejit: {reason}; everything runs eagerly.", EagerWarning, stacklevel=3)
    return reason


def describe_miss(trace: Trace, number: int, flat: Sequence[Any]) -> str:
    """Which check failed: the path, and old -> new where both can be shown."""
    expected = pages.shown(trace.checks[number].expect, trace)
    check = trace.checks[number]
    now = ""
    if isinstance(check.source, Arg) and isinstance(check.take, Itself):
        value = flat[check.source.index]
        now = f", now {value.type if isinstance(value, Tensor) else repr(value)[:40]}"
    return f"{pages.path_of(trace, number)} was {expected}{now}"


def _example(spec: Any) -> Any:
    if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[0], tuple):
        shape, dtype = spec
        return wrap(np.zeros(shape, as_dtype(dtype)))
    return spec


def _contiguous(value: Any) -> Any:
    """A strided Tensor as a contiguous one: kernels of whole plans walk arguments flat."""
    if type(value) is Tensor and not value._data.flags.c_contiguous:
        copy = wrap(value._data.copy(order="C"))
        copy._tag, copy._origin = value._tag, value._origin
        return copy
    return value


def _user_level() -> int:
    """The stack level of the innermost user frame, as warnings.warn counts from `_refuse`."""
    target, frame, level = user_frame(), inspect.currentframe(), 0
    while frame is not None and frame is not target:
        frame, level = frame.f_back, level + 1
    return max(level, 1)


native.enable_vectorcall(Function, method=True)


@overload
def function(f: Callable[..., Any], /) -> Function: ...
@overload
def function(f: None = None, /) -> Callable[[Callable[..., Any]], Function]: ...
def function(f: Callable[..., Any] | None = None, /) -> Any:
    """Compile a function by recording what its calls execute.

    The first call runs the Python body eagerly and records its ops; they are fused, compiled, and
    replayed by later calls that the recording fits. The decorated function does what the
    undecorated one would, always; where it cannot be replayed it runs eagerly and warns once.

    Args:
        f: a Python function, also a lambda or a method's function (decorate under @staticmethod and
            @classmethod, not over them).
    Returns:
        A `Function`: callable like f, with `eager`, `explain`, `ir`, `graph`, `llvm`, `asm`,
        `benchmark`, `warmup`, `num_traces`, `num_compiles` and `signatures`.
    Raises:
        CaptureError: f is a coroutine function, a generator, a class, or not callable.
    Example:
        >>> import fusejit as fj
        >>> @fj.function
        ... def f(x):
        ...     return fj.tanh(x) * 2.0
        >>> float(f(fj.constant(0.0)))
        0.0
    """
    if f is None:
        return function
    if isinstance(f, Function):
        return f
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_kind(f) for is_kind in kinds):
        raise CaptureError(
            f"function: {f.__name__} is a coroutine or generator; decorate what it calls."
        )
    if isinstance(f, (staticmethod, classmethod)):
        raise CaptureError(
            "function: put @staticmethod or @classmethod above @function, not below."
        )
    if not isinstance(f, types.FunctionType):
        kind = type(f).__name__
        raise CaptureError(
            f"function: expected a Python function, got a {kind}; wrap it in a lambda."
        )
    made = Function(f)
    _instances.add(made)
    return made


@contextlib.contextmanager
def no_recompile() -> Iterator[None]:
    """Raise RecompileError if a decorated function records or compiles inside the block.

    For loops that must be steady: the message says which argument or guard differs.
    """
    _forbidden.depth = getattr(_forbidden, "depth", 0) + 1
    try:
        yield
    finally:
        _forbidden.depth -= 1


def clear_caches() -> None:
    """Forget every recording and plan of every decorated function."""
    for each in list(_instances):
        each._forget()


config.on_change(clear_caches)
