"""FUSEJIT_CHECK=1: each replay is followed by the call itself, and both must agree.

The call is recorded anew, which is eager execution under observation. Compared are, in this order:

    what Python did   the new recording has the same ops on the same values, and no effects
    what came out     results and assigned Variables, bit for bit

Where a value differs, the graph runs once more with every intermediate value as a result, and each
op is compared with eager execution on the same operands; the first that differs is named. The
caller gets the eager result, and Variables are as eager execution leaves them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from ..device import on_host
from ..eager import run
from ..errors import CheckError
from ..frozen import replace
from ..ir.graph import GUARD, Constant, Graph, Node
from ..ir.interpreter import fold
from ..ir.numbering import Numbering
from ..op import Array, Contraction
from ..tensor import Tensor
from ..variable import Variable
from .record import Refusal, record
from .trace import BINDS, Program, Trace, array_of, value_at
from .tree import input_places

if TYPE_CHECKING:
    from .calls import Calls

CARRIED = 1e-3
"""How far results of products may drift apart, relative to the largest element: products are added
up in another order, within 2 K eps, and what follows may enlarge that. Only used where each op by
itself is right."""


def checked(calls: Calls, trace: Trace, flat: Sequence[Any]) -> Any:
    """Make a call that `trace` fits, fused and eagerly; the eager result.

    Raises:
        CheckError: the two differ: where, and how.
    """
    name = calls.function.__name__
    inputs = trace.conditions.inputs(*flat)
    variables = [v for v in (ref() for ref in trace.assigned) if v is not None]
    before = [v._value for v in variables]
    replayed = calls.paths.replay(flat)
    fused = [v._value for v in variables]
    for variable, value in zip(variables, before, strict=True):
        variable._value = value
    if inputs is None or replayed is None:
        return calls.parameters.call(calls.body, flat)  # as a replay that fails
    try:
        recording = record(calls.body, calls.parameters, flat)
    except Exception as error:
        raise CheckError(
            f"{name}: the call raises {type(error).__name__}: {error}; its replay went through."
        ) from error
    again = recording.outcome
    if isinstance(again, Refusal):
        raise CheckError(
            f"{name}: a replay skips what the call does: {again.reason} ({again.where})."
        )
    here = dict(zip(input_places(trace), inputs, strict=True))
    difference = _other_ops(trace, again, here, flat)
    if difference is None:
        eager = [v._value for v in variables]
        pairs = _pairs((replayed[0], fused), (recording.result, eager))
        arrays = list(map(array_of, inputs))
        difference = _other_values(trace.program.recorded, arrays, list(pairs))
    if difference is not None:
        raise CheckError(f"{name}: {difference}")
    return recording.result


# ---- what Python did


def _other_ops(
    one: Trace, other: Trace, here: Mapping[Hashable, Any], flat: Sequence[Any]
) -> str | None:
    """The first op at which two recordings part; `here` is what the first finds where."""
    numbering = Numbering()
    lists = [_listed(trace, numbering, here, flat) for trace in (one, other)]
    for (node, key), (other_node, other_key) in zip(*lists, strict=False):
        if key != other_key:
            return (
                f"the recording has {_described(node)} where the call now does "
                f"{_described(other_node)}: it reads something that changed unseen."
            )
    if len(lists[0]) != len(lists[1]):
        more = max(lists, key=len)[min(map(len, lists))][0]
        which = "only the recording" if len(lists[0]) > len(lists[1]) else "only the call now"
        return f"{which} goes on with {_described(more)}: it reads something that changed unseen."
    return None


def _listed(
    trace: Trace, numbering: Numbering, here: Mapping[Hashable, Any], flat: Sequence[Any]
) -> list[tuple[Node, Any]]:
    """Each node with what tells it from others. Inputs are told apart by the objects that they are
    in this call: what is one Tensor now may have been two when it was recorded."""
    graph = trace.program.recorded
    objects = list(map(here.get, input_places(trace)))
    for number, check in enumerate(trace.checks):
        if isinstance(check.expect, BINDS) and objects[check.expect.position] is None:
            objects[check.expect.position] = value_at(trace.checks, number, flat)
    numbers = numbering.of(graph, [numbering.number(_identity(each)) for each in objects])
    return [
        (n, (tuple(numbers[v] for v in (*n.inputs, *n.outputs)), n.params.get("expected")))
        for n in graph.nodes
    ]


def _identity(value: Any) -> Hashable:
    return value.hex() if isinstance(value, float) else id(value)


def _described(node: Node) -> str:
    """'multiply [2.0] (train.py:12)': with the constants among its operands, which may differ."""
    constants = [v.array.tolist() for v in node.inputs if isinstance(v, Constant)]
    read = node.params.get("expected", b"").hex()
    words = [node.op.name, *(str(constants) for _ in constants[:1]), *([read] if read else [])]
    return " ".join([*words, f"({node.where})"] if node.where else words)


# ---- what came out


def _pairs(fused: Any, eager: Any) -> Iterator[tuple[str, Any, Any]]:
    """The leaves of two results, and what to call them."""
    paths, leaves, tree = optree.tree_flatten_with_path(fused, none_is_leaf=True)
    others, other_tree = optree.tree_flatten(eager, none_is_leaf=True)
    if tree != other_tree:
        yield "the result", str(tree), str(other_tree)
        return
    for path, leaf, other in zip(paths, leaves, others, strict=True):
        kind = "variable" if path[0] else "result"
        yield f"{kind} {''.join(f'[{p!r}]' for p in path[1:])}".rstrip(), leaf, other


def _other_values(
    graph: Graph, arrays: Sequence[Array], pairs: Sequence[tuple[str, Any, Any]]
) -> str | None:
    """What differs, down to the op that is to blame."""
    for name, fused, eager in pairs:
        if not isinstance(fused, Tensor) or not isinstance(eager, Tensor):
            same = fused is eager if isinstance(fused, Variable) else fused == eager
            if type(fused) is not type(eager) or not (same or fused != fused):
                return f"{name} is {fused!r} fused, {eager!r} eager."
            continue
        one, other = on_host(fused._data), on_host(eager._data)
        if fused.device != eager.device:
            return f"{name} is on {fused.device} fused, on {eager.device} eager."
        if _same(one, other):
            continue
        blamed = _first_wrong_op(graph, arrays)
        if blamed is not None:
            return blamed
        products = any(isinstance(node.op, Contraction) for node in graph.nodes)
        if not (products and _near(one, other)):
            apart = _where(one, other)
            return f"{name} differs, although each op by itself is right: {apart}"
    return None


def _first_wrong_op(graph: Graph, arrays: Sequence[Array]) -> str | None:
    """The first op that gives something else in a plan than eagerly, on the same operands."""
    nodes = [node for node in graph.nodes if node.op is not GUARD]
    values = [value for node in nodes for value in node.outputs]
    program = Program(replace(graph, outputs=tuple(values), effects=()))
    found = dict(zip(values, program.run(arrays), strict=True))
    blamed: list[str] = []

    def compare(node: Node, operands: list[Array]) -> Sequence[Array]:
        if node.op is GUARD:
            return ()
        result = run(node.op, operands, node.params)
        eager = result if isinstance(result, tuple) else (result,)
        given = list(map(on_host, operands))
        for value, data in zip(node.outputs, eager, strict=True):
            one, other = on_host(found[value]), on_host(data)
            if not _agree(node, given, one, other):
                blamed.append(f"{_described(node)}: {_where(one, other)}")
        return [found[value] for value in node.outputs]

    with np.errstate(all="ignore"):
        fold(graph, list(arrays), compare, lambda constant: constant.array)
    return blamed[0] if blamed else None


def _agree(node: Node, operands: Sequence[Array], fused: Array, eager: Array) -> bool:
    """Equal bits; a product within 2 K eps sum |a||b|, as in the contract."""
    if _same(fused, eager):
        return True
    if not isinstance(node.op, Contraction) or eager.dtype.kind not in "fc":
        return False
    terms = max(operand.size for operand in operands)
    bound = node.op.eager([np.abs(operand) for operand in operands], node.params)
    bound = bound[0] if isinstance(bound, tuple) else bound
    allowed = 2 * terms * np.finfo(eager.dtype).eps * np.asarray(bound)
    return bool(np.all((np.abs(fused - eager) <= allowed) | (fused == eager)))


def _same(one: Array, other: Array) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tobytes() == other.tobytes() or bool(np.all(_equal(one, other)))


def _equal(one: Array, other: Array) -> Array:
    """Elementwise: the same bits, or both NaN."""
    bits = np.frombuffer(one.tobytes(), np.uint8).reshape(one.size, one.itemsize)
    others = np.frombuffer(other.tobytes(), np.uint8).reshape(other.size, other.itemsize)
    same = (bits == others).all(axis=1).reshape(one.shape)
    nan: Array = same | ((one != one) & (other != other))
    return nan


def _near(one: Array, other: Array) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    largest = float(np.max(np.abs(other), initial=0.0))
    return bool(np.all(np.abs(one - other) <= CARRIED * largest))


def _where(fused: Array, eager: Array) -> str:
    """The first element that differs: its indices, both values, and how far they are apart."""
    if fused.dtype != eager.dtype or fused.shape != eager.shape:
        one, other = (f"{a.dtype}{list(a.shape)}" for a in (fused, eager))
        return f"it is {one} fused, {other} eager."
    index = tuple(int(i) for i in np.argwhere(~_equal(fused, eager))[0])
    a, b = fused[index], eager[index]
    apart = f" ({_ulps(a, b):.4g} ulp apart)" if fused.dtype.kind == "f" else ""
    at = f"element {list(index)}" if index else "it"
    return f"{at} is {a} fused, {b} eager{apart}."


def _ulps(a: Any, b: Any) -> float:
    if not (np.isfinite(a) and np.isfinite(b)):
        return float("inf")
    return abs(float(a) - float(b)) / float(np.spacing(max(abs(a), abs(b))))
