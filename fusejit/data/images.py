"""Images of handwritten digits: MNIST from its files, and those that scikit-learn brings along."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import FileError, FuseJitError
from ..op import Array
from .idx import read_idx


class Labelled(NamedTuple):
    """Images, and the number of the class of each: one element for `from_tensor_slices`."""

    images: Array
    labels: Array


class Split(NamedTuple):
    """What to train on, and what to test with."""

    train: Labelled
    test: Labelled


def mnist(folder: str | os.PathLike[str]) -> Split:
    """MNIST, or one of its kin, from the four files of its authors, compressed or not.

    `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    `t10k-labels-idx1-ubyte`, with or without ".gz".

    Args:
        folder: where the files are; nothing is downloaded.
    Returns:
        images float32[n,28,28] from 0 to 1, or of the files' size, and labels int64[n].
    Raises:
        FileError: a file is missing, damaged, truncated or of another kind, or numbers of images
            and labels differ.
    """
    return Split(_labelled(Path(folder), "train"), _labelled(Path(folder), "t10k"))


def _labelled(folder: Path, which: str) -> Labelled:
    images_path = _found(folder, f"{which}-images-idx3-ubyte")
    labels_path = _found(folder, f"{which}-labels-idx1-ubyte")
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, ndim in ((images_path, images, 3), (labels_path, labels, 1)):
        if array.dtype != np.uint8 or array.ndim != ndim:
            raise FileError(
                f"{path}: expected uint8 with {ndim} axes, and this is {array.dtype.name} "
                f"with {array.ndim}."
            )
    if len(images) != len(labels):
        raise FileError(
            f"{folder}: {images_path.name} has {len(images):,} images and {labels_path.name} "
            f"{len(labels):,} labels."
        )
    return Labelled(images.astype(np.float32) / np.float32(255), labels.astype(np.int64))


def _found(folder: Path, name: str) -> Path:
    # Some copies have a dot in place of the dash before "idx".
    names = [name, name.replace("-idx", ".idx")]
    for path in [folder / (each + end) for each in names for end in ("", ".gz")]:
        if path.is_file():
            return path
    raise FileError(f"{folder}: there is neither {name} nor {name}.gz.")


def digits(test: float = 0.2, seed: int = 0) -> Split:
    """1,797 images of 8 x 8 that come with scikit-learn (the extra `data`).

    E. Alpaydin and C. Kaynak, 1998 (https://doi.org/10.24432/C50P49).

    Args:
        test: the share that is held out, the same for each seed.
        seed: which ones are.
    Returns:
        images float32[n,8,8] from 0 to 1 and labels int64[n].
    Raises:
        FuseJitError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise FuseJitError(
            "data.digits: scikit-learn is not installed: pip install 'fusejit[data]'."
        ) from error
    found = load_digits()
    images = (found.images / 16.0).astype(np.float32)
    labels = found.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(images))
    held = round(test * len(images))
    train, kept = order[held:], order[:held]
    return Split(Labelled(images[train], labels[train]), Labelled(images[kept], labels[kept]))
