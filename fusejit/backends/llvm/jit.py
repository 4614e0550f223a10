"""From IR text to callable addresses: compile or find on disk, link, remember.

Code lives as long as the process. A library that is dropped is unmapped, and nothing here can know
whether a plan still holds its address.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import count
from threading import RLock, local
from typing import Any

from ...errors import LoweringError
from ...frozen import frozen
from ..base import Kernel, Loop
from ..ready import undisturbed
from . import codegen, loops, reductions
from .target import Target, binding, host, machine


@frozen
class Statistics:
    """How kernels were come by."""

    num_compiles: int = 0
    num_loads: int = 0  # found on disk
    milliseconds: float = 0.0  # in all, for both

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            self.num_compiles + other.num_compiles,
            self.num_loads + other.num_loads,
            self.milliseconds + other.milliseconds,
        )


class _Own(local):
    statistics = Statistics()


_lock = RLock()
_statistics = Statistics()
_own = _Own()
_libraries: list[Any] = []  # what keeps the code mapped
_library_numbers = count()
_compiled: dict[tuple[Kernel, Target], Compiled] = {}


@undisturbed
def link(ir: str, exports: Sequence[str], symbols: Mapping[str, int]) -> dict[str, int]:
    """Compile a hand-written module for this machine and return the addresses of `exports`.

    `symbols` are the addresses of what the module declares and does not define; what is missing
    there is taken from the process (libc).
    """
    with _lock:
        image = codegen.compile_module(ir, host(), "module " + ", ".join(exports))
        return _load(image.data, exports, symbols)


@undisturbed
def link_kernels(ir: str, exports: Sequence[str], target: Target | None = None) -> dict[str, int]:
    """Compile a generated module of several kernels; their addresses."""
    with _lock:
        image = codegen.compile_text(ir, target or host(), "kernels " + ", ".join(exports))
        return _load(image.data, exports, {})


@frozen
class Compiled:
    """A kernel in memory, ready to be called for the life of the process."""

    name: str
    address: int
    ir: str
    target: Target

    def asm(self) -> str:
        return assembly(self.ir, self.target)


def compile_kernel(kernel: Kernel, target: Target | None = None) -> Compiled:
    """The code of `kernel`, made now unless an equal kernel was compiled before.

    `target` may be a lesser machine than this one, for tests.
    """
    chosen = target or host()
    found = _compiled.get((kernel, chosen))
    if found is None:
        found, taken = _compile(kernel, chosen)
        _own.statistics += taken
    return found


@undisturbed
def _compile(kernel: Kernel, target: Target) -> tuple[Compiled, Statistics]:
    """The code of a kernel, and what that has taken."""
    global _statistics
    with _lock:
        found = _compiled.get((kernel, target))
        if found is not None:  # another thread was quicker
            return found, Statistics()
        began = time.perf_counter()
        made, from_disk = _compile_anew(kernel, target)
        _compiled[kernel, target] = made
        milliseconds = 1e3 * (time.perf_counter() - began)
        taken = Statistics(int(not from_disk), int(from_disk), milliseconds)
        _statistics += taken
        return made, taken


def _compile_anew(kernel: Kernel, target: Target) -> tuple[Compiled, bool]:
    name = describe(kernel)
    if target.architecture != host().architecture:
        raise LoweringError(f"{name}: code for {target.triple} cannot run here")
    ir = generate(kernel, target)
    image = codegen.compile_text(ir, target, name)
    address = _load(image.data, ["kernel"], {})["kernel"]
    return Compiled(name, address, ir, target), image.from_disk


def generate(kernel: Kernel, target: Target) -> str:
    """The IR text of a kernel, as it goes to the code generator."""
    try:
        if isinstance(kernel, Loop):
            return loops.module(kernel, target)
        return reductions.module(kernel, target)
    except LoweringError as error:
        raise LoweringError(f"{describe(kernel)}: {error}") from error


def describe(kernel: Kernel) -> str:
    """What an error calls a kernel."""
    size = len(kernel.program.instrs)
    if isinstance(kernel, Loop):
        shape = f"loop of rank {kernel.rank}"
    else:
        shape = f"{kernel.form.value} reduction"
    return f"{shape} over {len(kernel.inputs)} inputs, {size} instructions"


def statistics() -> Statistics:
    """What all threads have had made."""
    return _statistics


def own_statistics() -> Statistics:
    """What this thread has had made, since it began."""
    return _own.statistics


def clear() -> None:
    """Forget all kernels and totals. Their code stays mapped: a plan may still hold addresses."""
    global _statistics
    with _lock:
        _compiled.clear()
        _statistics = Statistics()


def num_kernels() -> int:
    """How many kernels are in memory."""
    return len(_compiled)


@undisturbed
def assembly(ir: str, target: Target | None = None) -> str:
    """The machine code of a module as text, for any target that this LLVM was built with."""
    with _lock:
        return codegen.assembly(ir, target or host())


@lru_cache(maxsize=1)
def _linker() -> Any:
    """JITLink loads an object in 0.1 ms, a sixth of MCJIT's time.

    Errors reach Python as exceptions; what LLVM would print to stderr as well is suppressed.
    """
    return binding().create_lljit_compiler(machine(host()), use_jit_link=True, suppress_errors=True)


def _load(image: bytes, exports: Sequence[str], symbols: Mapping[str, int]) -> dict[str, int]:
    builder = binding().JITLibraryBuilder().add_object_img(image).add_current_process()
    for name, address in symbols.items():
        builder.import_symbol(name, address)
    for name in exports:
        builder.export_symbol(name)
    try:
        # A name can never be used twice, even after its library has gone.
        library = builder.link(_linker(), f"fusejit.{next(_library_numbers)}")
    except RuntimeError as error:
        raise LoweringError(f"{', '.join(exports)}: the code does not link: {error}") from error
    _libraries.append(library)
    return {name: library[name] for name in exports}
