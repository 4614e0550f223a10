"""How a call finds its plan: through the traces of its function, or by recording another.

A call that no native entry takes arrives in `miss`. It looks through all traces, runs one under a
tape if a tape watches, and records if none fits. What cannot be replayed runs eagerly, with one
warning that says why and where.

A recorded call has run eagerly, so its result waits for no compiler. As long as there is no native
code at all, its plan is made in the background, and whoever looks at `Calls.traces` waits for it:
the next call, which then also says what could not be compiled. After that a plan costs its own new
kernels, mostly none, and is made before the call returns.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dispatch
from ..autodiff.tape import GradientTape
from ..backends.llvm import abi
from ..backends.llvm.native import uninstall
from ..backends.llvm.ready import Once, ahead, native_is_ready
from ..config import config
from ..device import backend
from ..errors import CaptureError, FuseJitError, RecompileError
from ..origin import user_frame
from ..tensor import Tensor, as_operand
from .misses import describe_miss, path_of
from .parameters import Parameters
from .policy import MAX_CHANGES, EagerWarning, RecompileWarning, may_record
from .purity import location
from .record import Refusal, defined_at, record
from .recorder import Recorder
from .taped import apply
from .trace import (
    BINDS,
    Stopped,
    Trace,
    array_of,
    make_contiguous,
    straighten,
)

if TYPE_CHECKING:
    from .function import Function
    from .gradient import Differentiable

MAX_TRACES = 64
"""Traces kept for a function, the least recently recorded dropped first. Each holds some 10 KB and
is looked at in turn by a call that none of the first fits, at about 0.2 us each."""
MAX_ATTEMPTS = 3
"""Recordings thrown away because the call changed what it reaches, before such calls run eagerly:
the first call may build state lazily and the second still see it new."""


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A recording whose plan is being made."""

    trace: Trace
    kind: Hashable  # of the call, see `_kind`
    compiled: Once[None]


