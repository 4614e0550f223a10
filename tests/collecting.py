"""Garbage collection that has happened when it returns."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any


def collect() -> None:
    """`gc.collect()`, which does nothing at all while another thread collects: threads that compile
    in the background do now and then."""
    threads: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        threads.append(threading.get_ident())

    gc.callbacks.append(note)
    try:
        gc.collect()
        while threading.get_ident() not in threads:
            time.sleep(0.001)
            gc.collect()
    finally:
        gc.callbacks.remove(note)
