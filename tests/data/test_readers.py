"""Readers: IDX files whole and damaged, scikit-learn's digits, texts."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import fusejit as fj
from fusejit import data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """MNIST of 12 images, its test set compressed."""
    rng = np.random.default_rng(0)
    for which, n, end in (("train", 9, ""), ("t10k", 3, ".gz")):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        data.write_idx(tmp_path / f"{which}-images-idx3-ubyte{end}", images)
        data.write_idx(tmp_path / f"{which}-labels-idx1-ubyte{end}", np.arange(n, dtype=np.uint8))
    return tmp_path


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("name", ["a.idx", "a.idx.gz"])
def test_files_hold_what_was_written(tmp_path: Path, dtype: str, name: str) -> None:
    array = (np.arange(24) - 3).astype(dtype).reshape(2, 3, 4)
    data.write_idx(tmp_path / name, array)
    found = data.read_idx(tmp_path / name)
    assert found.dtype == array.dtype and np.array_equal(found, array)


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    data.write_idx(tmp_path / "a", np.array([[1, 2]], np.int16))
    assert (tmp_path / "a").read_bytes() == bytes([0, 0, 11, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 2])
    with pytest.raises(fj.FileError, match=r"IDX files hold uint8, .* and this is int64"):
        data.write_idx(tmp_path / "a", np.arange(3))


def test_mnist(folder: Path) -> None:
    train, test = data.mnist(folder)
    assert train.images.shape == (9, 28, 28) and test.images.shape == (3, 28, 28)
    assert train.images.dtype == np.float32 and train.labels.dtype == np.int64
    raw = data.read_idx(folder / "train-images-idx3-ubyte")
    np.testing.assert_allclose(train.images, raw / 255, rtol=1e-6)
    images, labels = next(iter(data.Dataset.from_tensor_slices(train).batch(4)))
    assert images.shape == (4, 28, 28) and labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], r"truncated: uint8\[9, 28, 28\] takes 7,072 bytes, and there are 7,071"),
        (lambda b: b + b"\0", "longer than it says"),
        (lambda b: b[:3], "no IDX file: it begins with 00 00 08"),
        (lambda b: b[:10], "truncated: its header has 3 sizes"),
        (lambda b: b"", "no IDX file: it begins with nothing"),
        (lambda b: b"<!DOCTYPE html>", "no IDX file: it begins with 3c 21 44 4f"),
        (lambda b: bytes([0, 0, 7]) + b[3:], "no IDX file"),
        (lambda b: gzip.compress(b)[:-20], "compressed data are damaged"),
        (lambda b: gzip.compress(b)[:200] + b"x" + gzip.compress(b)[201:], "data are damaged"),
        (lambda b: bytes([0, 0, 8, 1, 0, 0, 27, 144]) + b[16:], "expected uint8 with 3 axes"),
        (lambda b: bytes([0, 0, 8, 3, 0, 0, 0, 8]) + b[8:-784], "has 8 images and .* 9 labels"),
    ],
)  # fmt: skip
def test_damaged_files_are_named(folder: Path, change: object, message: str) -> None:
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(fj.FileError, match=message):
        data.mnist(folder)


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(fj.FileError, match="neither t10k-labels-idx1-ubyte nor"):
        data.mnist(folder)


def test_digits_are_split_the_same_way_each_time() -> None:
    pytest.importorskip("sklearn")
    first, again = data.digits(), data.digits()
    assert len(first.train.images) + len(first.test.images) == 1797
    assert len(first.test.labels) == 359 and first.train.images.shape[1:] == (8, 8)
    assert first.train.images.min() == 0 and first.train.images.max() == 1
    assert np.array_equal(first.test.images, again.test.images)
    assert not np.array_equal(first.test.labels, data.digits(seed=1).test.labels)


def test_a_text_as_numbers(tmp_path: Path) -> None:
    assert len(data.text()) > 100_000
    (tmp_path / "a.txt").write_text("née", encoding="utf-8")
    text = data.text(tmp_path / "a.txt")
    alphabet = data.Alphabet(text)
    assert len(alphabet) == 3 and alphabet.decode(alphabet.encode(text)) == text
    with pytest.raises(fj.FuseJitError, match="'x' is none of its characters"):
        alphabet.encode("x")


def test_windows() -> None:
    ids = np.arange(8)
    found = [(x.tolist(), y.tolist()) for x, y in data.windows(ids, 3, stride=2)]
    assert found == [([0, 1, 2], [1, 2, 3]), ([2, 3, 4], [3, 4, 5]), ([4, 5, 6], [5, 6, 7])]
    assert len(data.windows(ids, 7)) == 1
    with pytest.raises(fj.FuseJitError, match="expected more than 8 numbers, got 8"):
        data.windows(ids, 8)