class Calls:
    """The traces of one decorated function, and what was decided about calls that have none."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.body = function.eager
        self.parameters = Parameters(self.body)
        self.num_traces = 0
        self._num_compiles = 0
        self._traces: list[Trace] = []
        self._pending: Pending | None = None
        self._gradients: dict[Trace, Differentiable] = {}
        self._attempts: dict[Hashable, int] = {}
        self._refusals: dict[Hashable, Refusal] = {}
        self._said: set[Refusal] = set()
        self._changes: dict[str, int] = {}
        self._enter: Callable[..., Any] | None = None
        self._lock = threading.RLock()

    @property
    def traces(self) -> list[Trace]:
        """What can be replayed, the most recently recorded first."""
        if self._pending is not None:
            self._settle()
        return self._traces

    @property
    def num_compiles(self) -> int:
        """How many kernels the traces had compiled that existed nowhere before."""
        if self._pending is not None:
            self._settle()
        return self._num_compiles

    def handled(self, /, *args: Any, **kwargs: Any) -> Any:
        """A call while some thread differentiates or records."""
        handlers = list(dispatch.handlers())
        enter = self._enter
        if enter is not None and not handlers:
            return enter(*args, **kwargs)  # another thread does
        tapes = [h for h in handlers if isinstance(h, GradientTape)]
        if len(tapes) < len(handlers) or kwargs or not self.parameters.simple:
            return self.miss(*args, **kwargs)
        for trace in self.traces:  # what `miss` does, without its 4 us: this is a training step
            inputs = trace.entry.inputs(*args) if trace.nargs == len(args) else None
            if inputs is not None:
                try:
                    return self._replay(trace, args, inputs, tapes)
                except Stopped:
                    continue
                except Exception:  # as in `miss`
                    return self.body(*args)
        return self.miss(*args)

    def miss(self, /, *args: Any, **kwargs: Any) -> Any:
        """A call that was not entered natively."""
        if config.settings.disable or any(isinstance(h, Recorder) for h in dispatch.handlers()):
            return self.body(*args, **kwargs)  # a callee of a recorded function is its Python body
        if _why_not_here() is not None:
            return self.body(*args, **kwargs)
        try:
            flat = self.flatten(args, kwargs)
        except TypeError:
            return self.body(*args, **kwargs)  # wrong arguments: Python says which
        tapes = [h for h in dispatch.handlers() if isinstance(h, GradientTape)]
        for trace in self._fitting(flat):
            inputs = trace.entry.inputs(*flat)
            if inputs is None:  # another thread has changed something since it was looked at
                continue
            try:
                return self._replay(trace, flat, inputs, tapes)
            except Stopped:
                continue
            except Exception:
                # Nothing is committed yet. The body raises the same, with exactly eager's effects
                # up to there and the user's own lines in the traceback.
                return self.body(*args, **kwargs)
        if self._refusals and _kind(flat) in self._refusals:
            return self.body(*args, **kwargs)
        return self._record(flat)

    def flatten(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """One value a parameter; Tensors among them are laid out contiguously."""
        flat = self.parameters.flatten(args, kwargs)
        for value in flat:
            make_contiguous(value)
        return flat

    def trace_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trace:
        """The trace that this call takes; a call that none fits is made, and so recorded."""
        flat = self.flatten(args, kwargs)
        found = next(self._matching(flat), None)
        if found is None:
            self.miss(*args, **kwargs)
            found = next(self._matching(flat), None)
        if found is None:
            refusal = self._refusals.get(_kind(flat))
            why = f"{refusal.reason} ({refusal.where})" if refusal else "it changes what it reads"
            raise CaptureError(f"{self.function.__name__} has no plan for this call: {why}.")
        return found

    def forget(self) -> None:
        """Drop everything recorded: the settings have changed, or the user wants the memory."""
        with self._lock:
            if self._pending is not None:
                with contextlib.suppress(Exception):  # nobody is interested any more
                    self._pending.compiled()
                self._pending = None
            uninstall(self.function)
            self._enter = None
            for table in (self._traces, self._gradients, self._attempts, self._refusals):
                table.clear()

    # ---- replaying

    def _matching(self, flat: Sequence[Any]) -> Iterator[Trace]:
        for trace in list(self.traces):
            if trace.entry.first_miss(*flat) < 0:
                yield trace

    def _fitting(self, flat: Sequence[Any]) -> Iterator[Trace]:
        """The traces that match, and those that do once strided Tensors on their paths are laid out
        contiguously: that changes no value, and is done once for each Tensor."""
        yield from self._matching(flat)
        if sum(straighten(trace.checks, flat) for trace in self.traces[:8]):
            yield from self._matching(flat)

    def _replay(
        self,
        trace: Trace,
        flat: Sequence[Any],
        inputs: Sequence[Any],
        tapes: Sequence[GradientTape],
    ) -> Any:
        if not tapes or not trace.watched(inputs, tapes):
            return trace.replay(inputs)
        if trace.untaped is not None:
            return self.parameters.call(self.body, flat)
        return self._replay_taped(trace, inputs)

    def _replay_taped(self, trace: Trace, inputs: Sequence[Any]) -> Any:
        """One op for the whole call, so one entry on each tape; reads are visible to tapes too."""
        gradient = self._gradients.get(trace)
        if gradient is None:
            from .gradient import Differentiable

            gradient = self._gradients[trace] = Differentiable(trace.program)
        operands = [x if type(x) is Tensor else as_operand(array_of(x)) for x in inputs]
        for position, ref in trace.variables:
            variable = ref()
            if variable is not None:
                operands[position] = dispatch.top().read(variable)
        return trace.finish(apply(gradient.forward, operands)[: len(trace.program.sources)])

    # ---- recording

    def _record(self, flat: Sequence[Any]) -> Any:
        name, why = self.function.__name__, self._why_new(flat)
        if not may_record():
            raise RecompileError(f"{name}: {why}, inside no_recompile().")
        began = time.perf_counter()
        recording = record(self.body, self.parameters, flat)
        with self._lock:  # not while the body runs: it may wait for a thread that calls it
            if isinstance(recording.outcome, Refusal):
                self._refuse(recording.outcome, _kind(flat))
            else:
                self._compile(recording.outcome, _kind(flat))
        self.num_traces += 1
        spent = 1e3 * (time.perf_counter() - began)
        line = f"{name}: {why} ({spent:.1f} ms) at {location(user_frame())}"
        logging = sys.modules.get("logging")  # without it, nobody has asked to see this level
        if logging is not None:
            logging.getLogger("fusejit").info(line)
        if config.settings.log == "recompiles":
            print(f"fusejit: {line}", file=sys.stderr)
        return recording.result

    def _why_new(self, flat: Sequence[Any]) -> str:
        """One line: what differs from the trace that was recorded last."""
        if not self.traces:
            return "recording the first call"
        trace = self.traces[0]
        miss = trace.entry.first_miss(*flat)
        if miss < 0:
            return "recording another path: a guarded value differs"
        self._note_change(trace, miss, flat)
        return f"recording again: {describe_miss(trace, miss, flat)}"

    def _note_change(self, trace: Trace, miss: int, flat: Sequence[Any]) -> None:
        """Warn once of a value that never stays what it was; new types of inputs are no such."""
        if isinstance(trace.checks[miss].expect, BINDS):
            return
        path = path_of(trace, miss)
        self._changes[path] = self._changes.get(path, 0) + 1
        if self._changes[path] == MAX_CHANGES:
            text = (
                f"{self.function.__name__} was recorded {MAX_CHANGES} times because a value that "
                f"it reads changes: {describe_miss(trace, miss, flat)}. Each recording costs as "
                "much as many calls: pass it as a Tensor, keep it in a Variable, or leave it out."
            )
            warnings.warn(text, RecompileWarning, stacklevel=_user_level())

    def _compile(self, trace: Trace, kind: Hashable) -> None:
        """Have the plan made: in the background if that begins with loading a compiler."""
        self._settle()  # another thread may have recorded meanwhile
        compiled = Once(partial(_make_entry, trace))
        self._pending = Pending(trace, kind, compiled)
        if native_is_ready() or config.settings.dump:
            self._settle()
        else:
            compiler = backend("cpu")
            assert compiler is not None, "without one nothing is recorded"
            ahead(compiled, compiler.catch_up)

    def _settle(self) -> None:
        """Wait until what was recorded last is compiled, and take it or say why not.

        The body has run, so a failure to compile costs speed and a warning, never the result.
        """
        with self._lock:
            pending = self._pending
            if pending is None:
                return  # another thread was here
            try:
                self._keep(pending)
            except Exception as error:  # no interrupt: after one it is still to be waited for
                self._pending = None
                if not isinstance(error, (FuseJitError, MemoryError)):
                    raise
                reason = f"it could not be compiled: {error}"
                self._refuse(Refusal(reason, defined_at(self.body)), pending.kind)
            self._pending = None

    def _keep(self, pending: Pending) -> None:
        from ..backends.llvm.callable import Signature, install

        pending.compiled()
        trace = pending.trace
        self._num_compiles += trace.num_compiles
        self._attempts.pop(pending.kind, None)
        self._traces.insert(0, trace)
        for dropped in self._traces[MAX_TRACES:]:
            self._gradients.pop(dropped, None)
        del self._traces[MAX_TRACES:]
        signature = Signature(self.body)
        if signature.names() == self.parameters.names:
            entries = [each.entry for each in self._traces]
            self._enter = install(self.function, entries, self.miss, self.handled, signature)
        if config.settings.dump:
            from . import explain

            explain.dump(self, trace, config.settings.dump)

    def _refuse(self, refusal: Refusal, kind: Hashable) -> None:
        """Run calls of this kind eagerly from now on; say so once for each reason."""
        self._attempts[kind] = self._attempts.get(kind, 0) + 1
        if not refusal.lasting and self._attempts[kind] < MAX_ATTEMPTS:
            return
        if len(self._refusals) >= MAX_TRACES:
            self._refusals.clear()  # they are found again when they are met again
            self._attempts.clear()
        self._refusals[kind] = refusal
        if refusal not in self._said:
            self._said.add(refusal)
            text = f"{self.function.__name__} runs eagerly: {refusal.reason} ({refusal.where})."
            warnings.warn(text, EagerWarning, stacklevel=_user_level())


def _make_entry(trace: Trace) -> None:
    """Lower and compile, and note what that took."""
    from ..backends.llvm import jit  # the code generator, which imports llvmlite

    before = jit.statistics()
    began = time.perf_counter()
    _ = trace.entry
    trace.milliseconds["compile"] = 1e3 * (time.perf_counter() - began)
    trace.num_compiles = jit.statistics().num_compiles - before.num_compiles
    trace.num_loads = jit.statistics().num_loads - before.num_loads


def _kind(flat: Sequence[Any]) -> Hashable:
    """What a refusal is remembered by: the classes of the arguments, and dtypes and ranks of
    arrays."""
    arrays = (Tensor, np.ndarray)
    return tuple((type(v), v.dtype, v.ndim) if isinstance(v, arrays) else type(v) for v in flat)


@functools.cache  # a fact about the installation
def _why_not_here() -> str | None:
    """Why nothing can be compiled here, said once; None where it can."""
    missing = None if backend("cpu") else "llvmlite is not installed"
    reason = missing or abi.why_not_native()
    if reason is not None:
        text = f"fusejit: {reason}; everything runs eagerly."
        warnings.warn(text, EagerWarning, stacklevel=_user_level())
    return reason


def _user_level() -> int:
    """The stack level of the innermost user frame, as warnings.warn counts from the caller."""
    target, frame, level = user_frame(), inspect.currentframe(), 0
    while frame is not None and frame is not target:
        frame, level = frame.f_back, level + 1
    return max(level, 1)
