"""The Op record: all that fusejit knows about an operation, and the kinds of operation there are.

An op is declared once, in `fusejit/ops/`, by calling one of the functions at the end of this file.
Its *kind* decides how shapes are inferred, what may fuse with what, and how it is lowered; nobody
else may know ops by name. Ops take arrays by position and parameters by keyword.

A gradient rule is a function of whichever of these its signature names:
    g            the gradient of the output (a tuple, if there are several outputs)
    gs           the gradients of all outputs, None for those that received none
    y            the output
    a, b, ...    inputs, by the op's own names for them
    a_type, ...  only their TensorType: nothing is kept for these
    parameters   keyword-only, as given to the op
It returns one gradient an input, None where there is none. What the tape must keep is read off this
signature. Broadcasting is undone once, in the tape, never in a rule.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from . import dispatch
from .device import CPU
from .dtypes import COMPARES as COMPARES
from .dtypes import COMPILED, TensorType
from .dtypes import COMPLEX as COMPLEX
from .dtypes import COMPLEX_PART as COMPLEX_PART
from .dtypes import FLOATING as FLOATING
from .dtypes import INTEGRAL as INTEGRAL
from .dtypes import LOGICAL as LOGICAL
from .dtypes import MAGNITUDE as MAGNITUDE
from .dtypes import NUMERIC as NUMERIC
from .dtypes import ORDERED as ORDERED
from .dtypes import ORDERS as ORDERS
from .dtypes import REAL as REAL
from .dtypes import REAL_FLOATING as REAL_FLOATING
from .dtypes import SAME as SAME
from .dtypes import SELECTS as SELECTS
from .dtypes import SHIFTS as SHIFTS
from .dtypes import SIGN_BITS as SIGN_BITS
from .dtypes import DTypeRule as DTypeRule
from .errors import ShapeError
from .frozen import frozen, signature_of, values
from .scalar import DType, Program, ScalarFunction, trace

if TYPE_CHECKING:
    from .tensor import Tensor

Array: TypeAlias = "np.ndarray[Any, Any]"
Params: TypeAlias = Mapping[str, Any]

OPS: dict[str, Op] = {}
"""The registry: every op by name. Tests, docs and benches loop over it."""
RECORD_CODE: set[CodeType] = set()
"""The code of the functions in registered records, wherever they are declared. They are pure by
contract, so a recorder does not count their running as something that the user's code does."""


class _Doc:
    """`__doc__` of a kind of op is its docstring; of an op, what that op does."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __get__(self, op: Op | None, kind: type[Op]) -> str | None:
        if op is None:
            return self.text
        from .opdoc import document  # text that few ask for

        return document(op)


class _Signature:
    """What `inspect.signature` says of an op; a kind of op has that of its fields."""

    def __get__(self, op: Op | None, kind: type[Op]) -> inspect.Signature:
        if op is None:
            return signature_of(kind)
        from .opdoc import signature

        return signature(op)


@frozen(eq=False, kw_only=True)
class Op:
    """What every kind has. `inputs` names the array operands; `variadic` ops take any number."""

    name: str
    numpy: Callable[..., Any]
    inputs: tuple[str, ...] = ("x",)
    vjp: Callable[..., Sequence[Any]] | None = None
    variadic: bool = False
    doc: str = ""
    registered: bool = True
    """Whether the op enters OPS; ops made while running (a fused call) do not."""
    sample: Callable[[np.random.Generator], tuple[Sequence[Array], dict[str, Any]]] | None = None
    """(arrays, params) for generated tests, where `testing.samples` cannot tell from the kind."""
    wants: tuple[str, ...] = ()
    """The names in the gradient rule's signature; they are read off it."""
    anywhere = False
    """Whether operands may be on several devices: the op deals with that itself."""
    __signature__ = _Signature()

    def __post_init__(self) -> None:
        if self.vjp is not None:
            object.__setattr__(self, "wants", _names(self.vjp, _NAMED))
        if self.registered:
            OPS[self.name] = self
            functions = (value for value in values(self) if isinstance(value, FunctionType))
            RECORD_CODE.update(function.__code__ for function in functions)

    def __init_subclass__(cls) -> None:
        if not isinstance(vars(cls).get("__doc__"), _Doc):
            cls.__doc__ = _Doc(cls.__doc__)  # type: ignore[assignment]

    def __call__(self, *operands: Any, **params: Any) -> Any:
        """Apply the op, through whatever handlers are on this thread's stack."""
        return dispatch.call(self, operands, params)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...] | None:
        """Types of the outputs, or None where they depend on values; raises for bad operands."""
        raise NotImplementedError

    def device(self, devices: Sequence[str], params: Params) -> str:
        """Where the outputs are, from where the operands are: a GPU takes single numbers along."""
        return next((device for device in devices if device != CPU), CPU)

    def eager(self, arrays: Sequence[Array], params: Params) -> Any:
        """The op by NumPy: an array, or a tuple of them."""
        return self.numpy(*arrays, **params)

    def by_numpy(self, arrays: Sequence[Array], params: Params) -> Any:
        """`eager`, with results of the inferred dtype where NumPy widens (sums of bfloat16).

        How NumPy rounds complex numbers depends on how they lie in memory: as they do in a plan.
        """
        kind = arrays[-1].dtype.kind if arrays else ""
        if kind == "c":
            arrays = [a if a.flags.c_contiguous else a.copy() for a in arrays]
        result = self.eager(arrays, params)
        if kind != "V":
            return result
        types = self.infer([TensorType(a.dtype, a.shape) for a in arrays], params)
        if types is None:
            return result
        several = isinstance(result, tuple)
        pairs = zip(result if several else (result,), types, strict=True)
        found = tuple(np.asarray(r).astype(t.dtype, copy=False) for r, t in pairs)
        return found if several else found[0]


