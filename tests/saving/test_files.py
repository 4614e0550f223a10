"""Files of arrays: what comes back, what other programs read, and what is damaged."""

from __future__ import annotations

import os
import random
import resource
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import fusejit as fj
from fusejit import files

ARRAYS: dict[str, Any] = {
    "float64": np.arange(6.0).reshape(2, 3),
    "scalar": np.array(2**64 - 1, np.uint64),
    "bool": np.array([True, False, True]),
    "bfloat16": np.ones(3, ml_dtypes.bfloat16),
    "float16": np.full((2, 1), 0.1, np.float16),
    "empty": np.zeros((0, 3), np.float32),
    "complex64": np.array([1 + 2j], np.complex64),
    "complex128": np.array([[1 - 2j], [0.5j]]),
    "backwards": np.arange(5, dtype=np.int8)[::-1],
    "façade": np.float32(0.5),
}


def same(left: Any, right: Any) -> bool:
    left, right = np.asarray(left), np.asarray(right)
    alike = left.dtype == right.dtype and left.shape == right.shape
    return alike and left.tobytes() == right.tobytes()


def test_arrays_come_back_bit_by_bit(tmp_path: Path) -> None:
    files.write(tmp_path / "a.safetensors", ARRAYS, {"note": 'a "quoted"\n text'})
    arrays, metadata = files.read(tmp_path / "a.safetensors")
    assert arrays.keys() == ARRAYS.keys()
    assert all(same(arrays[name], array) for name, array in ARRAYS.items())
    assert metadata["note"] == 'a "quoted"\n text'
    assert not arrays["float64"].flags.writeable


def test_other_programs_read_and_write_the_same_format(tmp_path: Path) -> None:
    files.write(tmp_path / "ours", ARRAYS, {"note": "text"})
    with safe_open(tmp_path / "ours", "np") as opened:
        assert opened.metadata()["note"] == "text"
        for name in ("float64", "scalar", "bool", "float16", "empty", "complex64", "façade"):
            assert same(opened.get_tensor(name), ARRAYS[name]), name
    save_file({"w": np.ones((2, 2), np.float32)}, tmp_path / "theirs")
    assert same(files.read(tmp_path / "theirs").arrays["w"], np.ones((2, 2), np.float32))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    files.write(path, ARRAYS, {"note": "text"})
    whole, draw = path.read_bytes(), random.Random(0)
    for number in range(600):
        damaged = bytearray(whole)
        at = draw.randrange(len(whole))
        if number % 3 == 0:
            damaged[at] ^= 1 << draw.randrange(8)
        elif number % 3 == 1:
            del damaged[at:]
        else:
            damaged[at : at + draw.randrange(9)] = draw.randbytes(draw.randrange(9))
        if damaged == whole:
            continue
        path.write_bytes(damaged)
        with pytest.raises(fj.FileError, match="damaged"):
            files.read(path)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"7",
        b"{",
        b"[" * 100_000,
        b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}',
        b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,9007199254740992]}}',
        b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"v":{}}',
        b'{"w":{"dtype":"F32","shape":%s,"data_offsets":[0,4]}}' % str([1] * 65).encode(),
        b'{"__metadata__":[1]}',
        b'{"__metadata__":{"a":1}}',
        b'{"__metadata__":{"sha256":"0000"}}',
        b"\xff\xfe",
    ],
)
def test_a_header_that_makes_no_sense_is_refused(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(fj.FileError, match="damaged"):
        files.read(path)


def test_a_length_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"", b"\1", b"\xff" * 8, (10**7).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        with pytest.raises(fj.FileError):
            files.read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(fj.FileError, match="no regular file"):
        files.read(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "missing")


def test_a_full_disk_leaves_the_file_of_before(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    files.write(path, {"w": np.zeros(10)}, {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # as if there was no more room
    try:
        with pytest.raises(OSError, match="too large"):
            files.write(path, {"w": np.ones(1000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert same(files.read(path).arrays["w"], np.zeros(10))
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_an_interrupt_leaves_the_file_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    files.write(path, {"w": np.zeros(10)}, {})

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, {"w": np.ones(10)}, {})
    assert same(files.read(path).arrays["w"], np.zeros(10))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a")
    files.write(tmp_path / "link", {"w": np.ones(2)}, {})
    assert (tmp_path / "link").is_symlink()
    assert same(files.read(tmp_path / "there" / "a").arrays["w"], np.ones(2))
