"""The few functions of the CUDA driver that PyCUDA lacks, called by ctypes beside it.

The library is the one that PyCUDA has loaded. Functions that take well under a microsecond keep the
GIL: to give it up and to take it back costs more.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_uint64, c_void_p
from typing import Any

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE: other threads may go on allocating and copying

_SIGNATURES: dict[str, list[Any]] = {
    "cuCtxPushCurrent_v2": [c_void_p],
    "cuCtxPopCurrent_v2": [POINTER(c_void_p)],
    "cuCtxSetCurrent": [c_void_p],
    "cuGetErrorString": [c_int, POINTER(c_char_p)],
    "cuStreamBeginCapture_v2": [c_void_p, c_int],
    "cuStreamEndCapture": [c_void_p, POINTER(c_void_p)],
    "cuGraphInstantiateWithFlags": [POINTER(c_void_p), c_void_p, c_uint64],
    "cuGraphLaunch": [c_void_p, c_void_p],
    "cuGraphDestroy": [c_void_p],
    "cuGraphExecDestroy": [c_void_p],
}


class LibCudaError(Exception):
    """What the driver says is wrong."""


class LibCuda:
    """The driver library of this process."""

    def __init__(self) -> None:
        self._library = library = ctypes.PyDLL("libcuda.so.1")
        for name, arguments in _SIGNATURES.items():
            getattr(library, name).argtypes = arguments
        self._push = library.cuCtxPushCurrent_v2
        self._pop = library.cuCtxPopCurrent_v2
        self._popped = ctypes.pointer(c_void_p())  # nobody reads it
        self.closed = False
        """Whether the device is given back, and graphs went with it: at the end of the process."""

    def push(self, context: c_void_p) -> None:
        """Make a context current on this thread."""
        result = self._push(context)
        if result:
            self._fail(result)

    def pop(self) -> None:
        """Make current what was before."""
        result = self._pop(self._popped)
        if result:
            self._fail(result)

    def exchange(self, context: c_void_p) -> None:
        """Make a context current in the place of the one that is."""
        self._check(self._library.cuCtxSetCurrent(context))

    def begin_capture(self, stream: int) -> None:
        """What is given to the stream from now on does not run, but is noted."""
        self._check(self._library.cuStreamBeginCapture_v2(stream, _THREAD_LOCAL))

    def end_capture(self, stream: int) -> int:
        """All that was noted, as a graph that can be launched."""
        graph, executable = c_void_p(), c_void_p()
        self._check(self._library.cuStreamEndCapture(stream, ctypes.byref(graph)))
        try:
            made = self._library.cuGraphInstantiateWithFlags(ctypes.byref(executable), graph, 0)
            self._check(made)
        finally:
            self._library.cuGraphDestroy(graph)
        assert executable.value is not None
        return executable.value

    def launch(self, executable: int, stream: int) -> None:
        """Run a graph."""
        self._check(self._library.cuGraphLaunch(executable, stream))

    def destroy(self, executable: int) -> None:
        """Forget a graph, once it has run."""
        if not self.closed:
            self._library.cuGraphExecDestroy(executable)

    def _check(self, result: int) -> None:
        if result:
            self._fail(result)

    def _fail(self, result: int) -> None:
        text = c_char_p()
        self._library.cuGetErrorString(result, ctypes.byref(text))
        raise LibCudaError((text.value or b"unknown error").decode() + f" (error {result})")