@frozen(eq=False, kw_only=True)
class SingleOp(Op):
    """An op with exactly one output, which calling it returns."""

    if TYPE_CHECKING:

        def __call__(self, *operands: Any, **params: Any) -> Tensor: ...


@frozen(eq=False, kw_only=True)
class Elementwise(SingleOp):
    """One output element from the elements at the same (broadcast) place. Everything here fuses.

    `exact` says that IEEE or integer arithmetic determines every bit, so that NumPy may run it when
    eager; otherwise the generated kernel runs both times, and the bits agree because the code does.
    """

    scalar: ScalarFunction | None
    dtype: DTypeRule = SAME
    exact: bool = True
    domain: tuple[float, float] = (-4.0, 4.0)
    """Where generated tests sample the operands."""

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        shape = broadcast_shapes(self.name, [t.shape for t in types])
        return (TensorType(self.result_dtype([t.dtype for t in types], params), shape),)

    def result_dtype(self, dtypes: Sequence[DType], params: Params) -> DType:
        if "dtype" in params:
            found: DType = params["dtype"]
            return found
        if self.dtype.magnitude and dtypes[-1].kind == "c":
            return np.dtype(f"f{dtypes[-1].itemsize // 2}")
        return self.dtype.result or dtypes[-1]

    def program(self, dtypes: tuple[DType, ...], params: Params) -> Program | None:
        """The scalar program for these dtypes; None where only NumPy can run it."""
        if self.scalar is None:
            return None
        return _program(self, dtypes, tuple(sorted(params.items())) if params else ())


@lru_cache(maxsize=4096)  # a few dozen bytes each; ops x dtypes is some hundreds
def _program(
    op: Elementwise, dtypes: tuple[DType, ...], params: tuple[tuple[str, Any], ...]
) -> Program | None:
    assert op.scalar is not None
    if not COMPILED.issuperset([*dtypes, op.result_dtype(dtypes, dict(params))]):
        return None
    try:
        return trace(op.scalar, dtypes, **dict(params))
    except NotImplementedError:  # the scalar function's way to say: not for this dtype
        return None


@frozen(eq=False, kw_only=True)
class Reduction(SingleOp):
    """Combines elements along `axes` (a sorted tuple, a parameter) in the order of the kernel.

    Parameters of the op: axes, keepdims. The operand already has the dtype of the result.
    """

    combine: ScalarFunction
    identity: Callable[[DType], bool | int | float]
    dtype: DTypeRule = SAME
    exact: bool = False
    """Whether any order gives the same bits (max, all): then NumPy may run it."""
    domain: tuple[float, float] = (-4.0, 4.0)

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        (x,) = types
        axes, keepdims = params["axes"], params["keepdims"]
        kept = [1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes]
        return (TensorType(self.dtype.result or x.dtype, tuple(kept)),)

    def eager(self, arrays: Sequence[Array], params: Params) -> Any:
        return self.numpy(arrays[0], axis=params["axes"], keepdims=params["keepdims"])


@frozen(eq=False, kw_only=True)
class View(SingleOp):
    """The same elements at other places: `index` maps an output place to an input place.

    `shape(input_shape, **params)` infers; `index(place, input_shape, **params)` is given and
    returns one affine expression an axis (`ir.affine.Affine`: they add, subtract and scale by
    integers), or None where the map is not affine. `reshape` alone has neither: it keeps the linear
    order.
    """

    shape: Callable[..., tuple[int, ...]]
    index: Callable[..., Sequence[Any]] | None

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        (x,) = types
        return (TensorType(x.dtype, tuple(self.shape(x.shape, **params))),)


