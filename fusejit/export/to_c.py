"""Object files for C: the kernels and the steps of a plan, its constants, and a header."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.llvm import codegen, gemm
from ..backends.llvm.jit import generate
from ..backends.llvm.target import Target, host, make
from ..backends.lower import computed_results, lower
from ..backends.plan import PANEL_BYTES, Guard, Opaque, Pack, Plan, Role, Slot
from ..capture.recorded import path_of_call
from ..dtypes import COMPILED
from ..errors import ExportError
from ..files import replace_file
from ..frozen import replace
from ..ir.builder import constant, renamed_results, with_inputs
from ..ir.graph import Constant, Graph, Value
from ..op import Array
from ..passes import optimize
from . import c_text
from .c_driver import Copy, Driver, product_name

_V2 = "+cx16,+popcnt,+sse3,+sse4.1,+sse4.2,+ssse3"
_V3 = f"{_V2},+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe"
CPUS = {
    "x86-64": "",
    "x86-64-v2": _V2,
    "x86-64-v3": _V3,
    "x86-64-v4": f"{_V3},+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl",
}
"""Machines of the x86-64 levels, with LLVM's names for what they have."""


def export_c(
    f: Callable[..., Any],
    folder: Path,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    name: str | None,
    cpu: str | None,
) -> Path:
    """See `fj.export.c`."""
    target = _target(cpu)
    recorded, program = path_of_call(f, args, kwargs)
    graph = program.recorded
    known = {
        value: constant(source.numpy())
        for value, source in zip(graph.inputs, recorded.inputs, strict=True)
        if source is not None
    }
    graph = optimize(_with_constants(graph, known))
    plan = _prepacked(lower(graph, narrow=target.narrow))
    _check(graph, plan)
    called = c_text.identifier(name or graph.name)
    outputs, copies = _results(graph, plan)
    driver = Driver(called, plan, outputs, copies)
    image = codegen.compile_text(_module(driver, target), target, f"export of {graph.name}")
    interface = c_text.Interface(
        called,
        tuple(zip(c_text.unique(graph.input_names), [v.type for v in graph.inputs], strict=True)),
        tuple((c_text.output_name(i, graph), v.type) for i, v in enumerate(graph.outputs)),
        driver.workspace,
        f"{target.triple}, {target.cpu}",
    )
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{called}.o", [image.data])
    for file, text in c_text.files(interface).items():
        replace_file(folder / file, [text.encode()])
    return folder / f"{called}.h"


def _target(cpu: str | None) -> Target:
    here = host()
    if cpu is None:
        return here
    if cpu not in CPUS or not here.is_x86:
        known = ", ".join(CPUS) if here.is_x86 else "none but this machine"
        raise ExportError(f"no such cpu: {cpu!r}; there are {known}.")
    return make(cpu, CPUS[cpu], here.triple)


def _with_constants(graph: Graph, known: Mapping[Value, Constant]) -> Graph:
    """The graph with values in place of some of its inputs."""
    kept = [i for i, value in enumerate(graph.inputs) if value not in known]
    return replace(
        renamed_results(graph, known),
        inputs=tuple(graph.inputs[i] for i in kept),
        input_names=tuple(graph.input_names[i] for i in kept),
        nodes=tuple(with_inputs(node, known) for node in graph.nodes),
    )


def _check(graph: Graph, plan: Plan) -> None:
    """That nothing needs Python.

    Raises:
        ExportError: names all that does.
    """
    problems = [
        f"{step.code.name} ({step.where or '?'}): NumPy runs it"
        if isinstance(step.code, Opaque)
        else f"a value decides what is computed ({step.where or '?'})"
        for step in plan.steps
        if isinstance(step.code, Opaque | Guard)
    ]
    problems += [f"assignment to {name}: C has no state" for name, _ in graph.effects]
    problems += [
        f"{v.type} is no type of C here"
        for v in (*graph.inputs, *graph.outputs)
        if v.type.dtype not in COMPILED
    ]
    if problems:
        listed = "; ".join(dict.fromkeys(problems))
        raise ExportError(f"{graph.name} cannot be exported to C: {listed}.")


