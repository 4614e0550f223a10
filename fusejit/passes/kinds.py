"""What a node can become in a kernel. Only the kind of its op and its dtypes decide."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..dtypes import COMPILED
from ..ir.graph import Constant, Node, Value
from ..op import Contraction, Elementwise, Reduction, Source, Transfer, View
from ..scalar import F32, F64, Program


def is_pointwise(node: Node) -> bool:
    """Whether the node is an elementwise op that compiles for its dtypes."""
    return _program(node) is not None


def is_view(node: Node) -> bool:
    """Whether kernels look through the node (views of dtypes without code are NumPy's)."""
    if isinstance(node.op, Transfer) and node.params["device"] != node.params["origin"]:
        return False
    return isinstance(node.op, View) and COMPILED.issuperset(_dtypes(node))


def is_compiled_reduction(node: Node) -> bool:
    """Whether the node is a reduction that compiles for its dtype."""
    return isinstance(node.op, Reduction) and COMPILED.issuperset(_dtypes(node))


def is_blas(node: Node) -> bool:
    """Whether the node is a matrix product that BLAS computes."""
    return isinstance(node.op, Contraction) and node.outputs[0].type.dtype in (F32, F64)


def is_source(node: Node) -> bool:
    """Whether the node's elements are functions of their place alone."""
    return isinstance(node.op, Source)


def instructions(node: Node) -> int:
    """How many scalar instructions one element of the node takes."""
    program = _program(node)
    return 1 if program is None else len(program.instrs)


def is_cheap(node: Node) -> bool:
    """Whether one element takes one array read and one instruction: a cast, x + 1, -x, x * x.

    Then to compute it again, wherever it is read, costs less than a loop and an array of its own.
    A single element is no array: it is read once.
    """
    program = _program(node)
    if program is None:
        return False
    done = _primitives(program)
    if len(done) > 1 or not _SLOW.isdisjoint(done):
        return False
    return len({v for v in node.inputs if not isinstance(v, Constant) and v.type.size != 1}) <= 1


def work(node: Node) -> tuple[str, ...]:
    """The primitives that compute one element of a pointwise node; none for other nodes."""
    program = _program(node)
    return () if program is None else _primitives(program)


def _program(node: Node) -> Program | None:
    op = node.op
    return op.program(_dtypes(node), node.params) if isinstance(op, Elementwise) else None


@lru_cache(maxsize=4096)  # as many as there are programs, see `op`
def _primitives(program: Program) -> tuple[str, ...]:
    return tuple([i.prim for i in program.instrs if i.prim not in ("arg", "const")])


def size_in_bytes(value: Value) -> int:
    """How much memory `value` takes if it is stored."""
    return value.type.size * value.type.dtype.itemsize


_SLOW = frozenset({"div", "rem", "sqrt"})


def _dtypes(node: Node) -> tuple[Any, ...]:
    return tuple([v.type.dtype for v in node.inputs])  # twice as fast as a generator
