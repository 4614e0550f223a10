"""Runs programs on a GPU: `Gpu.load` prepares one, `Loaded.run` walks it.

    loaded = gpu.load(program)
    loaded.run([x, y])  ->  [outputs...]  or  Stopped

The walker is one Python loop. All memory is taken before it starts, so nothing runs if there is not
enough; then it gives launch after launch to the stream and returns before the device is done. Only
commands that look at values, Host and Check, wait.

The parameters of all launches lie in one block of bytes, filled in when the program is loaded. What
differs from run to run are addresses: those of the inputs, the outputs and the arena, `bound` in
that order, then 0, to which fixed addresses are relative. NumPy adds the offsets and puts all the
addresses in their places at once: 1 us, and 8 ns for each, where struct takes 90.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np

from ...errors import LoweringError
from ...frozen import frozen
from ...scalar import DType
from ..held import Held
from ..plan import Operand, Role, Slot
from .array import DeviceArray, spec_of
from .graphs import worth_it
from .memory import Buffer
from .program import Check, Command, Dim, Host, Launch, Multiply, Program

if TYPE_CHECKING:
    from .device import Gpu

Call: TypeAlias = "tuple[Callable[..., object], Dim, Dim, memoryview, int]"
Last: TypeAlias = "Callable[[list[int], Any], tuple[int, bytes] | None]"
Place: TypeAlias = "tuple[int, int]"  # (number of what is bound, bytes from there)


class Stopped:
    """A Check stopped the run; what was computed until then is still there.

    Attributes:
        command: the number of the Check in `Program.commands`.
        seen: the bytes that it saw.
    """

    __slots__ = ("_buffers", "_loaded", "command", "seen")

    def __init__(self, loaded: Loaded, buffers: list[Buffer], command: int, seen: bytes) -> None:
        self._loaded = loaded
        self._buffers = buffers  # of the outputs, then the arena
        self.command = command
        self.seen = seen

    def array(self, held: Held, dtype: DType, shape: tuple[int, ...]) -> DeviceArray:
        """A value that the stopped program holds, see `backends.held`; it keeps its memory."""
        gpu, program = self._loaded.gpu, self._loaded.program
        slot = program.slots[held.slot]
        if slot.role is Role.OUTPUT:
            buffer, offset = self._buffers[program.outputs.index(held.slot)], held.offset
        else:
            buffer, offset = self._buffers[-1], slot.offset + held.offset
        return DeviceArray(gpu, spec_of(gpu.name, dtype, shape), buffer, offset)


class Loaded:
    """A program that is ready to run on one GPU, from any thread."""

    def __init__(self, gpu: Gpu, program: Program) -> None:
        self.gpu = gpu
        self.program = program
        slots = program.slots
        self._inputs = [spec_of(gpu.name, slots[n].dtype, slots[n].shape) for n in program.inputs]
        self._outputs = [spec_of(gpu.name, slots[n].dtype, slots[n].shape) for n in program.outputs]
        self._constants = _upload_constants(gpu, slots)
        layout = _Layout(program, {n: array.address for n, array in self._constants.items()})
        self._parameters = layout.parameters()
        self._stretches = layout.stretches(gpu, self._parameters.view)
        sizes = [spec.nbytes for spec in (*self._inputs, *self._outputs)]
        self._graph = (
            gpu.replayer(sizes, len(self._inputs), program.arena)
            if worth_it(program, sizes)
            else None
        )

    def run(self, inputs: Sequence[DeviceArray]) -> list[DeviceArray] | Stopped:
        """One run, on arrays of the slots' dtypes and shapes; its outputs are new memory.

        Raises:
            DeviceError: there is not enough memory, or the device failed.
            Exception: whatever a Python step raised.
        """
        if [x.spec for x in inputs] != self._inputs:
            self._refuse(inputs)
        gpu = self.gpu
        with gpu:
            take = gpu.allocator.take
            outputs = [take(spec.nbytes) for spec in self._outputs]
            bound = [x.buffer.address + x.offset for x in inputs]
            bound += [buffer.address for buffer in outputs]
            if self._graph is not None and self._graph.run(bound, self._launch_all):
                return self._wrapped(outputs)
            arena = take(self.program.arena)
            stopped = self._walk([*bound, arena.address, 0], gpu.stream)
        if stopped is None:
            return self._wrapped(outputs)
        return Stopped(self, [*outputs, arena], *stopped)

    def _walk(self, bound: list[int], stream: Any) -> tuple[int, bytes] | None:
        """Give everything to the stream; the number of the Check that stops, and what it saw."""
        self._parameters.bind(bound)
        for calls, last in self._stretches:
            for launch, grid, block, parameters, shared in calls:
                launch(grid, block, parameters, shared, stream)
            if last is not None:
                stopped = last(bound, stream)
                if stopped is not None:
                    return stopped
        return None

    def _launch_all(self, bound: list[int], arena: int, stream: Any) -> None:
        self._walk([*bound, arena, 0], stream)

    def _wrapped(self, buffers: Sequence[Buffer]) -> list[DeviceArray]:
        gpu = self.gpu
        return [DeviceArray(gpu, s, b) for s, b in zip(self._outputs, buffers, strict=True)]

    def _refuse(self, inputs: Sequence[DeviceArray]) -> NoReturn:
        name = self.program.name
        if len(inputs) != len(self._inputs):
            raise TypeError(f"{name}: expected {len(self._inputs)} inputs, got {len(inputs)}")
        for position, (wanted, value) in enumerate(zip(self._inputs, inputs, strict=True)):
            if value.spec is not wanted:
                raise TypeError(f"{name}: input {position}: expected {wanted}, got {value.spec}")
        raise TypeError(f"{name}: inputs of another kind than expected")


# ---- laying a program out


class _Parameters:
    """The parameters of all launches, and how addresses get into them."""

    def __init__(self, content: bytes, words: Sequence[int], places: Sequence[Place]) -> None:
        block = bytearray(content)
        self.view = memoryview(block)
        self._words = np.frombuffer(block, np.int64)
        self._where = np.array(words, np.int64)
        self._which = np.array([number for number, _ in places], np.int64)
        self._offsets = np.array([offset for _, offset in places], np.int64)
        self._bound: list[int] = []  # what the addresses are now

    def bind(self, bound: list[int]) -> None:
        if bound != self._bound:
            self._words[self._where] = np.array(bound, np.int64)[self._which] + self._offsets
            self._bound = bound


class _Layout:
    """Where the operands of a program are, and the bytes of its launches."""

    def __init__(self, program: Program, constants: Mapping[int, int]) -> None:
        self.program = program
        self._constants = constants
        self._numbers = {n: i for i, n in enumerate((*program.inputs, *program.outputs))}
        _check_slots(program)

    def parameters(self) -> _Parameters:
        content = bytearray()
        words: list[int] = []
        places: list[Place] = []
        for command in self._launches():
            first = len(content) // _WORD
            words += range(first, first + len(command.operands))
            places += map(self._place, command.operands)
            content += bytes(_WORD * len(command.operands)) + command.constants
            content += bytes(-len(content) % _WORD)  # the size of a struct of pointers
        return _Parameters(bytes(content), words, places)

    def stretches(self, gpu: Gpu, view: memoryview) -> list[tuple[list[Call], Last | None]]:
        """The launches, up to each command of another kind and with it."""
        launches = list(self._launches())
        functions = gpu.functions([command.source for command in launches])
        ready = dict(zip(map(id, launches), functions, strict=True))
        found: list[tuple[list[Call], Last | None]] = []
        calls: list[Call] = []
        at = 0
        for number, command in enumerate(self.program.commands):
            if not isinstance(command, Launch):
                found.append((calls, self._last(gpu, number, command)))
                calls = []
            elif id(command) in ready:
                size = _WORD * len(command.operands) + len(command.constants)
                end = at + size + -size % _WORD
                launch = ready[id(command)].launch
                calls.append((launch, command.grid, command.block, view[at:end], command.shared))
                at = end
        return [*found, (calls, None)] if calls else found

    def _launches(self) -> Iterator[Launch]:
        """Those that have something to do."""
        for command in self.program.commands:
            if isinstance(command, Launch) and 0 not in command.grid:
                yield command

    def _last(self, gpu: Gpu, number: int, command: Multiply | Host | Check) -> Last:
        match command:
            case Multiply():
                if gpu.blas is None:
                    raise LoweringError(
                        f"{self.program.name}: a product for BLAS, and there is none"
                    )
                with gpu:
                    multiply = gpu.blas.product(command.code, command.meta)
                return _product(multiply, list(map(self._place, command.operands)))
            case Check():
                return _Guard(gpu, number, command.code.expected, self._place(command.operand))
            case Host():
                return self._python(gpu, number, command)

    def _python(self, gpu: Gpu, number: int, command: Host) -> _Python:
        """What no command before has written, this one writes."""
        slots = self.program.slots
        known = {n for n, s in enumerate(slots) if s.role in (Role.INPUT, Role.CONSTANT)}
        for before in self.program.commands[:number]:
            known |= {operand.slot for operand in _operands(before)}
        views = [_View(self._place(o), slots[o.slot]) for o in command.operands]
        written = [operand.slot not in known for operand in command.operands]
        return _Python(gpu, command.code.call, tuple(zip(views, written, strict=True)))

    def _place(self, operand: Operand) -> Place:
        """The number of what is bound, and the bytes from there."""
        arena = len(self._numbers)
        if operand.slot < 0:  # an index: the offset is its first value
            return arena + 1, operand.offset
        slot = self.program.slots[operand.slot]
        match slot.role:
            case Role.INPUT | Role.OUTPUT:
                return self._numbers[operand.slot], operand.offset
            case Role.TEMPORARY:
                return arena, slot.offset + operand.offset
            case Role.CONSTANT:
                return arena + 1, self._constants[operand.slot] + operand.offset
            case Role.SCRATCH:
                raise LoweringError(f"{self.program.name}: slot {operand.slot} is in no memory")


def _operands(command: Command) -> tuple[Operand, ...]:
    return (command.operand,) if isinstance(command, Check) else command.operands


def _check_slots(program: Program) -> None:
    """That inputs and outputs are listed once each, and temporaries lie inside the arena."""
    for role, numbers in ((Role.INPUT, program.inputs), (Role.OUTPUT, program.outputs)):
        slots = [number for number, slot in enumerate(program.slots) if slot.role is role]
        if sorted(numbers) != slots:
            raise LoweringError(
                f"{program.name}: {role.value} slots are {slots}, the program lists {numbers}"
            )
    for number, slot in enumerate(program.slots):
        inside = 0 <= slot.offset <= slot.offset + slot.bytes <= program.arena
        if slot.role is Role.TEMPORARY and not inside:
            raise LoweringError(f"{program.name}: slot {number} lies outside the arena")


def _upload_constants(gpu: Gpu, slots: Sequence[Slot]) -> dict[int, DeviceArray]:
    found = {}
    for number, slot in enumerate(slots):
        if slot.role is Role.CONSTANT:
            assert slot.value is not None
            value = np.broadcast_to(slot.value, slot.shape).astype(slot.dtype, copy=False)
            found[number] = gpu.upload(value)
    return found


# ---- commands that are no launches


def _product(multiply: Callable[[int, int, int, Any], None], places: Sequence[Place]) -> Last:
    """A product by BLAS. A function, since an object would take 0.2 us longer."""
    (a, from_a), (b, from_b), (c, to_c) = places

    def run(bound: list[int], stream: Any) -> None:
        multiply(bound[a] + from_a, bound[b] + from_b, bound[c] + to_c, stream)

    return run


class _Guard:
    """Stops unless a value has the expected bytes."""

    __slots__ = ("_command", "_expected", "_gpu", "_place")

    def __init__(self, gpu: Gpu, command: int, expected: bytes, place: Place) -> None:
        self._gpu = gpu
        self._command = command
        self._expected = expected
        self._place = place

    def __call__(self, bound: list[int], stream: Any) -> tuple[int, bytes] | None:
        number, offset = self._place
        size = (len(self._expected),)
        seen = self._gpu.read(bound[number] + offset, _BYTE, size).tobytes()
        return None if seen == self._expected else (self._command, seen)


@frozen
class _View:
    """An operand of a Python step: a whole slot."""

    place: Place
    slot: Slot


class _Python:
    """An op that NumPy runs, on copies of its operands."""

    __slots__ = ("_call", "_gpu", "_views")

    def __init__(
        self, gpu: Gpu, call: Callable[..., None], views: tuple[tuple[_View, bool], ...]
    ) -> None:
        self._gpu = gpu
        self._call = call
        self._views = views  # and whether the step writes it

    def __call__(self, bound: list[int], stream: Any) -> None:
        arrays = []
        for view, written in self._views:
            number, offset = view.place
            dtype, shape = view.slot.dtype, view.slot.shape
            if written:
                arrays.append(np.empty(shape, dtype))
            else:
                arrays.append(self._gpu.read(bound[number] + offset, dtype, shape))
                arrays[-1].flags.writeable = False
        self._call(*arrays)
        for (view, written), array in zip(self._views, arrays, strict=True):
            if written:
                number, offset = view.place
                self._gpu.write(bound[number] + offset, array)


_WORD = 8
_BYTE = np.dtype(np.uint8)
