"""Arrays in files: safetensors that are whole or not there, and known if they are damaged.

    file      8 bytes: how long the header is; the header, JSON; the arrays, one after the other
    header    {name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
    metadata  text by name, at "__metadata__" of the header. `sha256` is of the file itself, with
              zeros in its place

Nothing in such a file is code. It appears by renaming a complete one that has reached the disk, so
whatever stops a process while it saves, the file of before is still there and whole. Files of other
programs have no `sha256`, and are taken as they are. The format is written and read here, which
takes no more lines than asking its package to, and copies no array.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .dtypes import DTYPES, bfloat16, is_bfloat16
from .errors import FileError
from .op import Array
from .scalar import DType

AnyPath: TypeAlias = "str | os.PathLike[str]"

MAX_HEADER = 100_000_000
"""Bytes, as the format has it."""
MAX_AXES = 64  # of an array, as NumPy has it
_ALIGNED = 8  # bytes that the arrays begin at a multiple of
_PAIRS = "complex128"  # the format has no such dtype: stored as pairs of float64, named here
_KEY = b'"sha256":"'  # a quote inside of a JSON string is escaped, so this is nowhere else
_ZEROS = b"0" * 64
_LETTERS = {"bool": "BOOL", "float": "F", "bfloat": "BF", "int": "I", "uint": "U", "complex": "C"}
_NAMES = {
    name: _LETTERS[name.rstrip("0123456789")] + name.lstrip("abcdefghijklmnopqrstuvwxyz")
    for name in (*DTYPES, "bfloat16")
    if name != _PAIRS
}


class Contents(NamedTuple):
    """What a file holds. The arrays are read-only."""

    arrays: dict[str, Array]
    metadata: dict[str, str]


def write(path: AnyPath, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Save arrays; atomic.

    Raises:
        OSError: there is no room, or no permission; nothing has changed.
        FileError: names, shapes and metadata take more than MAX_HEADER bytes.
    """
    import hashlib  # 4 ms with json: most programs save nothing, and networks import this
    import json

    # Larger elements first, so that each array begins at a multiple of its own.
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    order = sorted(kept, key=lambda name: (-kept[name].dtype.itemsize, name))
    pairs = [name for name in order if kept[name].dtype == DTYPES[_PAIRS]]
    header: dict[str, Any] = {
        "__metadata__": {**metadata, _PAIRS: json.dumps(pairs), "sha256": _ZEROS.decode()}
    }
    end = 0
    for name in order:
        array, start = kept[name], end
        end += array.nbytes
        dtype, shape = _described(array, np.shape(arrays[name]))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNED)
    if len(text) > MAX_HEADER:
        raise FileError(f"{os.fspath(path)} would have a header of {len(text)} bytes, too many.")
    parts: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text]
    parts += [_bytes_of(kept[name]) for name in order]
    at = text.find(_KEY) + len(_KEY)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    parts[1] = text[:at] + digest.hexdigest().encode() + text[at + len(_ZEROS) :]
    replace_file(path, parts)


def read(path: AnyPath) -> Contents:
    """What `write` has saved, or any other safetensors file.

    Raises:
        FileError: it is damaged, cut off, or no such file.
        OSError: it cannot be read.
    """
    data = memoryview(_content(path))
    try:
        return _parsed(data)
    except Exception as error:  # whatever a hostile header has led to
        raise FileError(f"{os.fspath(path)} is damaged, or no safetensors file: {error}.") from None


def replace_file(path: AnyPath, parts: Iterable[bytes | memoryview]) -> None:
    """Make a file of these bytes, in place of one that may be there; atomic.

    What other processes have left of this name, killed while they wrote, is removed; so of two that
    save to one path at the same time, one may be refused (OSError).
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    start = f".{name}."
    for each in os.listdir(folder):
        if each.startswith(start) and each.endswith(".new"):
            _remove(os.path.join(folder, each))
    temporary = os.path.join(folder, f"{start}{os.urandom(8).hex()}.new")
    try:
        with open(temporary, "xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:  # an interrupt as well
        _remove(temporary)
        raise
    _sync_folder(folder)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # it is gone, or not ours
        os.unlink(path)


def _sync_folder(folder: str) -> None:
    """Have the new name on the disk as well, where a folder can be opened."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---- writing


def _described(array: Array, shape: tuple[int, ...]) -> tuple[str, list[int]]:
    """An array as the header has it."""
    if array.dtype == DTYPES[_PAIRS]:
        return _NAMES["float64"], [*shape, 2]
    return _NAMES["bfloat16" if is_bfloat16(array.dtype) else array.dtype.name], [*shape]


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


# ---- reading


def _content(path: AnyPath) -> bytes:
    # Opening a pipe would wait for a writer without O_NONBLOCK; it changes nothing for a file.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileError(f"{os.fspath(path)} is no regular file.")
        return file.read()


def _parsed(data: memoryview) -> Contents:
    """The content of a file, looked through: ValueError and the like say what is wrong."""
    import json

    size = int.from_bytes(data[:8], "little")
    start = 8 + size
    if size > MAX_HEADER or start > len(data):
        raise ValueError("it ends inside of its header")
    text = bytes(data[8:start])
    header = json.loads(text.decode("utf-8"))
    metadata = header.pop("__metadata__", {})
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata is no text")
    if "sha256" in metadata or _PAIRS in metadata:  # either is enough: one may be damaged
        _check_digest(data, 8 + text.find(_KEY) + len(_KEY))
    pairs = json.loads(metadata.pop(_PAIRS, "[]"))
    arrays, end = {}, 0
    for name, each in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, next_end = each["data_offsets"]
        if begin != end or type(next_end) is not int or not end <= next_end <= len(data) - start:
            raise ValueError(f"{name} is not where it should be")
        arrays[name] = _array(data[start + begin : start + next_end], name, each, name in pairs)
        end = next_end
    if start + end != len(data):
        raise ValueError("it is longer than its arrays")
    return Contents({name: arrays[name] for name in header}, metadata)


def _check_digest(data: memoryview, at: int) -> None:
    import hashlib

    found = hashlib.sha256(data[:at])
    found.update(_ZEROS)
    found.update(data[at + len(_ZEROS) :])
    if data[at : at + len(_ZEROS)] != found.hexdigest().encode():
        raise ValueError("its content is not what was written")


def _array(data: memoryview, name: str, described: Mapping[str, Any], paired: bool) -> Array:
    shape, dtype = described["shape"], _dtype_of(described["dtype"])
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > MAX_AXES:
        raise ValueError(f"{name} has the shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{name} is not as long as its shape says")
    array: Array = np.frombuffer(data, dtype).reshape(shape)
    if paired:
        array = array.view(DTYPES[_PAIRS]).reshape(shape[:-1])
    array.flags.writeable = False
    return array


def _dtype_of(code: object) -> DType:
    name = next((name for name, known in _NAMES.items() if known == code), None)
    if name is None:
        raise ValueError(f"there is no dtype {code} here")
    return bfloat16() if name == "bfloat16" else DTYPES[name]
