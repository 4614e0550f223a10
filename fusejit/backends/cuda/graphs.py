"""CUDA graphs: a program that only launches is captured once, then replayed as a whole.

What a graph reads and writes is fixed when it is captured. So it has memory of its own for inputs,
outputs and arena; a replay copies the inputs there and the outputs from there into fresh memory,
all on the device and in the stream. Changing the addresses in the nodes instead would cost a call
of the driver for each node that has one of them, as much as a launch, and cannot reach what BLAS
launches.

That costs 2 us of the host and the time to copy, for each input and output, and as much memory
again. It saves some 2 us for each launch: see `worth_it`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import DeviceError
from .program import Launch, Multiply, Program

if TYPE_CHECKING:
    from .device import Gpu

RUNS = 3
"""Runs before a program is captured: capturing takes about as long as three of them."""
_COPIES = 2  # launches that the copy of an input or output may at most stand for
_BYTES = 1 << 20  # bytes that it takes the device about as long to copy as the host to launch


def worth_it(program: Program, sizes: Sequence[int]) -> bool:
    """Whether a graph would save more than copying inputs and outputs of these sizes costs."""
    if not all(isinstance(command, Launch | Multiply) for command in program.commands):
        return False
    cost = _COPIES * len(sizes) + sum(sizes) / _BYTES
    return len(program.commands) > cost


class Replayer:
    """Runs a program as a graph, once it has run often enough.

    Args:
        gpu: where.
        sizes: bytes of the inputs, then of the outputs.
        inputs: how many inputs there are.
        arena: bytes of the arena.
    """

    def __init__(self, gpu: Gpu, sizes: Sequence[int], inputs: int, arena: int) -> None:
        self._gpu = gpu
        self._sizes = sizes
        self._inputs = inputs
        self._arena = arena
        self._runs = 0
        self._graph: _Captured | None = None

    @property
    def captured(self) -> bool:
        """Whether there is a graph by now."""
        return self._graph is not None

    def drop(self) -> None:
        """Give its memory back; the program is walked for good."""
        self._graph = None
        self._runs = RUNS + 1

    def run(self, bound: list[int], launch: Callable[[list[int], int, Any], None]) -> bool:
        """Replay with these inputs and outputs; False while the program is to be walked.

        `launch` gives the whole program to a stream, with (inputs and outputs, arena, stream).
        """
        if self._graph is None:
            self._runs += 1
            if self._runs != RUNS + 1:
                return False
            try:
                self._graph = _Captured(self._gpu, self._sizes, self._arena, launch)
            except DeviceError:  # no memory for it: the program is walked for good
                return False
        self._graph.replay(bound, self._inputs)
        return True


class _Captured:
    """A graph and its memory."""

    def __init__(
        self,
        gpu: Gpu,
        sizes: Sequence[int],
        arena: int,
        launch: Callable[[list[int], int, Any], None],
    ) -> None:
        take = gpu.allocator.take
        self._gpu = gpu
        self._sizes = sizes
        self._buffers = [take(size) for size in sizes]
        self._arena = take(arena)
        own = [buffer.address for buffer in self._buffers]
        self._own = own
        self._graph = gpu.driver.capture(lambda stream: launch(own, self._arena.address, stream))

    def replay(self, bound: list[int], inputs: int) -> None:
        copy, stream = self._gpu.driver.copy, self._gpu.stream
        triples = list(zip(self._own, bound, self._sizes, strict=True))
        for own, given, size in triples[:inputs]:
            if size:
                copy(own, given, size, stream)
        self._graph.launch(stream)
        for own, given, size in triples[inputs:]:
            if size:
                copy(given, own, size, stream)