@frozen(eq=False, kw_only=True)
class Transfer(View):
    """The same elements on another device. Parameters: device, and origin, where they come from."""

    anywhere = True

    def device(self, devices: Sequence[str], params: Params) -> str:
        found: str = params["device"]
        return found


@frozen(eq=False, kw_only=True)
class Assembly(SingleOp):
    """Operands copied into regions of a new array; what no region covers is zero (concat, place).

    `regions(shapes, **params)` gives the output shape and, for each operand, one (start, step) an
    axis. Regions do not overlap; `covers(params)` says that they fill the output.
    """

    regions: Callable[..., tuple[tuple[int, ...], Sequence[Sequence[tuple[int, int]]]]]
    covers: bool

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        shape, _ = self.regions([t.shape for t in types], **params)
        return (TensorType(types[0].dtype, tuple(shape)),)


@frozen(eq=False, kw_only=True)
class Contraction(SingleOp):
    """A batched matrix product: BLAS for float32 and float64, NumPy for the rest."""

    shape: Callable[..., tuple[int, ...]]

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        return (TensorType(types[0].dtype, tuple(self.shape(*(t.shape for t in types), **params))),)


@frozen(eq=False, kw_only=True)
class Source(SingleOp):
    """No operands: element k (in linear order) is the int64 k. Parameters: shape, and device where
    that is not the CPU."""

    def device(self, devices: Sequence[str], params: Params) -> str:
        found: str = params.get("device", CPU)
        return found

    def eager(self, arrays: Sequence[Array], params: Params) -> Any:
        return self.numpy(shape=params["shape"])

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        return (TensorType(np.dtype(np.int64), tuple(params["shape"])),)


@frozen(eq=False, kw_only=True)
class Opaque(Op):
    """Runs through NumPy, also inside a plan: it ends kernels and is legal everywhere.

    `types(*input types, **params)` gives the output types, or None where they depend on values.
    """

    types: Callable[..., Any]
    domain: tuple[float, float] = (-4.0, 4.0)

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...] | None:
        found = self.types(*types, **params)
        return (found,) if isinstance(found, TensorType) else found


def broadcast_shapes(name: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """NumPy's broadcasting; ShapeError names the first axis (from the right) that disagrees."""
    rank = max((len(s) for s in shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for i, extent in enumerate(shape, rank - len(shape)):
            if extent != 1 and result[i] != 1 and extent != result[i]:
                listed = " with ".join(str(list(s)).replace(" ", "") for s in shapes)
                raise ShapeError(
                    f"{name}: cannot broadcast {listed}: axis {i} is {result[i]} and {extent}."
                )
            if extent != 1:
                result[i] = extent
    return tuple(result)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)


def _names(
    function: Callable[..., Any], kinds: Sequence[inspect._ParameterKind] = _POSITIONAL
) -> tuple[str, ...]:
    """The parameters of these kinds. Signatures of all rules would take 2 ms of every import, so
    those of plain functions are read off their code."""
    if type(function) is FunctionType:
        code = function.__code__
        count = code.co_argcount + (code.co_kwonlyargcount if kinds is _NAMED else 0)
        return code.co_varnames[:count]
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds)


def elementwise(
    name: str, *, numpy: Callable[..., Any], scalar: ScalarFunction | None, **fields: Any
) -> Elementwise:
    """Declare an elementwise op; its operands are named by the parameters of `scalar`."""
    inputs = fields.pop("inputs", None) or _names(scalar or numpy)
    return Elementwise(name=name, numpy=numpy, scalar=scalar, inputs=inputs, **fields)


def reduction(name: str, **fields: Any) -> Reduction:
    return Reduction(name=name, **fields)


def view(name: str, **fields: Any) -> View:
    return View(name=name, **fields)


def transfer(name: str, **fields: Any) -> Transfer:
    return Transfer(name=name, **fields)


def assembly(name: str, **fields: Any) -> Assembly:
    return Assembly(name=name, **fields)


def contraction(name: str, **fields: Any) -> Contraction:
    return Contraction(name=name, **fields)


def source(name: str, **fields: Any) -> Source:
    return Source(name=name, inputs=(), **fields)


def opaque(name: str, **fields: Any) -> Opaque:
    return Opaque(name=name, **fields)


def size_of(shape: Sequence[int]) -> int:
    return math.prod(shape)
