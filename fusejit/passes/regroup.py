"""Regroup: a sum of matrix products becomes one product over their joined inner axes.

    A1 @ B1 + A2 @ B2 + ... + c  =  concat(A1, A2, ...) @ concat(B1, B2, ...) + c
    sum(x1) + sum(x2) + ...      =  sum(concat(x1, x2, ...)), over the leading axis

The gradient of a weight that an unrolled loop uses T times is such a sum: T small products, each
written, read again and added. One product over T times the inner axis has the same arithmetic and
writes its result once. Kernels that compute the operands write them straight into their place in
the joined array (see `lower`), so joining costs no copies, only memory: the operands of all steps
are alive until the last.

Terminology
    tree    adds of one type, each but the last (the root) used once, by another add of the tree
    leaf    an operand of a tree's adds that is not one of these adds
    term    a leaf that is a product, or a reduction, used nowhere else
    join    the operands of several terms as one array: a view if they are neighbours in memory
            already, else a concat

Sums of a leading axis are regrouped only where a product has their operands joined anyway. The
other leaves of a tree are added as before. The result differs from the sum by rounding alone:
within 2 K eps sum |a| |b|, for the whole inner extent K.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..frozen import frozen, replace
from ..ir.builder import Builder, renamed_results, with_inputs
from ..ir.graph import Graph, Node, Value
from ..op import Assembly
from ..ops.arithmetic import add
from ..ops.join import concat_
from ..ops.reduce import sum_
from ..ops.shape import permute_dims_, reshape_, slice_
from .clean import cse, dce
from .kinds import is_blas, is_compiled_reduction, is_pointwise, size_in_bytes
from .memory import note

PASSES_SAVED = 2
"""Times that the memory of a product is walked for its sake: it is written, and read by the add."""
PASSES_OF_COPY = 2
"""Times that the memory of an operand is walked if a kernel copies it into the join."""
PASSES_OF_SECOND_STORE = 1
"""The same if the operand has a place already: the loop that computes it stores it in both."""
MAX_JOINED = 1 << 28
"""Bytes of a join: 256 MiB. All of it is alive until the last term, where before one term's share
was at a time; it is of the size of what the forward part keeps for the backward part anyway."""

Operands = tuple[Value, ...]


@frozen(eq=False)
class Tree:
    """A sum: its adds, the root last, and its leaves, each in the order of the graph."""

    adds: tuple[Node, ...]
    leaves: tuple[Value, ...]


@frozen(eq=False)
class Terms:
    """Terms of one tree that become one, and what is joined along which axis for them."""

    tree: Tree
    nodes: tuple[Node, ...]
    joins: tuple[tuple[Operands, int], ...]
    transposed: tuple[bool, ...]  # whether an operand is the transpose of its join


def regroup(graph: Graph) -> Graph:
    """Make one product of each sum of products for which that moves less memory."""
    found = _Finder(graph)
    if not found.chosen:
        return replace(graph, notes=(*graph.notes, *found.notes), stage="after regroup")
    after = dce(cse(_rebuilt(graph, found.chosen)))
    return replace(after, notes=(*graph.notes, *found.notes), stage="after regroup")


class _Finder:
    """What to regroup: `chosen`, by the root of each tree, and `notes` about what is left alone."""

    def __init__(self, graph: Graph) -> None:
        self.producers = graph.producers()
        self.uses = graph.uses()
        self.results = set(graph.results)
        self.position = {v: i for i, node in enumerate(graph.nodes) for v in node.outputs}
        self.notes: list[str] = []
        self.chosen: dict[Node, list[Terms]] = {}
        self._joined: set[tuple[Operands, int]] = set()
        self._assembled = {
            v for node in graph.nodes if isinstance(node.op, Assembly) for v in node.inputs
        }
        trees = list(self._trees(graph))
        for tree in trees:
            for terms in self._products(tree):
                if self._pays(terms):
                    self._choose(terms)
        for tree in trees:
            for terms in self._reductions(tree):
                if self._joined.issuperset(terms.joins):
                    self._choose(terms)

    def _choose(self, terms: Terms) -> None:
        self.chosen.setdefault(terms.tree.adds[-1], []).append(terms)
        self._joined.update(terms.joins)

    # ---- trees and their terms

    def _trees(self, graph: Graph) -> Iterator[Tree]:
        inner: set[Node] = set()
        for root in reversed(graph.nodes):
            if not _adds(root) or root in inner:
                continue
            adds, leaves, stack = [root], [], [*root.inputs]
            while stack:
                value = stack.pop()
                node = self._only_used_here(value)
                if node is not None and _adds(node):
                    inner.add(node)
                    adds.append(node)
                    stack.extend(node.inputs)
                else:
                    leaves.append(value)
            if len(leaves) > 1:
                yield Tree(
                    tuple(sorted(adds, key=lambda node: self.position[node.outputs[0]])),
                    tuple(leaves),
                )

    def _only_used_here(self, value: Value) -> Node | None:
        """The node that makes `value`, if one operand of one node is all that reads it."""
        if len(self.uses[value]) > 1 or value in self.results:
            return None
        return self.producers.get(value)

    def _terms(self, tree: Tree) -> list[Node]:
        """The terms in the reverse order of their operands: that of time, for a backward part."""
        made = [self._only_used_here(leaf) for leaf in tree.leaves]
        return sorted((n for n in made if n is not None), key=self._made_at, reverse=True)

    def _made_at(self, term: Node) -> int:
        return max(self.position.get(v, -1) for v in map(self._source, term.inputs))

    def _source(self, value: Value) -> Value:
        """What a transpose is of, or the value itself."""
        node = self.producers.get(value)
        return node.inputs[0] if node is not None and _transposes(node) else value

    def _products(self, tree: Tree) -> Iterator[Terms]:
        """Products whose operands are transposed alike are one group."""
        groups: dict[tuple[bool, ...], list[Node]] = {}
        for node in self._terms(tree):
            if is_blas(node) and len(node.outputs[0].type.shape) == 2:
                form = tuple(self._source(v) is not v for v in node.inputs)
                groups.setdefault(form, []).append(node)
        for form, nodes in groups.items():
            if len(nodes) > 1:
                sides = zip(*(map(self._source, node.inputs) for node in nodes), strict=True)
                axes = (1 - form[0], int(form[1]))  # where the inner axis is in what is joined
                joins = tuple((tuple(side), axis) for side, axis in zip(sides, axes, strict=True))
                yield Terms(tree, tuple(nodes), joins, form)

    def _reductions(self, tree: Tree) -> Iterator[Terms]:
        nodes = tuple(n for n in self._terms(tree) if n.op is sum_ and _leads(n))
        if len(nodes) > 1:
            yield Terms(tree, nodes, ((tuple(n.inputs[0] for n in nodes), 0),), (False,))

    # ---- what it costs

    def _pays(self, terms: Terms) -> bool:
        """Whether a group moves less memory than its terms; a note if not."""
        if max(_bytes(join) for join, _ in terms.joins) > MAX_JOINED:
            return self._refuse(terms, f"its operands together have more than {MAX_JOINED} bytes")
        saved = PASSES_SAVED * _bytes([node.outputs[0] for node in terms.nodes[1:]])
        copied = sum(self._copied(*join) for join in terms.joins)
        if copied > saved:
            what = "joining its operands with those of the other products of the sum"
            return self._refuse(terms, f"{what} moves {copied} bytes to save {saved}")
        return True

    def _refuse(self, terms: Terms, reason: str) -> bool:
        self.notes.append(note(terms.nodes[0], terms.tree.adds[-1], reason))
        return False

    def _copied(self, operands: Operands, axis: int) -> int:
        """Bytes moved to join the operands."""
        if (operands, axis) in self._joined or neighbours(operands, axis, self.producers):
            return 0
        return sum(self._passes(v, axis) * size_in_bytes(v) for v in operands)

    def _passes(self, value: Value, axis: int) -> int:
        """How often the memory of an operand is walked to bring it into the join (see `lower`)."""
        node = self.producers.get(value)
        if node is None:
            return PASSES_OF_COPY
        loop = is_pointwise(node)
        if value not in self.results and value not in self._assembled:
            compiled = loop or is_blas(node) or is_compiled_reduction(node)
            if axis == 0 and (compiled or isinstance(node.op, Assembly)):
                return 0  # it is made there, and whatever else reads it finds it there
            if loop and len(self.uses[value]) == 1:
                return 0
        return PASSES_OF_SECOND_STORE if loop else PASSES_OF_COPY


def neighbours(
    operands: Operands, axis: int, producers: Mapping[Value, Node]
) -> tuple[Value, int] | None:
    """(x, i) if the operands are x[i], x[i + 1], ...: then their join is a slice of x."""
    found = [_row(v, producers) for v in operands]
    first = found[0]
    if axis or first is None:
        return None
    base, start = first
    return first if found == [(base, start + i) for i in range(len(operands))] else None


def _row(value: Value, producers: Mapping[Value, Node]) -> tuple[Value, int] | None:
    """(x, i) if `value` is x[i]."""
    outer = producers.get(value)
    inner = producers.get(outer.inputs[0]) if outer is not None and outer.op is reshape_ else None
    if inner is None or inner.op is not slice_:
        return None
    (base,) = inner.inputs
    (start, _, length), *others = inner.params["ranges"]
    whole = all(
        (begin, step, n) == (0, 1, extent)
        for (begin, step, n), extent in zip(others, base.type.shape[1:], strict=True)
    )
    return (base, start) if length == 1 and whole else None


def _adds(node: Node) -> bool:
    """Whether the node adds two arrays of its own type."""
    return node.op is add and all(v.type == node.outputs[0].type for v in node.inputs)


def _transposes(node: Node) -> bool:
    return node.op is permute_dims_ and node.params["axes"] == (1, 0)


def _leads(node: Node) -> bool:
    return bool(node.params["axes"] == (0,)) and not node.params["keepdims"]


def _bytes(values: Sequence[Value]) -> int:
    return sum(map(size_in_bytes, values))


# ---- rewriting


def _rebuilt(graph: Graph, chosen: Mapping[Node, list[Terms]]) -> Graph:
    """`graph` with the chosen trees replaced, at their roots; what they replace is dead code."""
    producers = graph.producers()
    new: dict[Value, Value] = {}
    builder = Builder(graph.name)
    for node in graph.nodes:
        if node in chosen:
            (root,) = node.outputs
            new[root] = _sum(chosen[node], builder, new, producers)
        else:
            builder.nodes.append(with_inputs(node, new))
    return replace(renamed_results(graph, new), nodes=tuple(builder.nodes))


def _sum(
    groups: Sequence[Terms],
    builder: Builder,
    new: Mapping[Value, Value],
    producers: Mapping[Value, Node],
) -> Value:
    """The adds of a tree again, with one term for each group in the place of its first."""
    tree = groups[0].tree
    now: dict[Value, Value | None] = {}
    order = {v: i for i, v in enumerate(v for node in tree.adds for v in node.inputs)}
    for terms in groups:
        first, *rest = sorted(terms.nodes, key=lambda n: order[n.outputs[0]])
        now[first.outputs[0]] = _one(terms, builder, new, producers)
        now.update((node.outputs[0], None) for node in rest)
    for node in tree.adds:
        operands = [now.get(v, new.get(v, v)) for v in node.inputs]
        kept = [v for v in operands if v is not None]
        (result,) = node.outputs
        if len(kept) == 2:
            (now[result],) = builder.add(add, kept, {}, where=node.where)
        else:
            now[result] = kept[0] if kept else None
    total = now[tree.adds[-1].outputs[0]]
    assert total is not None, "the first term of a group is kept"
    return total


def _one(
    terms: Terms, builder: Builder, new: Mapping[Value, Value], producers: Mapping[Value, Node]
) -> Value:
    """The term that stands for a group."""
    model = terms.nodes[0]
    operands = []
    for (join, axis), transposed in zip(terms.joins, terms.transposed, strict=True):
        (operand,) = _join(join, axis, model.where, builder, new, producers)
        if transposed:
            (operand,) = builder.add(permute_dims_, (operand,), {"axes": (1, 0)}, where=model.where)
        operands.append(operand)
    (result,) = builder.add(model.op, operands, model.params, where=model.where)
    return result


def _join(
    operands: Operands,
    axis: int,
    where: str | None,
    builder: Builder,
    new: Mapping[Value, Value],
    producers: Mapping[Value, Node],
) -> tuple[Value, ...]:
    found = neighbours(operands, axis, producers)
    if found is None:
        return builder.add(concat_, [new.get(v, v) for v in operands], {"axis": axis}, where=where)
    base, start = found
    base = new.get(base, base)
    count, rest = len(operands), base.type.shape[1:]
    ranges = ((start, 1, count), *((0, 1, n) for n in rest))
    rows = sum(v.type.shape[0] for v in operands)
    (part,) = builder.add(slice_, (base,), {"ranges": ranges}, where=where)
    return builder.add(
        reshape_, (part,), {"shape": (rows, *operands[0].type.shape[1:])}, where=where
    )
