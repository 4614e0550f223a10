"""Functions that turn a function into one that computes its gradients."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import GradientError
from ..ops.shape import reshape_
from ..tensor import Tensor, asarray
from ..variable import Variable
from . import trees
from .repeated import full
from .tags import is_differentiable
from .tape import GradientTape

if TYPE_CHECKING:
    from optree import PyTreeSpec

Parameters: TypeAlias = "int | str | Sequence[int | str] | None"
Key: TypeAlias = "int | str"  # a position, or the name of an argument passed by keyword


def gradients_function(f: Callable[..., Any], params: Parameters = None) -> Callable[..., Any]:
    """A function that returns the gradients of `f` with respect to its arguments.

    If f returns more than one number, the gradients are of the sum of all that it returns.

    Args:
        f: a function of Tensors that returns a Tensor, or a container of them.
        params: names or positions of the arguments to differentiate; default all positional ones.
    Returns:
        A function of f's arguments. It returns a list of one gradient an argument: nested as the
        argument is, zeros where f does not depend on it, None for what holds no floats.
    Raises:
        GradientError: when called, if there is no such argument or it holds no floats, or if f
            returns no floating Tensor.
    Example:
        >>> import fusejit as fj
        >>> grad = fj.gradients_function(lambda a, b: a * b)
        >>> [float(g) for g in grad(3.0, 4.0)]
        [4.0, 3.0]
    """
    compute = value_and_gradients_function(f, params)

    def gradients(*args: Any, **kwargs: Any) -> list[Any]:
        found: list[Any] = compute(*args, **kwargs)[1]
        return found

    made = _described(gradients, "gradients_function", f)
    return _replayed(made, f, ("gradients", _frozen(params)), _with_tensors(f, params))


def value_and_gradients_function(
    f: Callable[..., Any], params: Parameters = None
) -> Callable[..., Any]:
    """A function that returns what `f` returns, and the gradients, as `gradients_function` does.

    Args:
        f: as for `gradients_function`.
        params: as for `gradients_function`.
    Returns:
        A function of f's arguments that returns (value, list of gradients).
    Raises:
        GradientError: as for `gradients_function`.
    Example:
        >>> import fusejit as fj
        >>> value, (gradient,) = fj.value_and_gradients_function(lambda x: x * x)(3.0)
        >>> float(value), float(gradient)
        (9.0, 6.0)
    """

    def value_and_gradients(*args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
        call = list(args)
        sources = [
            _make_leaves(call, kwargs, key, strict=params is not None)
            for key in _keys(f, params, args, kwargs)
        ]
        floats = [leaf for leaves, _ in sources for leaf in leaves if leaf is not None]
        if not floats:
            kinds = ", ".join(map(_describe, args)) or "nothing"
            raise GradientError(f"gradients of {name_of(f)}: expected a float, got {kinds}.")
        with _ArgumentTape() as tape:
            tape.watch(floats)
            value = f(*call, **kwargs)
        found = iter(_zeros_for_none(tape.gradient(_targets(f, value), floats), floats))
        return value, [
            tree.unflatten(None if leaf is None else next(found) for leaf in leaves)
            for leaves, tree in sources
        ]

    made = _described(value_and_gradients, "value_and_gradients_function", f)
    return _replayed(made, f, ("value and gradients", _frozen(params)), _with_tensors(f, params))


def implicit_gradients(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns the gradients of `f` with respect to the Variables that it reads.

    Args:
        f: a function that returns a Tensor, or a container of them: then their sum counts.
    Returns:
        A function of f's arguments. It returns a list of (gradient, variable) for every trainable
        floating Variable that f read, in the order of their first reads; zeros where f does not
        depend on it.
    Raises:
        GradientError: when called, if f reads no such Variable or returns no floating Tensor.
    Example:
        >>> import fusejit as fj
        >>> w = fj.Variable(2.0, name="w")
        >>> [(float(g), v.name) for g, v in fj.implicit_gradients(lambda x: w * x)(3.0)]
        [(3.0, 'w')]
    """
    compute = implicit_value_and_gradients(f)

    def gradients(*args: Any, **kwargs: Any) -> list[tuple[Tensor, Variable]]:
        found: list[tuple[Tensor, Variable]] = compute(*args, **kwargs)[1]
        return found

    if isinstance(f, types.MethodType) and hasattr(type(f.__func__), "__derive__"):
        return functools.partial(implicit_gradients(f.__func__), f.__self__)
    return _replayed(_described(gradients, "implicit_gradients", f), f, ("implicit",))


