"""How a call finds its plan: along the trace trees of its function, or by recording another path.

A call that native code finds no path for arrives in `miss`; so does one under a tape. A path that
is known runs, under the tape if that watches. Otherwise the call is recorded, and the new path
becomes a branch of the tree that it has left, or a root. What cannot be replayed runs eagerly, with
one warning that says why and where.

A recorded call has run eagerly, so its result waits for no plan. That is made in the background,
and whoever looks at `Calls.traces` waits for it or makes it: the next call, which then also says
what could not be compiled. A first call so returns before LLVM is imported, and one at a new size
in half of the time; a loop that calls again at once does the same work, only later.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import warnings
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dispatch
from ..autodiff.tape import GradientTape
from ..backends.llvm import abi
from ..backends.llvm.checks import Arg
from ..backends.ready import ahead
from ..collector import collect_if_much, held_off
from ..config import config
from ..device import CPU, backend, current
from ..errors import CaptureError, FuseJitError, RecompileError
from ..tensor import Tensor, as_operand
from .notices import Notices, user_level
from .parameters import Parameters
from .paths import MAX_BRANCHES, MAX_REPEATS, MAX_ROOTS, Paths, Stop
from .pending import Pending, to_be_made
from .policy import EagerWarning, may_record
from .record import Refusal, defined_at, record
from .recorder import Recorder
from .taped import apply, watched_among
from .trace import BINDS, Trace, array_of, as_walked, make_contiguous

if TYPE_CHECKING:
    from .function import Function
    from .gradient import Differentiable

MAX_ATTEMPTS = 3
"""Recordings thrown away because the call changed what it reaches, before such calls run eagerly:
the first call may build state lazily and the second still see it new."""


class Calls:
    """The traces of one decorated function, and what was decided about calls that have none."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.body = function.eager
        self.parameters = Parameters(self.body)
        self.num_traces = 0
        self._num_compiles = 0
        self._paths = Paths(function, self.parameters, self.miss, self.handled)
        self._pending: Pending | None = None
        self._gradients: dict[Trace, Differentiable] = {}
        self._attempts: dict[Hashable, int] = {}
        self._refusals: dict[Hashable, Refusal] = {}
        self._notices = Notices(function.__name__)
        self._lock = threading.RLock()

    @property
    def paths(self) -> Paths:
        """What can be replayed."""
        if self._pending is not None:
            self._settle()
        return self._paths

    @property
    def traces(self) -> list[Trace]:
        """All paths, the most recently recorded first."""
        return self.paths.traces

    @property
    def num_compiles(self) -> int:
        """How many kernels the traces had compiled that existed nowhere before."""
        if self._pending is not None:
            self._settle()
        return self._num_compiles

    def handled(self, /, *args: Any, **kwargs: Any) -> Any:
        """A call while some thread differentiates or records."""
        handlers = list(dispatch.handlers())
        enter = self._paths.enter
        if enter is not None and not handlers and current() == CPU:
            return enter(*args, **kwargs)  # another thread does
        tapes = [h for h in handlers if isinstance(h, GradientTape)]
        plain = self.parameters.simple and not kwargs and not config.settings.check
        if plain and len(tapes) == len(handlers) and len(args) == len(self.parameters.names):
            found = self.paths.find(args)  # as in `miss`, without its 4 us: this is a training step
            if isinstance(found, Trace):
                done = self._replay(found, args, args, tapes)
                if done is not None:
                    return done[0]
        return self.miss(*args, **kwargs)

    def miss(self, /, *args: Any, **kwargs: Any) -> Any:
        """A call that was not entered natively."""
        done = self.answer(args, kwargs)
        return done[0] if done is not None else self.body(*args, **kwargs)

    def answer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any] | None:
        """The result of a call that is replayed or recorded, in a tuple; None if its body is to run
        as if it were not decorated."""
        if self._paths.walked and not kwargs and self._is_plain(args):
            done = self._paths.walk(args)
            if done is not None:
                return done
        eager = config.settings.disable or config.settings.debug_nans
        if eager or any(isinstance(h, Recorder) for h in dispatch.handlers()):
            return None  # a callee of a recorded function is its Python body
        if _why_not_here() is not None:
            return None
        try:
            flat = self.flatten(args, kwargs)
        except TypeError:  # wrong arguments: Python says which
            return None
        walked = as_walked(flat)
        known = self.traces
        found = self._find(walked)
        if isinstance(found, Trace):
            if config.settings.check:
                from .checked import checked  # a mode for tests

                return (checked(self, found, flat),)
            tapes = [h for h in dispatch.handlers() if isinstance(h, GradientTape)]
            # Where that fails nothing is committed. The body raises the same, with exactly eager's
            # effects up to there and the user's own lines in the traceback.
            return self._replay(found, flat, walked, tapes)
        if self._refusals and _kind(flat) in self._refusals:
            return None
        if isinstance(found, Stop) and self._gives_up(found):
            return None
        # The debris of earlier calls may wait until this one returns, unless it is much.
        collect_if_much()
        return (held_off(functools.partial(self._record, flat, found, known)),)

    def _is_plain(self, args: tuple[Any, ...]) -> bool:
        """Whether arguments are one a parameter, and nobody looks on."""
        if config.settings.check or len(args) != len(self.parameters.names):
            return False
        return self.parameters.simple and next(dispatch.handlers(), None) is None

    def flatten(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """One value a parameter; Tensors among them are laid out contiguously."""
        flat = self.parameters.flatten(args, kwargs)
        for value in flat:
            make_contiguous(value)
        return flat

    def trace_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trace:
        """The trace that this call takes; a call that none fits is made, and so recorded."""
        flat = self.flatten(args, kwargs)
        walked = as_walked(flat)
        found = self._find(walked)
        if not isinstance(found, Trace):
            self.miss(*args, **kwargs)
            found = self._find(walked)
        if not isinstance(found, Trace):
            refusal = self._refusals.get(_kind(flat))
            why = f"{refusal.reason} ({refusal.where})" if refusal else "it changes what it reads"
            if isinstance(found, Stop):
                why = str(found)
            raise CaptureError(f"{self.function.__name__} has no plan for this call: {why}.")
        return found

    def refusal_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Refusal | None:
        """Why calls of this kind run eagerly, once that is decided."""
        return self._refusals.get(_kind(self.flatten(args, kwargs)))

    def forget(self) -> None:
        """Drop everything recorded: the settings have changed, or the user wants the memory."""
        with self._lock:
            if self._pending is not None:
                with contextlib.suppress(Exception):  # nobody is interested any more
                    self._pending.compiled()
                self._pending = None
            self._paths.clear()
            for table in (self._gradients, self._attempts, self._refusals):
                table.clear()

    # ---- replaying

    def _find(self, walked: Sequence[Any]) -> Trace | Stop | None:
        found = self.paths.find(walked)
        if found is None and self._paths.straighten(walked):
            found = self._paths.find(walked)
        return found

    def _replay(
        self,
        trace: Trace,
        flat: Sequence[Any],
        walked: Sequence[Any],
        tapes: Sequence[GradientTape],
    ) -> tuple[Any] | None:
        """The result of a call that takes the path of `trace`, in a tuple; None if that fails."""
        inputs = trace.conditions.inputs(*walked) if tapes else None
        if inputs is None or not trace.watched(inputs, tapes):
            return self._paths.replay(walked)
        if trace.untaped is not None:
            return (self.parameters.call(self.body, flat),)
        with contextlib.suppress(Exception):  # the caller meets it again
            return (self._replay_taped(trace, inputs),)
        return None

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
        op = gradient.forward(watched_among(operands))
        return trace.finish(apply(op, operands)[: len(trace.program.recorded.results)])

    # ---- recording

    def _record(self, flat: Sequence[Any], stop: Stop | None, known: Sequence[Trace]) -> Any:
        name, why = self.function.__name__, self._why_new(flat, stop)
        if not may_record():
            raise RecompileError(f"{name}: {why()}, inside no_recompile().")
        began = time.perf_counter()
        fitting = self._paths.fitting(flat, known if stop is not None else ())
        fastmath = self.function.fastmath and not config.settings.check
        recording = record(self.body, self.parameters, flat, fastmath)
        self.num_traces += 1
        with self._lock:  # not while the body runs: it may wait for a thread that calls it
            if isinstance(recording.outcome, Refusal):
                self._refuse(recording.outcome, _kind(flat))
            else:
                # What other threads have recorded meanwhile: the same, where all begin at once.
                others = self._paths.fitting(flat, self.paths.added_since(known))
                stop = stop if not others else None  # it tells nothing of what they have added
                self._compile(recording.outcome, fitting | others, _kind(flat), stop)
        self._notices.recorded(why, time.perf_counter() - began)
        return recording.result

    def _why_new(self, flat: Sequence[Any], stop: Stop | None) -> Callable[[], str]:
        """What makes one line: what differs from the paths that are known."""
        if stop is not None:
            return lambda: f"recording another path: {stop}"
        if not self.traces:
            return lambda: "recording the first call"
        trace = self.traces[0]
        miss = trace.conditions.first_miss(*as_walked(flat))
        if miss < 0:
            return lambda: "recording again: what it reads has changed meanwhile"
        check = trace.checks[miss]
        if isinstance(check.expect, BINDS) and isinstance(check.source, Arg):  # it keeps its type
            return lambda: f"recording again: {_described(trace, miss, flat)[1]}"
        path, how = _described(trace, miss, flat)  # now: the call may change it
        if not isinstance(check.expect, BINDS):  # new types of inputs are no such
            self._notices.changed(path, how)
        return lambda: f"recording again: {how}"

    def _gives_up(self, stop: Stop) -> bool:
        """Whether a call that no known path goes on for is not recorded; says why once."""
        from .advice import many_branches, rounded_otherwise

        name = self.function.__name__
        if self._paths.unsteady(stop):
            self._notices.eager((MAX_REPEATS, stop.where), lambda: rounded_otherwise(name, stop))
            return True
        if self._paths.full():
            line = self._paths.most_branched  # takes 0.1 ms, ten times what such a call does
            self._notices.eager(MAX_BRANCHES, lambda: many_branches(name, MAX_BRANCHES, line()))
            return True
        return False

    def _compile(
        self, trace: Trace, fitting: Collection[Trace], kind: Hashable, stop: Stop | None
    ) -> None:
        """Have the plan made in the background; at once where it is to be dumped."""
        made = to_be_made(trace, kind, stop, self._paths, fitting)
        begun = False
        try:
            made.hold.begin()  # or the call would yet walk all that it has made: 0.2 ms
            self._pending = made
            if config.settings.dump:
                self._settle()
            else:
                compiler = backend("cpu")
                assert compiler is not None, "without one nothing is recorded"
                begun = ahead(made.compiled, compiler.catch_up)
        finally:  # an interrupt may have come before anybody makes it
            if not begun:
                made.hold.release()

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

    def _keep(self, pending: Pending) -> None:
        if not pending.compiled():
            if pending.stop is not None:
                self._paths.repeated(pending.stop)
            self._pending = None
            return
        trace = pending.trace
        self._attempts.pop(pending.kind, None)
        for dropped in self._paths.add(trace):
            self._gradients.pop(dropped, None)
        self._num_compiles += trace.num_compiles
        self._pending = None  # no interrupt comes between these lines: neither calls
        if config.settings.dump:
            from . import explain

            explain.dump(self, trace, config.settings.dump)

    def _refuse(self, refusal: Refusal, kind: Hashable) -> None:
        """Run calls of this kind eagerly from now on; say so once for each reason."""
        self._attempts[kind] = self._attempts.get(kind, 0) + 1
        if not refusal.lasting and self._attempts[kind] < MAX_ATTEMPTS:
            return
        if len(self._refusals) >= MAX_ROOTS:
            self._refusals.clear()  # they are found again when they are met again
            self._attempts.clear()
        self._refusals[kind] = refusal
        from .advice import said

        text = f"{self.function.__name__} runs eagerly: {said(refusal.reason, refusal.where)}"
        self._notices.eager(refusal, lambda: text)


def _described(trace: Trace, miss: int, flat: Sequence[Any]) -> tuple[str, str]:
    """What a check that fails looks at, and how that has changed."""
    from .misses import describe_miss, path_of

    return path_of(trace, miss), describe_miss(trace, miss, flat)


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
        warnings.warn(text, EagerWarning, stacklevel=user_level())
    return reason
