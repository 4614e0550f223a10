"""`@fj.function`: the decorator, and what a decorated function offers.

A call enters natively (`backends.llvm.native`) once a trace is installed. All else is in `calls`,
which the first call loads: decorating a function costs little and loads no compiler.
"""

from __future__ import annotations

import functools
import inspect
import operator
import types
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..backends.llvm import blocks
from ..backends.llvm.native import NativeCallable, enable_vectorcall
from ..collector import held_off
from ..config import config
from ..device import current, moved, release_memory
from ..dtypes import as_dtype
from ..errors import CaptureError
from ..tensor import wrap

if TYPE_CHECKING:
    from ..ir.graph import Graph
    from .benchmark import Benchmark
    from .calls import Calls
    from .explain import Explanation
    from .recorded import Recorded

_instances: weakref.WeakSet[Function] = weakref.WeakSet()


class Function(NativeCallable):
    """A decorated function. Calls behave as those of the undecorated one, and run compiled.

    Attributes:
        eager: the undecorated function.
        fastmath: whether its plans may round as `function` says.
    """

    def __init__(self, function: types.FunctionType, fastmath: bool = False) -> None:
        self.eager = function
        self.fastmath = fastmath
        self._made: Calls | None = None
        self._derived: dict[Hashable, Function] = {}
        functools.update_wrapper(self, function)
        _instances.add(self)

    @property
    def _calls(self) -> Calls:
        if self._made is None:
            from .calls import Calls  # recording, passes, lowering: not needed to decorate

            made = Calls(self)
            if self._made is None:  # no thread comes between these lines, see `dispatch.push`
                self._made = made
        return self._made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._made is not None:
            return self._made.miss(*args, **kwargs)
        # What a first call loads and records stays: to collect would walk it for nothing.
        done = held_off(lambda: self._calls.answer(args, kwargs))
        return done[0] if done is not None else self.eager(*args, **kwargs)

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

    # Read by a check in each call of a function that calls this one: an attrgetter runs no Python.
    __wrapped_function__ = property(operator.attrgetter("eager"))

    def __derive__(self, key: Hashable, made: types.FunctionType) -> Function:
        """`made`, a function of this one, decorated as this one is; one for each key."""
        return self._derived.setdefault(key, Function(made, self.fastmath))

    @property
    def num_traces(self) -> int:
        """How many calls were recorded. Its gradient functions are recorded as functions of their
        own."""
        return 0 if self._made is None else self._made.num_traces

    @property
    def num_compiles(self) -> int:
        """How many kernels these recordings had compiled that existed nowhere before."""
        return 0 if self._made is None else self._made.num_compiles

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """One page: when the plan of this call applies, its kernels, and why ops were not fused.

        Like the methods below, it makes the call once if it was never recorded; if the call assigns
        no Variable it also times a few replays. For a function that runs eagerly the page says why,
        where, and what to write instead. The result is a str; its `html` is a document with the
        same, a drawing of the graph and all that the compiler made, which needs nothing else.
        """
        from .explain import explain

        return explain(self._calls, args, kwargs, lambda: self(*args, **kwargs))

    def graph(self, *args: Any, stage: str = "recorded", **kwargs: Any) -> Graph:
        """The graph of this call after a stage: "recorded", then each pass of `fusejit.passes`."""
        found = self._calls.trace_of(args, kwargs).program.stages
        if stage not in found:
            raise CaptureError(f"no stage {stage!r}; there are {', '.join(found)}")
        return found[stage]

    def graphs(self, *bound: Any) -> list[Recorded]:
        """Every recorded path as data, the most recently recorded first; see `capture.recorded`.

        Args:
            bound: the first arguments, if all calls are to have the same: `self` of a method.
        Raises:
            CaptureError: an argument is neither an array, a number nor a container of such.
        """
        from .recorded import recorded_of

        names = self._calls.parameters.names
        found = (recorded_of(trace, names, bound) for trace in self._calls.traces)
        return [path for path in found if path is not None]

    def ir(self, *args: Any, stage: str = "fuse", **kwargs: Any) -> str:
        """The text of `graph(...)`, after fusion unless another stage is named.

        Stage "plan" is what runs: buffers, and the steps of each strip.
        """
        if stage == "plan":
            return str(self._calls.trace_of(args, kwargs).program.plan)
        return str(self.graph(*args, stage=stage, **kwargs))

    def llvm(self, *args: Any, **kwargs: Any) -> str:
        """The LLVM IR of this call's kernels, before optimisation."""
        from .explain import llvm

        return llvm(self._calls.trace_of(args, kwargs))

    def asm(self, *args: Any, **kwargs: Any) -> str:
        """The machine code of this call's kernels."""
        from .explain import assembly

        return assembly(self._calls.trace_of(args, kwargs))

    def cuda_source(self, *args: Any, **kwargs: Any) -> str:
        """The CUDA C of this call's kernels. Neither a GPU nor PyCUDA is needed: if the arguments
        are on the CPU it is what would run on a GPU."""
        from .launches import cuda_source

        return cuda_source(self._calls.trace_of(args, kwargs))

    def benchmark(self, *args: Any, **kwargs: Any) -> Benchmark:
        """Time this call eager against fused; Variables keep their values."""
        from .benchmark import benchmark

        trace = self._calls.trace_of(args, kwargs)
        flat = self._calls.flatten(args, kwargs)
        return benchmark(self._calls, trace, flat, lambda: self(*args, **kwargs))

    def warmup(self, *specs: Any) -> None:
        """Record and compile for arguments like `specs`: Tensors, or (shape, dtype) of zeros."""
        self(*(_example(spec) for spec in specs))
        _ = self._calls.traces  # waits for what the call has left to the background

    def signatures(self) -> list[str]:
        """The types of the inputs of each trace, the most recently recorded first."""
        graphs = [tree.root.program.recorded for tree in self._calls.paths.trees]
        return [
            ", ".join(f"{n}: {v.type}" for n, v in zip(g.input_names, g.inputs, strict=True))
            for g in graphs
        ]


