"""The text files beside an object: a header, an example, and how to build it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from ..dtypes import TensorType
from ..frozen import frozen
from ..ir.graph import Graph

Named: TypeAlias = "tuple[str, TensorType]"

_TYPES = {"float32": "float", "float64": "double", "bool": "uint8_t"}
_KEYWORD = re.compile(
    "auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|"
    "inline|int|long|main|register|restrict|return|short|signed|sizeof|static|struct|switch|"
    "typedef|union|unsigned|void|volatile|while|workspace"
)


@frozen(eq=False)
class Interface:
    """What a C program sees."""

    name: str
    inputs: tuple[Named, ...]
    outputs: tuple[Named, ...]
    workspace: int  # bytes
    machine: str


def identifier(text: str) -> str:
    """A name that C takes."""
    found = re.sub(r"[^0-9A-Za-z_]", "_", text).strip("_") or "function"
    return f"_{found}" if _KEYWORD.fullmatch(found) or found[0].isdigit() else found


def unique(names: Sequence[str]) -> list[str]:
    """Names that C takes, all different."""
    found: list[str] = []
    for name in map(identifier, names):
        count, wanted = 0, name
        while wanted in found:
            count += 1
            wanted = f"{name}_{count}"
        found.append(wanted)
    return found


def output_name(number: int, graph: Graph) -> str:
    """`output`, or `output0` and so on; with an underscore where an input has that name."""
    wanted = f"output{number}" if len(graph.outputs) > 1 else "output"
    return f"{wanted}_" if wanted in unique(graph.input_names) else wanted


def files(interface: Interface) -> dict[str, str]:
    """The files by name."""
    return {
        f"{interface.name}.h": _header(interface),
        "example.c": _example(interface),
        "Makefile": _makefile(interface.name),
        "CMakeLists.txt": _cmake(interface.name),
    }


def c_type(type: TensorType) -> str:
    return _TYPES.get(type.dtype.name, f"{type.dtype.name}_t")


def _dimensions(type: TensorType) -> str:
    return "".join(f"[{n}]" for n in type.shape) or "[1]"


def _header(interface: Interface) -> str:
    name, macro = interface.name, interface.name.upper()
    parameters = [f"const {c_type(t)} *{n}" for n, t in interface.inputs]
    parameters += [f"{c_type(t)} *{n}" for n, t in interface.outputs]
    listed = [
        f" *   {n:<16} {c_type(t)}{_dimensions(t)}, row by row"
        for n, t in (*interface.inputs, *interface.outputs)
    ]
    lines = [
        f"/* {name}: made by fusejit, for {interface.machine}.",
        " *",
        *listed,
        f" *   workspace        {macro}_WORKSPACE bytes, aligned to 64, of any content",
        " *",
        " * Calls with workspaces of their own may run at the same time. Inputs are read only;",
        " * nothing may overlap.",
        " */",
        f"#ifndef {macro}_H",
        f"#define {macro}_H",
        "",
        "#include <stdint.h>",
        "",
        f"#define {macro}_WORKSPACE {max(interface.workspace, 64)}",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"void {name}({', '.join([*parameters, 'void *workspace'])});",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _example(interface: Interface) -> str:
    name, macro = interface.name, interface.name.upper()
    sized = [(n, t, max(t.size, 1)) for n, t in interface.inputs]
    made = [(n, t, max(t.size, 1)) for n, t in interface.outputs]
    arrays = [f"static {c_type(t)} {n}_[{size}];" for n, t, size in (*sized, *made)]
    filling = [
        f"    for (int i = 0; i < {size}; i++) {n}_[i] = ({c_type(t)})(i % 7);"
        for n, t, size in sized
    ]
    printing = [
        f"    for (int i = 0; i < {min(size, 8)}; i++)\n"
        f'        printf("{n}[%d] = %g\\n", i, (double){n}_[i]);'
        for n, _, size in made
    ]
    given = ", ".join([*(f"{n}_" for n, _, _ in (*sized, *made)), "workspace_"])
    lines = [
        f"/* Calls {name} on numbers from 0 to 6 and prints the first results. */",
        "#include <stdio.h>",
        "",
        f'#include "{name}.h"',
        "",
        *arrays,
        f"static _Alignas(64) unsigned char workspace_[{macro}_WORKSPACE];",
        "",
        "int main(void) {",
        *filling,
        f"    {name}({given});",
        *printing,
        "    return 0;",
        "}",
        "",
    ]
    return "\n".join(lines)


def _makefile(name: str) -> str:
    return (
        f"# make && ./example\nCFLAGS ?= -O2 -Wall\n\nexample: example.c {name}.h {name}.o\n"
        f"\t$(CC) $(CFLAGS) -o $@ example.c {name}.o -lm\n\nclean:\n\trm -f example\n"
    )


def _cmake(name: str) -> str:
    return (
        f"# cmake -B build && cmake --build build && build/example\n"
        f"cmake_minimum_required(VERSION 3.15)\nproject({name} C)\n\n"
        f"# In a project of your own: target_link_libraries(yours PRIVATE {name})\n"
        f"add_library({name} INTERFACE)\n"
        f"target_sources({name} INTERFACE ${{CMAKE_CURRENT_SOURCE_DIR}}/{name}.o)\n"
        f"target_include_directories({name} INTERFACE ${{CMAKE_CURRENT_SOURCE_DIR}})\n\n"
        f"add_executable(example example.c)\nset_property(TARGET example PROPERTY C_STANDARD 11)\n"
        f"target_link_libraries(example PRIVATE {name} m)\n"
    )
