"""The gradient tape: reverse-mode differentiation of whatever ran, to any order.

Terminology
    tag        a serial number given to a Tensor when a tape first cares about it. Entries name
               Tensors by tag, so that a tape keeps no value alive, and no number is ever reused.
    watched    a Tensor on whose value a source may depend: one passed to `watch`, a trainable
               Variable's value when read, or an output of an op that has a watched operand.
    rule       an op's `vjp`: gradients of the operands from gradients of the outputs (see `op`).
    entry      one recorded op: {tags of operands, tags of outputs, backward}, where `backward` is
               the rule bound to exactly what its signature asks for.
    target     what is differentiated.      source     with respect to what.

Recording. Every op passes the tape's `apply`, which lets the layers below run it. If an operand is
watched, the op is appended as an entry, and its floating outputs are watched from then on. Integers
and booleans have no gradient: they are never watched.

Playing back. The target's gradient is one. Entries are visited from the last to the first. One
whose outputs received gradients, and from whose operands a source can be reached, hands them to its
rule; what the rule returns is added to what the operands already have. When an entry is reached,
every use of its outputs has been visited, so their gradients are complete.

Order. The rules are written in ops, and these pass through dispatch like any others: an outer tape
records them, and so gradients of gradients need nothing more. A tape does not record its own
playback, except a persistent one that is asked inside its own `with` block.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from .. import dispatch
from ..config import config
from ..device import beside
from ..dtypes import TensorType
from ..eager import is_borrowed
from ..errors import GradientError, ShapeError
from ..frozen import frozen
from ..nonfinite import naming
from ..op import Elementwise, Op
from ..ops.arithmetic import add
from ..ops.shape import sum_to_shape
from ..origin import user_origin, where
from ..tensor import Tensor, as_operand, asarray
from ..variable import Variable
from . import trees
from .repeated import full
from .tags import is_differentiable, tag_of

Gradient: TypeAlias = "Tensor | None"
Backward: TypeAlias = Callable[[Sequence[Gradient]], Sequence[Gradient]]


@frozen
class Entry:
    """One recorded op. A tag is None where an operand or output takes no part."""

    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    backward: Backward


class GradientTape(dispatch.Handler):
    """Records the ops of a `with` block, to differentiate them afterwards.

    Trainable floating Variables are watched when they are read; Tensors are after `watch`.
    Assigning to a Variable is not differentiated. Tapes nest: an outer one records the gradient
    computations of an inner one.

    Args:
        persistent: whether `gradient` may be called more than once. The memory is then held for as
            long as the tape itself.
    Raises:
        GradientError: in the block, for an op without gradient that is applied to a watched value.
    Example:
        >>> import fusejit as fj
        >>> x = fj.constant(3.0)
        >>> with fj.GradientTape() as tape:
        ...     tape.watch(x)
        ...     y = x * x
        >>> float(tape.gradient(y, x))
        6.0
    """

    def __init__(self, persistent: bool = False) -> None:
        self._persistent = persistent
        self._recording = False
        self._spent = False
        self._entries: list[Entry] = []
        self._watched: set[int] = set()
        self._variables: dict[Variable, set[int]] = {}

    def __enter__(self) -> GradientTape:
        if self._recording:
            raise GradientError("GradientTape: this tape is already recording.")
        self._refuse_if_spent()
        dispatch.push(self)
        self._recording = True
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._stop()
        finally:
            self._stop()  # an interrupt may have come before it had begun

    def watch(self, tensor: Any) -> None:
        """Record what depends on `tensor` from now on.

        Args:
            tensor: a floating Tensor or Variable, or a container of them.
        Raises:
            GradientError: it is of integers or booleans, or no Tensor at all.
        """
        for leaf in trees.leaves(tensor):
            if not isinstance(leaf, (Tensor, Variable)):
                raise GradientError(f"watch: expected a Tensor, got {type(leaf).__name__}.")
            if not is_differentiable(leaf.dtype):
                raise GradientError(f"watch: {leaf.type} has no gradient; only floats have one.")
            if isinstance(leaf, Variable):
                self._variables.setdefault(leaf, set())
            else:
                self._watched.add(tag_of(leaf))

    def watches(self, tensor: Tensor) -> bool:
        """Whether the tape records what depends on `tensor`."""
        return tensor._tag in self._watched

    def watched_variables(self) -> tuple[Variable, ...]:
        """The Variables that are watched, in the order in which they were first read."""
        return tuple(self._variables)

    def gradient(self, target: Any, sources: Any, output_gradients: Any = None) -> Any:
        """The gradient of `target`, or of the sum of its elements, with respect to `sources`.

        Args:
            target: a floating Tensor, or a container of them: then of the sum of them all.
            sources: Tensors or Variables, in any nesting of containers.
            output_gradients: weights of the elements of target; ones if left out.
        Returns:
            Gradients, nested as `sources` is; None for a source on which target does not depend.
        Raises:
            GradientError: a second call, if the tape is not persistent; a target without gradient.
        Example:
            >>> import fusejit as fj
            >>> w = fj.Variable([1.0, 2.0])
            >>> with fj.GradientTape() as tape:
            ...     y = w * w
            >>> tape.gradient(y, [w])[0].tolist()
            [2.0, 4.0]
        """
        self._refuse_if_spent()
        seeds = _seeds(target, output_gradients)
        leaves, tree = trees.flatten(sources)
        tags = [self._tags(leaf) for leaf in leaves]
        if not self._persistent:
            self._stop()
            self._spent = True
        gradients = play(self._entries, seeds, set().union(*tags), keep=self._persistent)
        found = [_total(gradients, each) for each in tags]
        if self._spent:
            self._watched.clear()
            self._variables.clear()
        return tree.unflatten(found)

    def apply(
        self, op: Op, inputs: tuple[Tensor, ...], params: Mapping[str, Any]
    ) -> tuple[Tensor, ...]:
        outputs = self.below.apply(op, inputs, params)
        self.note(op, inputs, params, outputs)
        return outputs

    def note(
        self,
        op: Op,
        inputs: tuple[Tensor, ...],
        params: Mapping[str, Any],
        outputs: tuple[Tensor, ...],
    ) -> None:
        """Record an op that was applied, if the tape watches an operand."""
        for tensor in inputs:  # a set of the tags takes 0.1 us more, for every op under a tape
            if tensor._tag in self._watched:
                break
        else:
            return
        produced = tuple([tag_of(t) if is_differentiable(t.dtype) else None for t in outputs])
        tags = [tag for tag in produced if tag is not None]
        if not tags:
            return
        if op.vjp is None:
            raise GradientError(
                f"{op.name} at {where(user_origin())}: this op has no gradient, and a tape watches "
                "its operand. Give it one with custom_gradient, or compute it outside the tape."
            )
        consumed = tuple([t._tag if t._tag in self._watched else None for t in inputs])
        self._entries.append(Entry(consumed, produced, bind_rule(op, inputs, params, outputs)))
        self._watched.update(tags)

    def read(self, variable: Variable) -> Tensor:
        tensor = self.below.read(variable)
        if self._watches(variable):
            tag = tag_of(tensor)
            self._watched.add(tag)
            self._variables.setdefault(variable, set()).add(tag)
        return tensor

    def _watches(self, variable: Variable) -> bool:
        found = variable.trainable and is_differentiable(variable.dtype)
        return found or variable in self._variables

    def _tags(self, source: object) -> set[int]:
        if isinstance(source, Variable):
            return self._variables.get(source, set())
        if not isinstance(source, Tensor):
            raise GradientError(
                f"gradient: a source must be a Tensor or Variable, got {type(source).__name__}."
            )
        return set() if source._tag is None else {source._tag}

    def _refuse_if_spent(self) -> None:
        if self._spent:
            raise GradientError(
                "GradientTape: gradient() was already called, and its records are gone. Make the "
                "tape with persistent=True to call it more than once."
            )

    def _stop(self) -> None:
        if self._recording:
            dispatch.remove(self)
            self._recording = False


def play(
    entries: list[Entry], gradients: dict[int | None, Tensor], sources: set[int], *, keep: bool
) -> dict[int | None, Tensor]:
    """The backward walk: from gradients of targets, by tag, to those of sources.

    Gradients that are used up are dropped, and unless `keep` so are the entries, with their values.
    """
    relevant = _dependents(entries, sources)
    for entry in reversed(entries) if keep else _drained(entries):
        arrived = [
            gradients.get(tag) if tag in sources else gradients.pop(tag, None)
            for tag in entry.outputs
        ]
        if relevant.isdisjoint(entry.inputs) or all(g is None for g in arrived):
            continue
        for tag, gradient in zip(entry.inputs, entry.backward(arrived), strict=True):
            if tag is not None and tag in relevant and gradient is not None:
                _accumulate(gradients, tag, gradient)
    return gradients


def _dependents(entries: Iterable[Entry], sources: set[int]) -> set[int]:
    """The tags of all that depends on `sources`, themselves included."""
    found = set(sources)
    for entry in entries:
        if not found.isdisjoint(entry.inputs):
            found.update(tag for tag in entry.outputs if tag is not None)
    return found


def _drained(entries: list[Entry]) -> Iterator[Entry]:
    while entries:
        yield entries.pop()


def bind_rule(
    op: Op, inputs: tuple[Tensor, ...], params: Mapping[str, Any], outputs: tuple[Tensor, ...]
) -> Backward:
    """The rule of `op`, holding what its signature asks for and nothing else."""
    named = [name for name in op.wants if name not in ("g", "gs")]
    kept = {name: _wanted(name, op, inputs, params, outputs) for name in named}
    several = [t.type for t in outputs] if len(outputs) > 1 else None
    shapes = [t.shape if isinstance(op, Elementwise) else None for t in inputs]
    backward: Backward = functools.partial(_apply_rule, op, kept, several, shapes)
    if config.settings.debug_nans:
        backward = naming(op, outputs[0]._origin, backward)
    return functools.partial(_trusted, backward) if op.registered else backward


def _trusted(backward: Backward, arrived: Sequence[Gradient]) -> Sequence[Gradient]:
    """The rule of a registered op is pure by contract, wherever it was declared."""
    found: Sequence[Gradient] = dispatch.top().trusted(backward, arrived)
    return found


def _wanted(
    name: str,
    op: Op,
    inputs: tuple[Tensor, ...],
    params: Mapping[str, Any],
    outputs: tuple[Tensor, ...],
) -> Any:
    if name in params:
        return params[name]
    if name in op.inputs and not op.variadic:
        return _owned(inputs[op.inputs.index(name)])
    if name == "y":
        return outputs[0]
    if name == "ys":
        return outputs
    if name == "xs":
        return tuple(map(_owned, inputs))
    if name == "types":
        return tuple(t.type for t in inputs)
    if name.endswith("_type") and name[:-5] in op.inputs:
        return inputs[op.inputs.index(name[:-5])].type
    raise GradientError(
        f"{op.name}: its gradient rule asks for `{name}`, which is no operand, output or parameter."
    )


def _owned(tensor: Tensor) -> Tensor:
    """`tensor`, with a copy of its memory if that is an ndarray which the user may write."""
    if is_borrowed(tensor._data):
        tensor._data = tensor._data.copy()
    return tensor


def _apply_rule(
    op: Op,
    kept: Mapping[str, Any],
    several: Sequence[TensorType] | None,
    shapes: Sequence[tuple[int, ...] | None],
    arrived: Sequence[Gradient],
) -> Sequence[Gradient]:
    assert op.vjp is not None
    arguments = dict(kept)
    there = next(g for g in arrived if g is not None)
    if "g" in op.wants and several is None:
        arguments["g"] = arrived[0]
    elif "g" in op.wants:
        pairs = zip(arrived, several or (), strict=True)
        arguments["g"] = tuple(full(t, 0, there.device) if g is None else g for g, t in pairs)
    if "gs" in op.wants:
        arguments["gs"] = tuple(arrived)
    with beside(there):
        found = op.vjp(**arguments)
    if not isinstance(found, (tuple, list)):
        kind = type(found).__name__
        raise GradientError(f"{op.name}: its gradient rule returned a {kind}, not a tuple.")
    if len(found) != len(shapes):
        raise GradientError(
            f"{op.name}: its rule returned {len(found)} gradients for {len(shapes)} operands."
        )
    gradients = zip(found, shapes, strict=True)
    return [g if g is None or shape is None else sum_to_shape(g, shape) for g, shape in gradients]


def _seeds(target: Any, output_gradients: Any) -> dict[int | None, Tensor]:
    """The gradients with which playback begins, by tag."""
    targets, tree = trees.flatten(target)
    weights: list[Any] = [None] * len(targets)
    if output_gradients is not None:
        weights = tree.flatten_up_to(output_gradients)
    seeds: dict[int | None, Tensor] = {}
    for leaf, weight in zip(targets, weights, strict=True):
        if not isinstance(leaf, (Tensor, Variable)) or not is_differentiable(leaf.dtype):
            got = leaf.type if isinstance(leaf, (Tensor, Variable)) else type(leaf).__name__
            raise GradientError(f"gradient: the target must be a floating Tensor, got {got}.")
        tensor = as_operand(leaf)
        kind = tensor.type
        with beside(tensor):
            given = None if weight is None else asarray(weight, dtype=kind.dtype)
        seed = full(kind, 1, tensor.device) if given is None else given
        if seed.shape != kind.shape:
            expected = f"expected {kind}, got {seed.type}"
            raise ShapeError(f"gradient: output_gradients must fit the target: {expected}.")
        if tensor._tag is not None:
            _accumulate(seeds, tensor._tag, seed)
    return seeds


def _accumulate(gradients: dict[int | None, Tensor], tag: int, gradient: Tensor) -> None:
    known = gradients.get(tag)
    gradients[tag] = gradient if known is None else add(known, gradient)


def _total(gradients: Mapping[int | None, Tensor], tags: Iterable[int]) -> Gradient:
    """What has arrived at any of `tags`, added up; None if nothing has."""
    found = [gradients[tag] for tag in sorted(tags) if tag in gradients]
    return functools.reduce(add, found) if found else None


OPENS_TAPE = GradientTape.__enter__.__code__
"""What runs where a body opens a tape."""
