"""The known paths of one function: its trace trees, and what native code searches them with."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ..backends.llvm.native import uninstall
from ..config import config
from ..device import CPU, current
from ..frozen import frozen
from .trace import Branch, Trace, as_walked, straighten

if TYPE_CHECKING:
    from ..backends.llvm.callable import Entry, Installed
    from .function import Function
    from .parameters import Parameters
    from .tree import Tree

MAX_ROOTS = 64
"""Trees kept for a function, the least recently recorded dropped first. Each holds some 10 KB and
is looked at in turn by a call that none of the first fits, at about 0.2 us each."""
MAX_BRANCHES = 256
"""Branches kept for a function. Each holds some 10 KB; where a value that is read decides between
more, most calls meet a new one, and recording takes longer than running."""
MAX_REPEATS = 4
"""Recordings that a guard causes and that then take a known path, before calls that it stops run
eagerly. Such a guard reads what a plan rounds otherwise than eager execution, like a sum behind a
product, so the call would be recorded each time. Not at once: they may agree at the next value."""


@frozen
class Stop:
    """Where no known path goes on: a guard of what `trace` runs, and what it saw."""

    trace: Trace
    step: int
    seen: bytes

    @property
    def where(self) -> str:
        """The user's line that reads the value."""
        return self.trace.runs.where(self.step) or "?"

    def __str__(self) -> str:
        node = next(node for step, node in self.trace.runs.stops() if step == self.step)
        dtype = node.inputs[0].type.dtype
        others = [s for n, s in self.trace.exits if n == self.step]
        known = dict.fromkeys([node.params["expected"], *others])
        before = ", ".join(sorted(_shown(each, dtype) for each in list(known)[:4]))
        more = ", ..." if len(known) > 4 else ""
        return (
            f"the value that {node.params['how']}() reads at {self.where} was {before}{more}, "
            f"now {_shown(self.seen, dtype)}"
        )


def _shown(seen: bytes, dtype: np.dtype[Any]) -> str:
    found = np.frombuffer(seen, dtype)
    return repr(found[0].item()) if found.size == 1 else str(found)


