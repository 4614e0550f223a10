"""IDX files, in which MNIST and its kin come: a header of sizes, then the numbers, big-endian.

    magic    0, 0, code of the dtype, number of axes     4 bytes
    sizes    one for each axis                           uint32 each
    data     the elements, the last axis fastest

(http://yann.lecun.com/exdb/mnist, "the IDX file format".) A file may be compressed by gzip.
"""

from __future__ import annotations

import math
import os
import struct
from typing import TypeAlias

import numpy as np

from ..errors import FileError
from ..op import Array

Path: TypeAlias = "str | os.PathLike[str]"

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(text).newbyteorder("="): code for code, text in _DTYPES.items()}
_GZIP = b"\x1f\x8b"


def read_idx(path: Path) -> Array:
    """The array in an IDX file, compressed or not.

    Raises:
        FileError: the file is no IDX file, or has more or fewer bytes than its header says, or its
            compressed data are damaged.
        FileNotFoundError: there is none.
    """
    with open(path, "rb") as file:
        content = file.read()
    if content.startswith(_GZIP):
        content = _decompressed(path, content)
    dtype, shape = _header(path, content)
    start = 4 + 4 * len(shape)
    expected = start + dtype.itemsize * math.prod(shape)
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "longer than it says"
        raise FileError(
            f"{path}: the file is {what}: {dtype.name}{list(shape)} takes {expected:,} bytes, and "
            f"there are {len(content):,}."
        )
    return (
        np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
    )


def write_idx(path: Path, array: Array) -> None:
    """Write an IDX file; compressed if its name ends in ".gz".

    Raises:
        FileError: a dtype that the format does not have.
    """
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        known = ", ".join(dtype.name for dtype in _CODES)
        raise FileError(f"{path}: IDX files hold {known}, and this is {array.dtype.name}.")
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    content = header + array.astype(_DTYPES[code]).tobytes()
    if os.fspath(path).endswith(".gz"):
        import gzip

        content = gzip.compress(content, mtime=0)
    with open(path, "wb") as file:
        file.write(content)


def _decompressed(path: Path, content: bytes) -> bytes:
    import gzip  # a millisecond, which importing fusejit need not take
    import zlib

    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path}: the compressed data are damaged: {error}.") from error


def _header(path: Path, content: bytes) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        start = content[:4].hex(" ") or "nothing"
        raise FileError(f"{path}: this is no IDX file: it begins with {start}.")
    axes = content[3]
    if len(content) < 4 + 4 * axes:
        raise FileError(f"{path}: the file is truncated: its header has {axes} sizes.")
    return np.dtype(_DTYPES[content[2]]), struct.unpack_from(f">{axes}I", content, 4)
