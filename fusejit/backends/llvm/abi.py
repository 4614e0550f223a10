"""CPython and NumPy as native code sees them: addresses of the C API, layouts, builtin functions.

Layouts are assumed in `kernels/llvm/api.ll` and checked here on real objects, once, before any
native code looks at one: another ABI is a `LoweringError`, never a crash.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from math import prod
from types import FunctionType
from typing import Any

import numpy as np

from ...errors import LoweringError

_API_SLOTS = {"PyArray_NewFromDescr": 94, "PyArray_SetBaseObject": 282}
_ARRAY_TYPE_SLOT = 2
_FUNCTIONS = (
    "Py_IncRef",
    "Py_DecRef",
    "PyErr_Occurred",
    "PyErr_Clear",
    "PyErr_ExceptionMatches",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "PyInterpreterState_Get",
    "PyInterpreterState_ThreadHead",
    "PyThreadState_Next",
    "PyType_GetFlags",
    "PyType_GenericAlloc",
    "PyObject_Vectorcall",
    "PyObject_GetAttr",
    "PyObject_Size",
    "PyObject_RichCompareBool",
    "PyDict_New",
    "PyDict_SetItem",
    "PyDict_GetItemWithError",
    "PyDict_Next",
    "PyCell_Get",
    "PyFrame_GetCode",
    "PyFunction_GetCode",
    "PyFunction_GetDefaults",
    "PyFunction_GetKwDefaults",
    "PyFunction_GetClosure",
    "PySequence_Tuple",
    "PyTuple_New",
    "PyTuple_Size",
    "PyTuple_GetItem",
    "PyTuple_SetItem",
    "PyList_New",
    "PyList_GetItem",
    "PyList_SetItem",
    "PyLong_FromSsize_t",
    "PyLong_AsVoidPtr",
    "PyBytes_FromStringAndSize",
    "PyFloat_AsDouble",
    "PyCapsule_New",
    "PyCapsule_GetPointer",
    "PyCapsule_IsValid",
    "PyCapsule_GetContext",
    "PyCapsule_SetContext",
)
METH_O = 0x8
METH_FASTCALL = 0x80
METH_KEYWORDS = 0x2


class Memory:
    """Rows of 64-bit words at fixed addresses, with every object that those words point to.

    All records of the native runtime are such rows. They live as long as a tuple that `owned` made;
    the garbage collector sees through it.
    """

    def __init__(self) -> None:
        self._owned: list[object] = []

    def words(self, values: Iterable[int]) -> int:
        """The address of a new row; a row without values still has an address."""
        array = np.array([*values] or [0], np.int64)
        self._owned.append(array)
        return address(array)

    def pin(self, value: object) -> int:
        """The address of a Python object, kept alive."""
        self._owned.append(value)
        return id(value)

    def data(self, array: np.ndarray[Any, Any]) -> int:
        """The address of an array's data, kept alive."""
        self._owned.append(array)
        return address(array)

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
        """The fields of an `%Array` record."""
        count = prod(shape)
        return (
            self.pin(dtype),
            self.words(shape),
            len(shape),
            dtype.itemsize,
            count * dtype.itemsize,
            ord(dtype.kind),
            ord(dtype.byteorder),
        )

    def owned(self, *first: object) -> tuple[object, ...]:
        return (*first, *self._owned)


def kernels_text(name: str) -> str:
    """The text of a file of `fusejit.kernels`, for example 'llvm/walker.ll'."""
    from importlib import resources  # 6 ms

    return resources.files("fusejit.kernels").joinpath(*name.split("/")).read_text("utf-8")


def address(array: np.ndarray[Any, Any]) -> int:
    """Where an array's data begins, read as native code reads it: NumPy takes 1 us to say so."""
    return _word(id(array) + 16)


