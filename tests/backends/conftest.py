"""Fixtures of the backend tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fusejit as fj


@pytest.fixture
def four_threads() -> Iterator[None]:
    """More threads than there may be cores, so that they meet."""
    with fj.config.override(num_threads=4):
        yield
