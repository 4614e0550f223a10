"""From IR text to callable addresses: verify, generate code, link, remember.

LLVM's assertions are on in the llvmlite wheels, so invalid IR that reached the code generator would
abort the process: every module is verified first and a bad one is a `LoweringError`.

Code lives as long as the process. A library that is dropped is unmapped, and nothing here can know
whether a plan still holds its address.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from threading import RLock
from typing import Any

from ...errors import LoweringError
from ..base import Kernel, Loop
from . import loops, reductions
from .target import Target, binding, host, machine


@dataclass(frozen=True, slots=True)
class Statistics:
    """Totals since the process began, or since `clear`."""

    num_compiles: int = 0
    milliseconds: float = 0.0


_lock = RLock()
_statistics = Statistics()
_libraries: list[Any] = []  # what keeps the code mapped
_library_numbers = count()
_compiled: dict[tuple[Kernel, Target], Compiled] = {}


def link(ir: str, exports: Sequence[str], symbols: Mapping[str, int]) -> dict[str, int]:
    """Compile a hand-written module for this machine and return the addresses of `exports`.

    `symbols` are the addresses of what the module declares and does not define; what is missing
    there is taken from the process (libc). The module runs through LLVM's O2 pipeline.
    """
    with _lock:
        module = _parse(ir, host(), "module " + ", ".join(exports))
        _optimise(module, host())
        return _load(machine(host()).emit_object(module), exports, symbols)


@dataclass(frozen=True, slots=True)
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
    if found is not None:
        return found
    with _lock:
        found = _compiled.get((kernel, chosen))
        return found or _compile(kernel, chosen)


def _compile(kernel: Kernel, target: Target) -> Compiled:
    """Straight from text to machine code. Kernels are vectors already, with nothing to inline or to
    hoist: LLVM's O2 passes change their speed by less than the noise (loops of rank 1 to 4, both
    forms of reductions) and their compile time from 5 to 20 ms (a + b), from 10 to 18 (a gate).
    """
    global _statistics
    name = describe(kernel)
    if target.architecture != host().architecture:
        raise LoweringError(f"{name}: code for {target.triple} cannot run here")
    began = time.perf_counter()
    ir = generate(kernel, target)
    image = machine(target).emit_object(_parse(ir, target, name))
    address = _load(image, ["kernel"], {})["kernel"]
    made = _compiled[kernel, target] = Compiled(name, address, ir, target)
    spent = 1e3 * (time.perf_counter() - began)
    before = _statistics
    _statistics = Statistics(before.num_compiles + 1, before.milliseconds + spent)
    return made


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
    return _statistics


def clear() -> None:
    """Forget all kernels and totals. Their code stays mapped: a plan may still hold addresses."""
    global _statistics
    with _lock:
        _compiled.clear()
        _statistics = Statistics()


def assembly(ir: str, target: Target | None = None) -> str:
    """The machine code of a module as text, for any target that this LLVM was built with."""
    with _lock:
        chosen = target or host()
        text: str = machine(chosen).emit_assembly(_parse(ir, chosen, "module"))
        return text


def _parse(ir: str, target: Target, name: str) -> Any:
    """A verified module. The data layout is set here: passes and code generation must agree."""
    try:
        module = binding().parse_assembly(ir)
        module.triple = target.triple
        module.data_layout = str(machine(target).target_data)
        module.verify()
    except RuntimeError as error:
        raise LoweringError(f"{name}: LLVM rejects the generated code: {error}") from error
    return module


def _optimise(module: Any, target: Target) -> None:
    llvm = binding()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine(target), options)
    builder.getModulePassManager().run(module, builder)


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
