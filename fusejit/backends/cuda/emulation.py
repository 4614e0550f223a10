"""Generated kernels on the CPU: g++ compiles them, fibers run their threads in any order.

For tests and for machines without a GPU. Results are those that a GPU must give, since floats are
IEEE on both and nothing is contracted. A missing barrier shows as results that depend on the order
of threads; a divergent one, a deadlock, a wrong parameter size and a write beyond shared memory are
errors that say where.
"""

from __future__ import annotations

import atexit
import ctypes
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import FuseJitError
from ...frozen import frozen
from .. import objects
from .program import Dim, Source
from .text import library

COMPILER = "g++"
FLAGS = (
    *("-std=c++20", "-O1", "-w", "-fPIC", "-shared"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing", "-fwrapv"),
)


class Order(IntEnum):
    """In which order threads run, and blocks: whatever it is, the results must be the same."""

    FORWARD = 0
    REVERSE = 1
    SHUFFLED = 2


def why_not() -> str | None:
    """Why nothing can be emulated here, or None."""
    return None if shutil.which(COMPILER) else f"the GPU emulator needs {COMPILER}"


@cache
def _folder() -> Path:
    """Where this process keeps what it loads; the cache of objects outlives it."""
    folder = tempfile.mkdtemp(prefix="fusejit-emulated-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _built(name: str, text: str, flags: Sequence[str]) -> Path:
    """A shared library made of `text`, from the cache if it is there."""
    key = objects.key("emulated", *flags, library("emulator.h"), text, _machine())
    path = _folder() / f"{key}.so"
    if path.exists():
        return path
    image = objects.load(key)
    if image is None:
        origin = path.with_suffix(".cpp")
        origin.write_text(text)
        (_folder() / "emulator.h").write_text(library("emulator.h"))
        command = [COMPILER, *flags, f"-I{_folder()}", "-o", f"{path}.new", str(origin)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FuseJitError(f"{COMPILER} does not compile {name}:\n{done.stderr}")
        image = Path(f"{path}.new").read_bytes()
        objects.store(key, image)
    Path(f"{path}.new").write_bytes(image)
    Path(f"{path}.new").rename(path)
    return path


@cache
def _machine() -> str:
    """What code made by this compiler for this machine depends on."""
    version = subprocess.run([COMPILER, "-dumpfullversion"], capture_output=True, check=False)
    return f"{version.stdout!r} {platform.node()} {platform.machine()}"


def compiled(*sources: Source) -> Path:
    """A library of these kernels, compiled together: each has a namespace of its own."""
    parts = ['#include "emulator.h"']
    for source in sources:
        parts += [
            f"namespace unit_{source.name} {{",
            source.text,
            f"}}  // {source.name}",
            f'extern "C" const size_t {source.name}_size = sizeof(unit_{source.name}::Params);',
            f'extern "C" const int {source.name}_cooperates = {int(_cooperates(source))};',
            f'extern "C" void {source.name}_body(const void* p) {{',
            f"  unit_{source.name}::{source.name}(*(const unit_{source.name}::Params*)p);",
            "}",
        ]
    # An instruction for fma is exact, and a hundred times as fast as libm without it.
    native = ("-march=native",) if platform.machine() in ("x86_64", "AMD64") else ()
    name = ", ".join(source.name for source in sources)
    return _built(name, "\n".join((*parts, "")), (*FLAGS, *native))


def _cooperates(source: Source) -> bool:
    """Whether threads wait for one another; others need no stack of their own."""
    own = source.text.replace(library("device.cuh"), "")
    return "block_barrier(" in own or "shuffle_down(" in own


@cache
def _scheduler() -> ctypes.CDLL:
    loaded = ctypes.CDLL(
        str(_built("the emulator", library("emulator.cpp"), FLAGS)), mode=ctypes.RTLD_GLOBAL
    )
    loaded.emulated_launch.restype = ctypes.c_char_p
    loaded.emulated_launch.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_uint64),
    ]
    return loaded


@frozen
class Kernel:
    """A compiled kernel, ready to be launched."""

    name: str
    library: Any  # keeps the code loaded
    body: int  # address of the function that takes the parameters' address
    size: int  # bytes of parameters
    cooperates: bool

    def launch(
        self,
        grid: Dim,
        block: Dim,
        shared: int,
        parameters: bytes,
        order: Order = Order.FORWARD,
        seed: int = 0,
    ) -> None:
        """Run all blocks.

        Raises:
            FuseJitError: the parameters have another size, or what the kernel did wrong.
        """
        if len(parameters) != self.size:
            raise FuseJitError(
                f"{self.name}: expected {self.size} bytes of parameters, got {len(parameters)}"
            )
        sizes = [(ctypes.c_uint * 3)(*dim) for dim in (grid, block)]
        failure = _scheduler().emulated_launch(
            self.body, parameters, *sizes, shared, int(self.cooperates), int(order), seed
        )
        if failure is not None:
            raise FuseJitError(f"{self.name}: {failure.decode()}")


def loaded(path: Path, name: str) -> Kernel:
    """A kernel of a library that `compiled` made."""
    _scheduler()  # whose symbols the kernel refers to
    code = ctypes.CDLL(str(path))
    body = ctypes.cast(getattr(code, f"{name}_body"), ctypes.c_void_p).value
    assert body is not None
    return Kernel(
        name,
        code,
        body,
        ctypes.c_size_t.in_dll(code, f"{name}_size").value,
        bool(ctypes.c_int.in_dll(code, f"{name}_cooperates").value),
    )
