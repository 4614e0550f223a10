"""Functions that bring their own gradient.

The body runs like any code, and tapes record its ops: a gradient function that uses intermediate
values of the body can therefore be differentiated itself. Then one op, made for this application,
passes the results on as new Tensors. Its operands are the results and the arguments; its rule gives
nothing to the results, so that playback does not enter the body, and to the arguments what the
user's gradient function says. A recorder sees this op like any other: a CustomGradient.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import dispatch
from ..dtypes import TensorType
from ..errors import GradientError
from ..frozen import frozen
from ..op import Array, Op, Params
from ..tensor import Tensor, asarray
from ..variable import Variable
from . import trees
from .gradients import holds_floats, is_array, name_of
from .tags import next_tag
from .tape import Gradient, GradientTape

if TYPE_CHECKING:
    from optree import PyTreeSpec


@frozen(eq=False, kw_only=True)
class CustomGradient(Op):
    """One application of a function that brings its own gradient.

    Operands: its `values` results, then its floating arguments. Outputs: the results, unchanged.
    """

    values: int
    grad_fn: Callable[..., Any]
    anywhere = True

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        return tuple(types[: self.values])

    def eager(self, arrays: Sequence[Array], params: Params) -> tuple[Array, ...]:
        return tuple(arrays[: self.values])


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function its own gradient.

    Args:
        f: a function that returns (value, grad_fn). grad_fn takes one gradient for each Tensor in
            value and returns one for each positional argument of f, nested as the argument is;
            None means zero. The gradient of a single argument may be returned bare.
    Returns:
        A function that returns value. It is differentiated by grad_fn, with respect to its
        positional arguments; keyword arguments are constants.
    Raises:
        GradientError: f uses a watched Tensor or Variable that is not among its positional
            arguments, or grad_fn returns gradients of another number or shape than these.
    Example:
        >>> import fusejit as fj
        >>> @fj.custom_gradient
        ... def halved(x):
        ...     return x * 1.0, lambda dy: dy / 2.0
        >>> float(fj.gradients_function(halved)(3.0)[0])
        0.5
    """

    @functools.wraps(f, updated=())
    def apply(*args: Any, **kwargs: Any) -> Any:
        given: Any = args
        flat, tree = trees.flatten(given, is_array)
        made = [asarray(leaf) if holds_floats(leaf) else None for leaf in flat]
        leaves = [leaf if new is None else new for leaf, new in zip(flat, made, strict=True)]
        tensors = [new for new in made if new is not None]
        arguments = _Arguments(
            name_of(f), tree, tuple(None if new is None else new.type for new in made)
        )
        run = functools.partial(_results, f, tree.unflatten(leaves), kwargs)
        guard = _guard(arguments.name, tensors)
        results, value_tree, grad_fn = run() if guard is None else dispatch.under(guard, run)
        if guard is not None:
            guard.check(results)
        if results and next(dispatch.handlers(), None) is not None:
            op = CustomGradient(
                name="custom_gradient",
                numpy=lambda *arrays: arrays,
                variadic=True,
                registered=False,
                vjp=functools.partial(_rule, arguments, len(results), grad_fn),
                values=len(results),
                grad_fn=grad_fn,
            )
            outputs = op(*results, *tensors)
            results = list(outputs) if len(results) > 1 else [outputs]
        return value_tree.unflatten(results)

    return apply


@frozen
class _Arguments:
    """How the positional arguments nest, and the types of their leaves (None: not floating)."""

    name: str
    tree: PyTreeSpec
    types: tuple[TensorType | None, ...]


def _rule(
    arguments: _Arguments, values: int, grad_fn: Callable[..., Any], g: Any
) -> list[Gradient]:
    given = grad_fn(*(g if values > 1 else (g,)))
    return [None] * values + _by_operand(arguments, given)


def _by_operand(arguments: _Arguments, given: Any) -> list[Gradient]:
    """What grad_fn returned, one for each floating leaf of the arguments."""
    children = arguments.tree.children()
    if len(children) == 1 and not (isinstance(given, tuple) and len(given) == 1):
        given = (given,)
    if not isinstance(given, (tuple, list)) or len(given) != len(children):
        count = len(given) if isinstance(given, (tuple, list)) else "no list of"
        raise GradientError(
            f"custom_gradient of {arguments.name}: grad_fn returned {count} gradients "
            f"for {len(children)} arguments."
        )
    leaves: list[Any] = []
    for child, gradient in zip(children, given, strict=True):
        none = gradient is None
        leaves += [None] * child.num_leaves if none else child.flatten_up_to(gradient)
    pairs = zip(leaves, arguments.types, strict=True)
    return [_fitted(arguments.name, leaf, kind) for leaf, kind in pairs if kind is not None]


def _fitted(name: str, gradient: Any, kind: TensorType) -> Gradient:
    if gradient is None:
        return None
    tensor = asarray(gradient, dtype=kind.dtype)
    if tensor.shape != kind.shape:
        raise GradientError(
            f"custom_gradient of {name}: grad_fn returned {tensor.type} for an argument of {kind}."
        )
    return tensor


def _split(f: Callable[..., Any], returned: Any) -> tuple[Any, Callable[..., Any]]:
    if not isinstance(returned, tuple) or len(returned) != 2 or not callable(returned[1]):
        raise GradientError(
            f"custom_gradient: {name_of(f)} must return (value, grad_fn), "
            f"got {type(returned).__name__}."
        )
    return returned


def _results(
    f: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
) -> tuple[list[Tensor], PyTreeSpec, Callable[..., Any]]:
    """What the function computes: the Tensors in its value, how they nest there, and grad_fn."""
    value, grad_fn = _split(f, f(*args, **kwargs))
    values, tree = trees.flatten(value, none_is_leaf=False)
    return [asarray(result) for result in values], tree, grad_fn


def _guard(name: str, arguments: Sequence[Tensor]) -> _Guard | None:
    """What refuses what a tape watches but grad_fn gives no gradient for; None without a tape."""
    tapes = [handler for handler in dispatch.handlers() if isinstance(handler, GradientTape)]
    return _Guard(name, arguments, tapes) if tapes else None


class _Guard(dispatch.Handler):
    """Sees what the body uses. What was tagged before the body began is no value of its own."""

    def __init__(
        self, name: str, arguments: Sequence[Tensor], tapes: Sequence[GradientTape]
    ) -> None:
        self._name = name
        self._arguments = {tensor._tag for tensor in arguments}
        self._tapes = tapes
        self._began = next_tag()

    def apply(
        self, op: Op, inputs: tuple[Tensor, ...], params: Mapping[str, Any]
    ) -> tuple[Tensor, ...]:
        self.check(inputs)
        return self.below.apply(op, inputs, params)

    def read(self, variable: Variable) -> Tensor:
        tensor = self.below.read(variable)
        if any(tape.watches(tensor) for tape in self._tapes):
            raise self._error(f"the Variable {variable.name}")
        return tensor

    def check(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            tag = tensor._tag
            if tag is None or tag >= self._began or tag in self._arguments:
                continue
            if any(tape.watches(tensor) for tape in self._tapes):
                raise self._error(f"a Tensor {tensor.type} that is watched")

    def _error(self, what: str) -> GradientError:
        return GradientError(
            f"custom_gradient of {self._name}: it uses {what}, which is not one of its positional "
            "arguments, so that grad_fn cannot give its gradient. Pass it as an argument."
        )