def _prepacked(plan: Plan) -> Plan:
    """The plan without the steps that pack constants: their panels are constants."""
    slots, dropped = list(plan.slots), set[int]()
    for number, step in enumerate(plan.steps):
        if not isinstance(step.code, Pack):
            continue
        matrix, panels = step.operands
        source = slots[matrix.slot]
        if source.role is Role.CONSTANT and source.value is not None:
            value = _packed(source.value, matrix.offset, step.meta)
            slots[panels.slot] = Slot(Role.CONSTANT, source.dtype, value.shape, value=value)
            dropped.add(number)
    kept = [number for number in range(len(plan.steps)) if number not in dropped]
    place = {number: at for at, number in enumerate([*kept, len(plan.steps)])}
    strips = tuple(
        replace(strip, first=place[strip.first], end=place[strip.first] + strip.end - strip.first)
        for strip in plan.strips
        if strip.first in place
    )
    used = {operand.slot for number in kept for operand in plan.steps[number].operands}
    emptied = tuple(
        replace(slot, value=None) if slot.value is not None and number not in used else slot
        for number, slot in enumerate(slots)
    )
    steps = tuple(plan.steps[number] for number in kept)
    return replace(plan, slots=emptied, steps=steps, strips=strips)


def _packed(array: Array, offset: int, meta: Sequence[int]) -> Array:
    """What the step of a `Pack` would make; see there."""
    k, n, row, column = meta
    lanes = PANEL_BYTES // array.dtype.itemsize
    flat = np.ascontiguousarray(array).reshape(-1)[offset // array.dtype.itemsize :]
    strides = (row * array.dtype.itemsize, column * array.dtype.itemsize)
    matrix = np.lib.stride_tricks.as_strided(flat, (k, n), strides)
    panels = np.zeros((-(-n // lanes), k, lanes), array.dtype)
    for number in range(len(panels)):
        part = matrix[:, number * lanes : (number + 1) * lanes]
        panels[number, :, : part.shape[1]] = part
    return panels


def _results(graph: Graph, plan: Plan) -> tuple[dict[int, int], list[Copy]]:
    """Which parameter each output slot is, and the results that are copied from elsewhere."""
    slots = dict(zip(computed_results(graph), plan.outputs, strict=True))
    slots |= dict(zip(graph.inputs, plan.inputs, strict=True))
    outputs: dict[int, int] = {}
    copies: list[Copy] = []
    for number, value in enumerate(graph.outputs):
        if isinstance(value, Constant):
            copies.append(Copy(value.array, number, value.type.nbytes))
            continue
        slot = slots[value]
        if plan.slots[slot].role is Role.OUTPUT and slot not in outputs:
            outputs[slot] = number
        else:
            copies.append(Copy(slot, number, value.type.nbytes))
    return outputs, copies


def _module(driver: Driver, target: Target) -> str:
    """One module of the driver, its kernels and what it uses of the matrix product."""
    parts = [driver.text()]
    for kernel, name in driver.kernels.items():
        parts.append(generate(kernel, target).replace("@kernel(", f"@{name}("))
    for dtype, used in driver.products.items():
        text = gemm.module(dtype, target)
        for entry in gemm.ENTRIES:
            if entry not in used:
                text = re.sub(rf"^define i64 @{entry}\(.*?^}}\n", "", text, flags=re.M | re.S)
        names = set(re.findall(r"^define [^@\n]*@([\w.]+)\(", text, re.M))
        for name in names:
            whole = f"@{product_name(driver.name, dtype, name)}"
            text = re.sub(rf"@{re.escape(name)}(?![\w.])", whole, text)
        parts.append(text)
    return _merged(parts)


def _merged(parts: Sequence[str]) -> str:
    """Modules as one: attributes renumbered, declarations once, kernels for this module alone."""
    bodies: list[str] = []
    declared: dict[str, None] = {}
    for number, part in enumerate(parts):
        text = re.sub(r"#(\d+)\b", rf"#{number}\1", part)
        for line in re.findall(r"^declare .*$", text, re.M):
            declared[re.sub(r" #\d+$", "", line)] = None
        text = re.sub(r"^declare .*\n?", "", text, flags=re.M)
        bodies.append(re.sub(r"^define i64 @", "define internal i64 @", text, flags=re.M))
    return "\n".join([*bodies, *declared, ""])