enable_vectorcall(Function, method=True)


@overload
def function(f: Callable[..., Any], /, *, fastmath: bool = ...) -> Function: ...
@overload
def function(
    f: None = None, /, *, fastmath: bool = ...
) -> Callable[[Callable[..., Any]], Function]: ...
def function(f: Callable[..., Any] | None = None, /, *, fastmath: bool = False) -> Any:
    """Compile a function by recording what its calls execute.

    The first call runs the Python body eagerly and records its ops; they are fused, compiled, and
    replayed by later calls that the recording fits. The decorated function does what the
    undecorated one would, always; where it cannot be replayed it runs eagerly and warns once.
    The first call of a process leaves compiling to the background; the next call waits for it, and
    warns if it failed.

    Args:
        f: a Python function, also a lambda or a method's function (decorate under @staticmethod and
            @classmethod, not over them). Of a bound method the function is compiled, and bound to
            the same object.
        fastmath: let replays round a product and the sum that reads it once, and on a GPU divide
            roughly and flush denormal numbers. Results then differ from eager ones in the last
            bits; under FUSEJIT_CHECK it is ignored. It holds for what the function calls, too.
    Returns:
        A `Function`: callable like f, with `eager`, `explain`, `ir`, `graph`, `graphs`, `llvm`,
        `asm`, `cuda_source`, `benchmark`, `warmup`, `num_traces`, `num_compiles` and `signatures`.
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
        return functools.partial(function, fastmath=fastmath)
    if isinstance(f, Function):
        return f if f.fastmath == fastmath else Function(f.eager, fastmath)
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_kind(f) for is_kind in kinds):
        raise CaptureError(
            f"function: {f.__name__} is a coroutine or generator; decorate what it calls."
        )
    if isinstance(f, (staticmethod, classmethod)):
        raise CaptureError(
            "function: put @staticmethod or @classmethod above @function, not below."
        )
    if isinstance(f, types.MethodType):
        return types.MethodType(function(f.__func__, fastmath=fastmath), f.__self__)
    if not isinstance(f, types.FunctionType):
        kind = type(f).__name__
        raise CaptureError(
            f"function: expected a Python function, got a {kind}; wrap it in a lambda."
        )
    return Function(f, fastmath)


def clear_caches() -> None:
    """Forget every recording and plan of every decorated function, and free what memory is kept."""
    for each in list(_instances):
        if each._made is not None:
            each._made.forget()
    blocks.clear()
    release_memory()


config.on_change(clear_caches)


def recorded() -> int:
    """How many recordings are held."""
    return sum(len(each._made.traces) for each in list(_instances) if each._made is not None)


def _example(spec: Any) -> Any:
    if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[0], tuple):
        shape, dtype = spec
        return wrap(moved(np.zeros(shape, as_dtype(dtype)), current()))
    return spec
