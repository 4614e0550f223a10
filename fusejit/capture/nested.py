"""How the result of a call is nested: plain containers by the few lines here, others by optree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..autodiff import trees
from ..frozen import frozen
from ..tensor import Tensor
from ..variable import Variable

_LEAVES = {Tensor, Variable, type(None), bool, int, float, complex, str, bytes}
"""By exact class, so that what is most often returned needs no optree; others it knows better."""


@frozen(eq=False)
class Nested:
    """A container: `make(*items)` is one again. An item that is None is the place of a leaf."""

    kind: type
    make: Callable[..., Any]
    items: tuple[Nested | None, ...]
    keys: tuple[Any, ...] = ()  # of a dict


def flatten(value: Any, leaves: list[Any], containers: list[Any]) -> Nested | None:
    """How `value` is nested; its leaves and its containers are appended to what is given."""
    kind = type(value)
    if kind in _LEAVES:
        leaves.append(value)
        return None
    keys: tuple[Any, ...] = ()
    make: Callable[..., Any]
    if kind is tuple or kind is list:
        held, make = value, lambda *items: kind(items)
    elif kind is dict:
        keys = tuple(value)
        held, make = value.values(), lambda *items: dict(zip(keys, items, strict=True))
    else:
        held, spec = trees.one_level(value)
        if spec.is_leaf():
            leaves.append(value)
            return None
        make = kind if trees.is_namedtuple(spec) else lambda *items: spec.unflatten(items)
    containers.append(value)
    return Nested(kind, make, tuple(flatten(each, leaves, containers) for each in held), keys)


def build(nested: Nested | None, leaves: Iterator[Any]) -> Any:
    """What `flatten` took apart, of other leaves."""
    if nested is None:
        return next(leaves)
    return nested.make(*[build(item, leaves) for item in nested.items])