def implicit_value_and_gradients(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns what `f` returns, and the gradients, as `implicit_gradients` does.

    Args:
        f: as for `implicit_gradients`.
    Returns:
        A function of f's arguments that returns (value, list of (gradient, variable)).
    Raises:
        GradientError: as for `implicit_gradients`.
    Example:
        >>> import fusejit as fj
        >>> w = fj.Variable(2.0, name="w")
        >>> value, pairs = fj.implicit_value_and_gradients(lambda x: w * x)(3.0)
        >>> float(value), len(pairs)
        (6.0, 1)
    """

    def value_and_gradients(*args: Any, **kwargs: Any) -> tuple[Any, list[tuple[Tensor, Variable]]]:
        with GradientTape() as tape:
            value = f(*args, **kwargs)
        variables = list(tape.watched_variables())
        if not variables:
            raise GradientError(f"gradients of {name_of(f)}: it read no trainable Variable.")
        found = tape.gradient(_targets(f, value), variables)
        return value, list(zip(_zeros_for_none(found, variables), variables, strict=True))

    if isinstance(f, types.MethodType) and hasattr(type(f.__func__), "__derive__"):
        return functools.partial(implicit_value_and_gradients(f.__func__), f.__self__)
    made = _described(value_and_gradients, "implicit_value_and_gradients", f)
    return _replayed(made, f, ("value and implicit",))


# ---- of decorated functions: one plan for the value and the gradients

Arguments: TypeAlias = "tuple[Sequence[Any], dict[str, Any]]"


def _replayed(
    made: Callable[..., Any],
    f: Callable[..., Any],
    key: Hashable,
    prepare: Callable[[Sequence[Any], dict[str, Any]], Arguments] | None = None,
) -> Callable[..., Any]:
    """`made`, recorded and replayed as a whole if `f` is a decorated function.

    Such a function has `__derive__(key, made)`, which decorates `made` likewise, once for each key.
    Calls with Python floats that are no Tensors even after `prepare` run `made` itself: its plan
    would be recorded again for every number.
    """
    derive = getattr(type(f), "__derive__", None)
    if derive is None:
        return made
    replay = derive(f, key, made)

    @functools.wraps(made)
    def call(*args: Any, **kwargs: Any) -> Any:
        given: Sequence[Any] = args
        if kwargs or not _ONLY_TENSORS.issuperset(map(type, args)):
            if prepare is not None:
                given, kwargs = prepare(args, kwargs)
            if float in map(type, (*given, *kwargs.values())):
                return made(*given, **kwargs)
        return replay(*given, **kwargs)

    return call


_ONLY_TENSORS = frozenset([Tensor])


def _frozen(params: Parameters) -> Hashable:
    return params if params is None or isinstance(params, (int, str)) else tuple(params)


def _with_tensors(
    f: Callable[..., Any], params: Parameters
) -> Callable[[Sequence[Any], dict[str, Any]], Arguments]:
    """What makes Tensors of the numbers and ndarrays in the arguments to differentiate."""

    def prepare(args: Sequence[Any], kwargs: dict[str, Any]) -> Arguments:
        positional, named = list(args), dict(kwargs)
        for key in _keys(f, params, tuple(args), kwargs):
            place: Any = named if isinstance(key, str) else positional
            place[key] = trees.map_leaves(_tensor_of, place[key], is_array)
        return positional, named

    return prepare


def _tensor_of(leaf: Any) -> Any:
    if isinstance(leaf, (Tensor, Variable)) or not holds_floats(leaf):
        return leaf
    return asarray(leaf)


class _ArgumentTape(GradientTape):
    """Watches arguments only: what depends on Variables alone is neither kept nor played back."""

    def _watches(self, variable: Variable) -> bool:
        return False


def _keys(
    f: Callable[..., Any], params: Parameters, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Key]:
    """Which arguments of this call `params` means."""
    if params is None:
        return list(range(len(args)))
    listed: list[Key] = [params] if isinstance(params, (int, str)) else list(params)
    keys = [_key(f, param, args, kwargs) for param in listed]
    if len(set(keys)) != len(keys):
        raise GradientError(f"gradients of {name_of(f)}: {params!r} names an argument twice.")
    return keys


def _key(f: Callable[..., Any], param: Key, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key:
    if param in kwargs:
        return param
    position = param if isinstance(param, int) else _position(f, param)
    if not -len(args) <= position < len(args):
        raise GradientError(
            f"gradients of {name_of(f)}: argument {param!r} was not passed: "
            f"there are {len(args)} positional ones and {', '.join(kwargs) or 'none by name'}."
        )
    return position % len(args)


def _position(f: Callable[..., Any], name: str) -> int:
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):  # some builtins have no signature
        names = []
    if name not in names:
        raise GradientError(
            f"gradients of {name_of(f)}: there is no argument {name!r}; "
            f"its arguments are {', '.join(names) or 'not known by name'}."
        )
    return names.index(name)


def _make_leaves(
    args: list[Any], kwargs: dict[str, Any], key: Key, *, strict: bool
) -> tuple[list[Tensor | None], PyTreeSpec]:
    """Put new Tensors in place of the floats of one argument; return them and how they nest.

    They are new even where a Tensor was passed: f(x, x) has two partial derivatives, and an x that
    f reaches in another way is a constant.
    """
    given = kwargs[key] if isinstance(key, str) else args[key]
    leaves, tree = trees.flatten(given, is_array)
    made = [_fresh(leaf) if holds_floats(leaf) else None for leaf in leaves]
    if strict and all(leaf is None for leaf in made):
        raise GradientError(f"gradients: argument {key!r} holds no floats; got {_describe(given)}.")
    new = [leaf if fresh is None else fresh for leaf, fresh in zip(leaves, made, strict=True)]
    if isinstance(key, str):
        kwargs[key] = tree.unflatten(new)
    else:
        args[key] = tree.unflatten(new)
    return made, tree


def _fresh(leaf: Any) -> Tensor:
    tensor = asarray(leaf)
    if isinstance(leaf, (Tensor, Variable)):
        # A reshape to the same shape copies nothing, and outer tapes differentiate through it.
        return reshape_(tensor, shape=tensor.shape)
    return tensor


def is_array(value: object) -> bool:
    """Whether a list is nested numbers: one array argument, not a container of arguments."""
    if not isinstance(value, list):
        return False
    return bool(value) and all(type(v) in (bool, int, float, complex) or is_array(v) for v in value)


def holds_floats(leaf: Any) -> bool:
    if isinstance(leaf, (Tensor, Variable, np.ndarray, np.generic)):
        return is_differentiable(leaf.dtype)
    if isinstance(leaf, list):
        return any(holds_floats(item) for item in leaf)
    return isinstance(leaf, (float, complex))


def _targets(f: Callable[..., Any], value: Any) -> list[Tensor | Variable]:
    leaves = trees.leaves(value)
    found = [v for v in leaves if isinstance(v, (Tensor, Variable)) and is_differentiable(v.dtype)]
    if not found:
        raise GradientError(
            f"gradients of {name_of(f)}: it must return a floating Tensor, got {_describe(value)}. "
            "What became a Python number or an ndarray on the way is not differentiated."
        )
    return found


def _zeros_for_none(gradients: Sequence[Any], sources: Sequence[Any]) -> list[Tensor]:
    pairs = zip(gradients, sources, strict=True)
    return [full(source.type, 0, source.device) if g is None else g for g, source in pairs]


def _describe(value: object) -> str:
    if isinstance(value, (Tensor, Variable)):
        return str(value.type)
    return f"{type(value).__name__} {value!r}" if isinstance(value, int) else type(value).__name__


def name_of(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", repr(f))


def _described(made: Callable[..., Any], maker: str, f: Callable[..., Any]) -> Callable[..., Any]:
    """`made` with the signature and documentation of `f`, under a name of its own."""
    functools.update_wrapper(made, f, updated=())
    made.__name__ = made.__qualname__ = f"{maker}({name_of(f)})"
    return made
