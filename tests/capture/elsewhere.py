"""A module whose functions a decorated function of another module calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

read: Callable[[Any], Any] = abs


def call(x: Any) -> Any:
    return read(x)
