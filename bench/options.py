"""What a run was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`peers`: the columns; `rounds` turns of `seconds` each; `only` a part of a case's name."""

    peers: list[str]
    environment: Mapping[str, str]  # of every peer, in addition to ours
    rounds: int = 5
    seconds: float = 0.04
    only: str = ""
    quick: bool = False
