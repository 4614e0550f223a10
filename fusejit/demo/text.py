"""A text as minibatches of truncated sequences, and what a model of it has to beat."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, TypeAlias

import numpy as np

Ids: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


def unigram_entropy(text: str) -> float:
    """Bits a character that a model needs if it knows how often each occurs, and nothing else."""
    shares = [n / len(text) for n in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares)


def batches(ids: Ids, lanes: int, length: int) -> Iterator[tuple[Ids, Ids, bool]]:
    """(inputs, targets, restart) for ever, each [length, lanes]: targets are the next characters.

    The text is cut into `lanes` that are read side by side, so the state at the end of a batch is
    the state at the start of the next, except at a `restart`. Each round starts at another place,
    or the boundaries of the sequences would be the same every time.
    """
    for round_number in count():
        shifted = np.roll(ids, -round_number * length // 2)
        width = (len(ids) - 1) // lanes
        inputs = shifted[: width * lanes].reshape(lanes, width).T
        targets = shifted[1 : width * lanes + 1].reshape(lanes, width).T
        for start in range(0, width - length + 1, length):
            yield inputs[start : start + length], targets[start : start + length], start == 0
