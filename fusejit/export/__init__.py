"""Functions for other programs: ONNX models, and object files for C."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def onnx(f: Callable[..., Any], path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
    """Save what a call of `f` computes as an ONNX model of the same shapes. Needs the extra [onnx].

    Arguments become inputs by the names of the parameters; Variables and other Tensors that f reads
    become initializers; results become `output`, or `output0`, `output1`, ... in their order
    (a Tensor that is returned twice is one of them).

    Args:
        f: a function, best one decorated by `fj.function`; a bound method, or anything callable.
        path: the file.
        args, kwargs: a call, which is made if it was never recorded.
    Raises:
        ExportError: names all that ONNX cannot say, each with its line: ops without a counterpart,
            values that decide what is computed, assignments.
        CaptureError: the call cannot be replayed.
    """
    from .to_onnx import export_onnx

    export_onnx(f, path, args, kwargs)


def c(
    f: Callable[..., Any],
    folder: str | os.PathLike[str],
    *args: Any,
    name: str | None = None,
    cpu: str | None = None,
    **kwargs: Any,
) -> Path:
    """Save what a call of `f` computes as an object file for C, without Python and BLAS.

    The folder gets NAME.o, NAME.h, and a Makefile, a CMakeLists.txt and example.c that use them.
    The kernels are those that run here, one after the other on one thread; weights lie in the
    object. The same sizes as in this call are the only ones.

    Args:
        f: a function, best one decorated by `fj.function`; a bound method, or anything callable.
        folder: where to; made if it is not there.
        args, kwargs: a call, which is made if it was never recorded.
        name: what the C function is called; that of `f` by default.
        cpu: the machine to run on, as LLVM names it: "x86-64-v3", "generic"; this one by default.
    Returns:
        The path of the header.
    Raises:
        ExportError: names all that needs Python, each with its line: ops that NumPy runs, values
            that decide what is computed, assignments.
        CaptureError: the call cannot be replayed.
    """
    from .to_c import export_c

    return export_c(f, Path(folder), args, kwargs, name, cpu)
