"""CUDA C to machine code of one GPU architecture, by NVRTC from its wheel; no toolkit is needed.

What is found in the cache of compiled objects was made from the same text, with the same options,
by the same compiler, for the same architecture. A kernel takes 40 to 60 ms otherwise. NVRTC lets
only one thread of a process compile, so many kernels are shared out to processes.

The image is a cubin, for exactly that architecture: PTX of this compiler may be too new for the
driver. nvcc takes 20 times as long and serves only where the wheel is missing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import DeviceError, LoweringError
from .. import objects
from .program import Source

OPTIONS = (
    "--std=c++17",
    "-fmad=false",  # a multiply-add only where the scalar language says so
    "-prec-div=true",
    "-prec-sqrt=true",
    "-ftz=false",
)
"""IEEE arithmetic, as on the CPU."""
FAST_OPTIONS = ("--std=c++17", "--use_fast_math")
"""For who asks for fastmath."""

_A_PROCESS = 16  # kernels to a process, which takes 0.5 s to start: as long as 10 to compile
_LEAST = 4  # processes; two, on two cores that were not idle, took half as long again as one


def images(sources: Sequence[Source], architecture: str) -> list[bytes]:
    """The cubin of each source, from the cache or compiled; see `compile_one`."""
    keys = [_key(source, architecture) for source in sources]
    found: dict[str, bytes] = {}
    missing: dict[str, Source] = {}
    for key, source in zip(keys, sources, strict=True):
        image = objects.load(key)
        if image is None:
            missing[key] = source
        else:
            found[key] = image
    for key, image in zip(missing, compile_all(list(missing.values()), architecture), strict=True):
        objects.store(key, image)
        found[key] = image
    return [found[key] for key in keys]


def compile_all(sources: Sequence[Source], architecture: str) -> list[bytes]:
    """The cubins of sources; several processes share many."""
    processes = min(len(os.sched_getaffinity(0)), len(sources) // _A_PROCESS)
    if processes < _LEAST or not _has_nvrtc():
        return [compile_one(source, architecture)[0] for source in sources]
    shares = [sources[i::processes] for i in range(processes)]
    workers = [_worker() for _ in shares]  # all, before any of them is ready to read
    for worker, share in zip(workers, shares, strict=True):
        _give(worker, share, architecture)
    answers = [worker.communicate() for worker in workers]
    images = [_images(worker, *answer) for worker, answer in zip(workers, answers, strict=True)]
    return [images[i % processes][i // processes] for i in range(len(sources))]


def compile_one(
    source: Source, architecture: str, options: Sequence[str] = ()
) -> tuple[bytes, str]:
    """The cubin of a source, and what the compiler said.

    Raises:
        LoweringError: it does not compile: a bug in fusejit.
        DeviceError: there is no compiler.
    """
    options = (f"--gpu-architecture={architecture}", *_options(source), *options)
    if _has_nvrtc():
        return _by_nvrtc(source, options)
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        raise DeviceError(
            "kernels for a GPU need NVRTC: pip install 'fusejit[cuda]', or put nvcc on the PATH."
        )
    return _by_nvcc(nvcc, source, options)


def _options(source: Source) -> tuple[str, ...]:
    return FAST_OPTIONS if source.fastmath else OPTIONS


def _key(source: Source, architecture: str) -> str:
    options = _options(source)
    return objects.key("cuda", version(), architecture, *options, source.name, source.text)


@cache
def version() -> str:
    """Of the compiler that is used."""
    if _has_nvrtc():
        major, minor = _checked(_nvrtc().nvrtcVersion())
        return f"nvrtc {major}.{minor}"
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return "none"
    return subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout


# ---- NVRTC


def _has_nvrtc() -> bool:
    found = importlib.util.find_spec
    return found("cuda") is not None and found("cuda.bindings") is not None


def _nvrtc() -> Any:
    from cuda.bindings import nvrtc

    return nvrtc


def _checked(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """What an NVRTC function returns after its status."""
    status, *values = result
    if status:
        message = _nvrtc().nvrtcGetErrorString(status)[1].decode()
        raise LoweringError(f"NVRTC: {message}")
    return tuple(values)


def _by_nvrtc(source: Source, options: Sequence[str]) -> tuple[bytes, str]:
    nvrtc = _nvrtc()
    text, name = source.text.encode(), f"{source.name}.cu".encode()
    (program,) = _checked(nvrtc.nvrtcCreateProgram(text, name, 0, [], []))
    try:
        encoded = [option.encode() for option in options]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        (size,) = _checked(nvrtc.nvrtcGetProgramLogSize(program))
        log = bytearray(size)
        _checked(nvrtc.nvrtcGetProgramLog(program, log))
        said = log.rstrip(b"\0").decode(errors="replace")
        if status:
            raise LoweringError(f"{source.name}: the kernel does not compile: {said}")
        (size,) = _checked(nvrtc.nvrtcGetCUBINSize(program))
        image = bytearray(size)
        _checked(nvrtc.nvrtcGetCUBIN(program, image))
        return bytes(image), said
    finally:
        nvrtc.nvrtcDestroyProgram(program)


# ---- nvcc


def _by_nvcc(nvcc: str, source: Source, options: Sequence[str]) -> tuple[bytes, str]:
    with tempfile.TemporaryDirectory() as folder:
        path, image = Path(folder, f"{source.name}.cu"), Path(folder, "image")
        path.write_text(source.text)
        command = [nvcc, "--cubin", *options, "-o", str(image), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LoweringError(f"{source.name}: the kernel does not compile: {done.stderr}")
        return image.read_bytes(), done.stderr


# ---- other processes


def _worker() -> subprocess.Popen[str]:
    """A process that compiles; it imports no module of the user's, as one that is forked or made
    by multiprocessing would."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import {__name__} as it; it.work()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def _give(worker: subprocess.Popen[str], sources: Sequence[Source], architecture: str) -> None:
    assert worker.stdin is not None
    json.dump([architecture, [(s.name, s.text, s.fastmath) for s in sources]], worker.stdin)
    worker.stdin.close()
    worker.stdin = None  # so that `communicate` leaves it


def work() -> None:
    """What such a process does: sources on standard input, images on standard output."""
    architecture, sources = json.load(sys.stdin)
    made = [compile_one(Source(*fields), architecture)[0] for fields in sources]
    json.dump([b64encode(image).decode() for image in made], sys.stdout)


def _images(worker: subprocess.Popen[str], answer: str, errors: str) -> list[bytes]:
    if worker.returncode:
        raise LoweringError(f"a process that compiles kernels has failed: {errors.strip()}")
    return [b64decode(image) for image in json.loads(answer)]
