"""CUDA C as text: types, constants and lines. What is not generated comes from kernels/cuda."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np

from ...scalar import DType, Number
from .program import Source

TYPES: dict[DType, str] = {
    np.dtype(np.bool_): "bool",  # one byte, 0 or 1, in memory as well
    np.dtype(np.int8): "signed char",
    np.dtype(np.int16): "short",
    np.dtype(np.int32): "int",
    np.dtype(np.int64): "long long",
    np.dtype(np.uint8): "unsigned char",
    np.dtype(np.uint16): "unsigned short",
    np.dtype(np.uint32): "unsigned",
    np.dtype(np.uint64): "unsigned long long",
    np.dtype(np.float32): "float",
    np.dtype(np.float64): "double",
}
_SUFFIXES = {"int": "", "unsigned": "u", "long long": "ll", "unsigned long long": "ull"}


def literal(dtype: DType, value: Number) -> str:
    """A constant's exact spelling, of exactly this type. NVRTC has no INFINITY and no NAN."""
    kind = TYPES[dtype]
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind != "f":
        return _integer(dtype, kind, int(value))
    number = float(value)
    if not math.isfinite(number):
        if dtype.itemsize == 4:
            return f"bits<float>(0x{struct.unpack('<I', struct.pack('<f', number))[0]:08x}u)"
        return f"bits<double>(0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016x}ull)"
    mantissa, _, exponent = number.hex().partition("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    spelled = f"{mantissa}p{exponent}" + ("f" if dtype.itemsize == 4 else "")
    return f"({spelled})" if spelled.startswith("-") else spelled


def _integer(dtype: DType, kind: str, number: int) -> str:
    if kind not in _SUFFIXES:
        return f"({kind}){number}"
    suffix = _SUFFIXES[kind]
    if dtype.kind == "i" and number == -(1 << 8 * dtype.itemsize - 1):  # 2147483648 is no int
        return f"({number + 1}{suffix} - 1)"
    return f"{number}{suffix}" if number >= 0 else f"({number}{suffix})"


@dataclass
class Text:
    """The lines of a kernel, indented by the blocks that they stand in."""

    lines: list[str] = field(default_factory=list)
    depth: int = 0

    def line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    def blank(self) -> None:
        self.lines.append("")

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Braces around the lines written inside, after `head`."""
        self.line(f"{head} {{".lstrip())
        self.depth += 1
        yield
        self.depth -= 1
        self.line("}")


@cache
def library(name: str) -> str:
    """One of the hand-written files."""
    return files("fusejit.kernels").joinpath("cuda", name).read_text()


@lru_cache(maxsize=1024)
def with_fastmath(plain: Source) -> Source:
    """The same kernel, compiled without regard to IEEE, under another name."""
    name = f"{plain.name}_fast"
    return Source(name, plain.text.replace(plain.name, name), fastmath=True)


NAME = "KERNEL"
"""Stands for the kernel's name until its text is complete: the name is made from that."""


def kernel_head(threads: int, resident: int) -> str:
    """The first line of a kernel: threads of a block, blocks that a multiprocessor must hold."""
    bounds = f"__launch_bounds__({threads}, {resident})"
    return f'extern "C" __global__ void {bounds} {NAME}(const Params p)'


def source(kind: str, libraries: tuple[str, ...], text: Text) -> Source:
    """A translation unit: hand-written files, then the generated lines."""
    whole = "\n".join((*map(library, libraries), *text.lines, ""))
    name = f"{kind}_{hashlib.sha256(whole.encode()).hexdigest()[:12]}"
    return Source(name, whole.replace(NAME, name))
