"""Texts as numbers, one a character."""

from __future__ import annotations

import os

import numpy as np

from ..errors import FuseJitError
from ..op import Array
from .dataset import Dataset


def text(path: str | os.PathLike[str] | None = None) -> str:
    """The text in a file in UTF-8; by default one that every Python has.

    That is the language reference that `help()` shows: half a megabyte of English, more or less.
    """
    if path is not None:
        with open(path, encoding="utf-8") as file:
            return file.read()
    from pydoc_data.topics import topics  # half a megabyte, loaded when asked for

    return "\n".join(topics.values()).encode("ascii", "ignore").decode()


class Alphabet:
    """The characters of a text, numbered in their order.

    Example:
        >>> alphabet = Alphabet("hello")
        >>> alphabet.encode("hole").tolist()
        [1, 3, 2, 0]
        >>> alphabet.decode([1, 3, 2, 0])
        'hole'
    """

    def __init__(self, text: str) -> None:
        self.characters = "".join(sorted(set(text)))
        self._number = {character: i for i, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Array:
        """int64[n]: the number of each character; FuseJitError for one that is not in there."""
        try:
            return np.array([self._number[character] for character in text], np.int64)
        except KeyError as error:
            raise FuseJitError(f"Alphabet: {error.args[0]!r} is none of its characters.") from None

    def decode(self, numbers: Array) -> str:
        """The text of these numbers."""
        return "".join(self.characters[int(i)] for i in np.asarray(numbers))


def windows(numbers: Array, length: int, stride: int | None = None) -> Dataset:
    """Pieces of a sequence, each with the same piece one place later: what comes next.

    Args:
        numbers: [n], for example an encoded text. It is not copied.
        length: of a piece.
        stride: from the start of one piece to that of the next; by default `length`.
    Returns:
        A dataset of (inputs, targets), both [length].
    Raises:
        FuseJitError: the sequence is too short for one piece.
    Example:
        >>> import numpy as np
        >>> [(x.tolist(), y.tolist()) for x, y in windows(np.arange(5), 2)]
        [([0, 1], [1, 2]), ([2, 3], [3, 4])]
    """
    if len(numbers) <= length:
        raise FuseJitError(f"windows: expected more than {length} numbers, got {len(numbers)}.")
    found = np.lib.stride_tricks.sliding_window_view(numbers, length + 1)[:: stride or length]
    return Dataset.from_tensor_slices((found[:, :-1], found[:, 1:]))