def laid_out(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`array`, or a copy of it, as native code walks it: C-contiguous and aligned."""
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else array.copy()


def pointer(function: Any) -> int:
    """The address of a function of a shared library."""
    place = ctypes.cast(function, ctypes.c_void_p).value
    assert place is not None
    return place


@cache
def c_api(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A function of CPython's C API with types of our own: `ctypes.pythonapi` is everybody's."""
    return ctypes.PYFUNCTYPE(result, *arguments)(pointer(getattr(ctypes.pythonapi, name)))


def why_not_native() -> str | None:
    """Why this interpreter cannot be entered natively, or None."""
    if sys.implementation.name != "cpython":
        return f"native calls need CPython, this is {sys.implementation.name}"
    if "free-threading" in sys.version:  # sysconfig would take 3 ms to read its own file
        return "native calls need the GIL; this build of CPython is free-threaded"
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return "native calls need 64-bit pointers"
    return None


@lru_cache(maxsize=1)
def symbols() -> dict[str, int]:
    """The addresses of what `api.ll` declares, once the layouts are known to be as it says."""
    reason = why_not_native()
    if reason is not None:
        raise LoweringError(reason)
    table = _array_api()
    if table[_ARRAY_TYPE_SLOT] != id(np.ndarray):
        raise LoweringError(f"NumPy {np.__version__}: its C API has an unknown layout")
    _check_layouts()
    found = {name: table[slot] for name, slot in _API_SLOTS.items()}
    found.update((name, pointer(getattr(ctypes.pythonapi, name))) for name in _FUNCTIONS)
    types: dict[str, object] = {
        "PyArray_Type": np.ndarray,
        "PyFloat_Type": float,
        "PyFunction_Type": FunctionType,
        "PyLong_Type": int,
        "PyUnicode_Type": str,
        "PyBytes_Type": bytes,
        "_Py_NoneStruct": None,
    }
    found.update((name, id(value)) for name, value in types.items())
    for name in ("PyExc_AttributeError", "PyExc_Exception"):
        found[name] = ctypes.addressof(ctypes.c_void_p.in_dll(ctypes.pythonapi, name))
    return found


def _array_api() -> Any:
    get = c_api("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    capsule = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    return ctypes.cast(get(capsule, None), ctypes.POINTER(ctypes.c_size_t))


def _check_layouts() -> None:
    """Read every field that native code reads, from a probe, and compare."""
    probe = np.zeros((3, 5), np.float32)
    dtype = probe.dtype
    part = probe[:, 1:]
    watch = weakref.ref(part)
    counted = ([object()], [object()] * 3)  # lists of what nothing else refers to
    dims = _word(id(probe) + 32)
    expected = {
        "type": (_word(id(probe) + 8), id(np.ndarray)),
        "data": (address(probe), probe.ctypes.data),
        "ndim": (_word(id(probe) + 24) & 0xFFFFFFFF, 2),
        "dims": ((_word(dims), _word(dims + 8)), probe.shape),
        "dtype": (_word(id(probe) + 56), id(dtype)),
        "flags": (_word(id(probe) + 64) & 0xFFFFFFFF & 0x101, 0x101),
        "flags of a part": (_word(id(part) + 64) & 0x101, 0x100),
        "kind": (_byte(id(dtype) + 24), ord("f")),
        "byte order": (_byte(id(dtype) + 26), ord("=")),
        "item size": (_word(id(dtype) + 40), 4),
        "flags of a type": (_word(id(np.ndarray) + 168), np.ndarray.__flags__),
        "base": (_word(id(part) + 48), id(probe)),
        "no weak references": (_word(id(probe) + 72), 0),
        "weak references": (_word(id(part) + 72), id(watch)),
        "what is referred to weakly": (_word(id(watch) + 16), id(part)),
        "references": ([_word(id(n[0])) & 0xFFFFFFFF for n in counted], [1, 3]),
    }
    for field, (found, wanted) in expected.items():
        if found != wanted:
            raise LoweringError(
                f"NumPy {np.__version__} on Python {sys.version.split()[0]}: "
                f"{field}: expected {wanted}, got {found}; native code would misread its objects"
            )


def _word(place: int) -> int:
    return ctypes.c_int64.from_address(place).value


def _byte(place: int) -> int:
    return ctypes.c_uint8.from_address(place).value


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("code", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def builtin(name: str, code: int, flags: int, record: int, memory: Memory) -> Any:
    """A builtin function whose self is a tuple (address of `record`, what `memory` owns...)."""
    method = _MethodDef(name.encode(), code, flags, None)
    owner = memory.owned(record, method)  # the function does not own its method record: self does
    make = c_api(
        "PyCFunction_NewEx", ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
    )
    return make(ctypes.addressof(method), owner, None)
