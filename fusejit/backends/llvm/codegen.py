"""From IR text to an object: found on disk, or verified and compiled.

LLVM's assertions are on in the llvmlite wheels, so invalid IR that reached the code generator would
abort the process: every module is verified first and a bad one is a `LoweringError`. What is found
on disk was made from the same text, by the same LLVM, for the same machine: nothing is left to do.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from ...errors import LoweringError
from ...frozen import frozen
from .. import objects
from .target import Target, baseline, binding, machine, version

_FORMAT = "1"  # to be changed with anything here that changes what the same text compiles to


@frozen
class Image:
    """An object file's bytes."""

    data: bytes
    from_disk: bool


def compile_text(ir: str, target: Target, name: str) -> Image:
    """The object of a kernel. `name` is what errors call it.

    Text goes straight to the code generator: kernels are vectors already, with nothing to inline or
    to hoist. LLVM's O2 passes change their speed by less than the noise (loops of rank 1 to 4, both
    forms of reductions) and take 5 to 20 ms each.
    """
    return _compile(ir, target, name, inline=False, quick=False)


def compile_module(ir: str, target: Target, name: str) -> Image:
    """The object of a hand-written module: scalar code, without vectors, that runs between kernels.

    What pays is inlining. A call through the native runtime takes 150 ns after it, 150 ns after
    LLVM's O2 passes and 200 ns after neither; O2 takes three times as long as all the rest.

    Without a cache to keep the object each process pays for it, so there it is compiled quickly: in
    10 ms instead of 100, for 20 ns more a call. LLVM then gets a machine without features, since it
    aborts at that level on the masks of AVX-512.
    """
    if objects.wanted():
        return _compile(ir, target, name, inline=True, quick=False)
    return _compile(ir, baseline(target), name, inline=True, quick=True)


def _compile(ir: str, target: Target, name: str, inline: bool, quick: bool) -> Image:
    machine_of = (target.triple, target.cpu, target.features)
    key = objects.key(_FORMAT, version(), *machine_of, str((inline, quick)), ir)
    found = objects.load(key)
    if found is not None:
        return Image(found, from_disk=True)
    module = _parse(_mark(ir) if inline else ir, target, name)
    if inline:
        _inline(module, target)
    data: bytes = machine(target, quick).emit_object(module)
    objects.store(key, data)
    return Image(data, from_disk=False)


def assembly(ir: str, target: Target) -> str:
    """The machine code of a module as text, for any target that this LLVM was built with."""
    text: str = machine(target).emit_assembly(_parse(ir, target, "module"))
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


_SHORT = 20
"""Lines up to which a function is inlined everywhere: 10 saves nothing, 30 makes the native runtime
40% larger and as much slower to compile."""
_HEAD = re.compile(r"^define internal [^@\n]*@([\w.]+)\([^{\n]*(?=\{)", re.MULTILINE)
_CALL = re.compile(r"\bcall [^@\n]*@([\w.]+)\(")


def _mark(ir: str) -> str:
    """The module with `alwaysinline` on internal functions that are short or called once."""
    calls = Counter(_CALL.findall(ir))

    def marked(head: re.Match[str]) -> str:
        lines = ir.count("\n", head.end(), ir.find("\n}", head.end()))
        pays = calls[head[1]] == 1 or lines <= _SHORT
        attributes = head[0].rpartition(")")[2].split()
        return head[0] + "alwaysinline " if pays and "noinline" not in attributes else head[0]

    return _HEAD.sub(marked, ir)


def _inline(module: Any, target: Target) -> None:
    llvm = binding()
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    options = llvm.create_pipeline_tuning_options()
    passes.run(module, llvm.create_pass_builder(machine(target), options))
