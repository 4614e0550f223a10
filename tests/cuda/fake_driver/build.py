"""Builds what T4 needs on a machine without CUDA: PyCUDA, and a libcuda.so.1 that it runs on.

    python -m tests.cuda.fake_driver.build       installs PyCUDA into this environment

PyCUDA has no wheels. Building it takes the headers of CUDA, from wheels, and a library to link
with, which here is empty functions of all names that the headers declare. That takes a minute.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENT = "pycuda>=2025.1.2"
COMPILER = "g++"
FLAGS = ("-std=c++20", "-O1", "-w", "-fPIC", "-shared")

_DECLARED = re.compile(r"CUDAAPI\s+(cu[A-Z]\w*)\s*\(")
_RENAMED = re.compile(r"#\s*define\s+cu\w+\s+(?:__CUDA_API_PT[SD]Z\()?(cu\w+_v\d+)")


def headers() -> Path | None:
    """The folder of cuda.h in the wheels nvidia-cuda-runtime and nvidia-cuda-profiler-api."""
    found = importlib.util.find_spec("nvidia")
    for folder in (found and found.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("*/include/cudaProfiler.h")):
            if path.with_name("cuda.h").exists():
                return path.parent
    return None


def names(include: Path) -> list[str]:
    """All functions that the driver exports."""
    text = (include / "cuda.h").read_text() + (include / "cudaProfiler.h").read_text()
    return sorted({*_DECLARED.findall(text), *_RENAMED.findall(text)})


def library(folder: Path, include: Path, *sources: Path) -> Path:
    """libcuda.so.1: `sources`, and all other functions, which say CUDA_ERROR_NOT_SUPPORTED."""
    rest = folder / "rest.cpp"
    body = "__attribute__((weak)) int {}() {{ return 801; }}"
    rest.write_text('extern "C" {\n' + "\n".join(map(body.format, names(include))) + "\n}\n")
    made = folder / "libcuda.so.1"
    command = [COMPILER, *FLAGS, f"-I{include}", "-Wl,-soname,libcuda.so.1", "-o", str(made)]
    subprocess.run([*command, *map(str, sources), str(rest)], check=True)
    return made


def fake(folder: Path, include: Path) -> Path:
    """The library that runs kernels."""
    return library(folder, include, HERE / "libcuda.cpp", HERE / "cublas.cpp")


def install_pycuda(include: Path) -> None:
    """Build PyCUDA from its source and install it. It reads how from a file in the home folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library(folder, include).rename(folder / "libcuda.so")
        (folder / ".aksetup-defaults.py").write_text(
            f"CUDA_ROOT = {str(include.parent)!r}\n"
            "CUDA_ENABLE_CURAND = False\n"  # no wheel of small size has its header
            f"CUDADRV_LIB_DIR = [{name!r}]\n"
        )
        settings = {"HOME": name, "CFLAGS": "-O1 -g0 -w"}
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-binary", "pycuda"]
        subprocess.run([*pip, REQUIREMENT], check=True, env={**os.environ, **settings})


def main() -> None:
    if importlib.util.find_spec("pycuda") is not None:
        return
    include = headers()
    if include is None:
        wheels = ["nvidia-cuda-runtime==13.*", "nvidia-cuda-profiler-api==13.*"]
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wheels], check=True)
        importlib.invalidate_caches()
        include = headers()
    assert include is not None, "the wheels hold no cuda.h"
    install_pycuda(include)


if __name__ == "__main__":
    main()