class Paths:
    """What calls of a function can take.

    Attributes:
        traces: all paths, the most recently recorded first.
        trees: the same as trees; a call tries the roots in this order.
        walked: the trees that Python walks; native code knows the others.
    """

    def __init__(
        self,
        function: Function,
        parameters: Parameters,
        slow: Callable[..., Any],
        handled: Callable[..., Any],
    ) -> None:
        self._function = function
        self._parameters = parameters
        self._slow, self._handled = slow, handled
        self._installed: Installed | None = None
        self._by_record: dict[int, Trace] = {}
        self._repeats: WeakKeyDictionary[Trace, Counter[int]] = WeakKeyDictionary()
        self.traces: list[Trace] = []
        self.trees: list[Tree] = []
        self.walked: list[Tree] = []

    @property
    def enter(self) -> Callable[..., Any] | None:
        """Makes native calls, whatever is active; None before there is a path."""
        return None if self._installed is None else self._installed.enter

    def replay(self, flat: Sequence[Any]) -> tuple[Any] | None:
        """The result of a call in a tuple; None if no path is known for it, or if it failed."""
        native = None
        if self._installed is not None and current() == CPU:
            native = self._installed.replay(*flat)
        return native if native is not None or not self.walked else self.walk(flat)

    def walk(self, flat: Sequence[Any]) -> tuple[Any] | None:
        """The same of what Python walks."""
        from .follow import Done, search

        with contextlib.suppress(Exception):  # as where a native plan fails
            found = search([tree.root for tree in self.walked], flat)
            return found.finish() if isinstance(found, Done) else None
        return None

    def find(self, flat: Sequence[Any]) -> Trace | Stop | None:
        """The path that this call takes to its end, or the guard that stopped it last. Effects
        are none."""
        root = self._root(flat, self.trees)
        if root is None or not root.guarded:
            return root
        if root.program.walked:
            from .follow import Done, search

            found = search([tree.root for tree in self.walked], flat)
            return found.trace if isinstance(found, Done) else found
        assert self._installed is not None, "it was when the root was added"
        leaf, stopped, step, seen = self._installed.probe(*flat)
        if leaf:
            return self._by_record.get(leaf)
        trace = self._by_record.get(stopped)
        return None if trace is None or seen is None else Stop(trace, step, seen)

    @staticmethod
    def _root(flat: Sequence[Any], trees: Sequence[Tree]) -> Trace | None:
        """The first root that this call may enter: recorded where tensors are made on the same
        device, and its conditions hold."""
        place = current()
        roots = (tree.root for tree in trees if tree.root.place == place)
        return next((root for root in roots if root.conditions.first_miss(*flat) < 0), None)

    def straighten(self, flat: Sequence[Any]) -> bool:
        """Lay strided Tensors out contiguously that lie where the first traces look for inputs.
        That changes no value, and is done once for each Tensor; whether there were any."""
        return sum(straighten(trace.checks, flat) for trace in self.traces[:8]) > 0

    def fitting(self, flat: Sequence[Any], among: Sequence[Trace]) -> frozenset[Trace]:
        """Those paths whose checks hold now."""
        here = [trace for trace in among if trace.place == current()]
        walked = as_walked(flat) if here else flat
        return frozenset(t for t in here if t.conditions.first_miss(*walked) < 0)

    def added_since(self, known: Sequence[Trace]) -> list[Trace]:
        """The paths that there are beyond `known`, what `traces` was."""
        if self.traces is known:
            return []
        before = set(known)
        return [trace for trace in self.traces if trace not in before]

    def branch_of(self, trace: Trace, fitting: Collection[Trace]) -> Branch | Trace | None:
        """Where a path leaves one of the trees, or the known path that it is; see
        `Tree.branch_of`."""
        branches = (tree.branch_of(trace, fitting) for tree in self.trees)
        return next((branch for branch in branches if branch is not None), None)

    def add(self, trace: Trace) -> list[Trace]:
        """Take a path whose entry is made; those that are dropped for it. To add it once more,
        since an interrupt came in between, completes what was begun."""
        from .tree import Tree  # plans, 5 ms that a first call does not wait for

        branch, dropped = trace.branch, list[Trace]()
        if branch is not None:
            siblings = branch.parent.exits.setdefault((branch.step, branch.seen), [])
            if trace not in siblings and not trace.program.walked:
                branch.parent.entry.graft(branch.step, branch.seen, trace.entry)
            if trace not in siblings:
                siblings.append(trace)
        elif all(tree.root is not trace for tree in self.trees):
            self.trees.insert(0, Tree(trace))
        for tree in self.trees[MAX_ROOTS:]:
            dropped += [each for each in self.traces if _root_of(each) is tree.root]
        gone = {trace, *dropped}
        self.traces = [trace, *(each for each in self.traces if each not in gone)]
        del self.trees[MAX_ROOTS:]
        native = [each for each in self.traces if not each.program.walked]
        self._by_record = {each.entry.record: each for each in native}
        self.walked = [tree for tree in self.trees if tree.root.program.walked]
        self._install([tree.root.entry for tree in self.trees if tree not in self.walked])
        return dropped

    def clear(self) -> None:
        """Forget all of them."""
        uninstall(self._function)
        self._installed = None
        self.traces, self.trees, self.walked, self._by_record = [], [], [], {}

    def repeated(self, stop: Stop) -> None:
        """Note that a call was recorded because of `stop`, and was on a known path all the same,
        that no other thread has added."""
        self._repeats.setdefault(stop.trace, Counter())[stop.step] += 1

    def unsteady(self, stop: Stop) -> bool:
        """Whether to record for this guard does not help: it reads what a plan rounds otherwise."""
        return self._repeats.get(stop.trace, Counter())[stop.step] >= MAX_REPEATS

    def most_branched(self) -> str:
        """The user's line at which most branches have left."""
        branches = (trace.branch for trace in self.traces if trace.branch is not None)
        lines = Counter(Stop(b.parent, b.step, b.seen).where for b in branches)
        return lines.most_common(1)[0][0]

    def full(self) -> bool:
        """Whether there are as many branches as are kept."""
        return len(self.traces) - len(self.trees) >= MAX_BRANCHES

    def _install(self, roots: Sequence[Entry]) -> None:
        if not roots and self._installed is None:
            return
        from ..backends.llvm.callable import Signature, install

        signature = Signature(self._function.eager)
        as_recorded = signature.names() == self._parameters.names
        self._installed = install(
            self._function,
            roots,
            self._slow,
            self._handled,
            signature if as_recorded else None,
            [t.entry for t in self.traces if t.branch is not None and not t.program.walked],
            enter=as_recorded and not config.settings.check,  # or no call would be checked
        )


def _root_of(trace: Trace) -> Trace:
    while trace.branch is not None:
        trace = trace.branch.parent
    return trace
