"""Following the paths that Python walks: from a root through the guards that its values decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import current
from ..frozen import frozen
from ..tensor import Tensor, wrap
from .paths import Stop
from .trace import Trace, array_of
from .walk import Computed, Halted


@frozen(eq=False)
class Done:
    """The path that a call takes to its end, and what was computed on the way."""

    trace: Trace
    inputs: Sequence[Any]
    results: Sequence[Any]

    def finish(self) -> tuple[Any]:
        """The result of the call, in a tuple; Variables are assigned."""
        return (self.trace.finish([self._tensor(n) for n in range(len(self.results))]),)

    def _tensor(self, number: int) -> Tensor:
        """A result as a Tensor, which shares no memory with an ndarray of the user."""
        data = self.results[number]
        position = self.trace.same_as_input.get(number)
        same = None if position is None else self.inputs[position]
        if type(same) is Tensor and same._data is data:
            return same
        if type(data) is np.ndarray and any(data is each for each in self.inputs):
            data = data.copy()
        return wrap(data)


def search(roots: Sequence[Trace], flat: Sequence[Any]) -> Done | Stop | None:
    """Where a call goes: along the first path that it can take to its end."""
    place, stop = current(), None
    for root in roots:
        found = _follow(root, flat) if root.place == place else None
        if isinstance(found, Done):
            return found
        stop = stop or found
    return stop


def _follow(trace: Trace, flat: Sequence[Any], above: Halted | None = None) -> Done | Stop | None:
    """Where a call goes from `trace` on, which begins where the path `above` it was halted. None
    if what it would read there is not as it was."""
    inputs = trace.conditions.inputs(*flat)
    if inputs is None:
        return None
    arrays = list(map(array_of, inputs))
    if trace.branch is not None:
        assert above is not None, "branches leave other paths"
        carried = trace.branch.carried
        arrays += [above.get(each) for each in carried if isinstance(each, Computed)]
    found = trace.runs.walk.run(arrays)
    if not isinstance(found, Halted):
        return Done(trace, inputs, found)
    stop = None
    for child in trace.exits.get((found.step, found.seen), ()):
        further = _follow(child, flat, found)
        if isinstance(further, Done):
            return further
        stop = further or stop
    return stop or Stop(trace, found.step, found.seen)
