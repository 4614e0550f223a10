"""What every test shares: verified graphs, fixed seeds and golden files."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# Here, because fusejit reads its settings when it is imported, and tests import it later.
os.environ.setdefault("FUSEJIT_VERIFY", "1")

# Compiled code goes into a directory of this run, which its processes share, not into the user's.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["FUSEJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="fusejit-tests-")
    atexit.register(shutil.rmtree, os.environ["FUSEJIT_CACHE_DIR"], ignore_errors=True)

GOLDEN = Path(__file__).parent / "golden"

# Compiling takes milliseconds at first and none later, so a deadline would only be flaky. A failure
# must be the same on every machine, so examples are derived from the test, not from the clock.
hypothesis.settings.register_profile("fusejit", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("fusejit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/*.txt")


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Python's and NumPy's global generators start each test in the same state."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture
def no_object_cache() -> Iterator[None]:
    """Every kernel is compiled, none found on disk: for tests that count."""
    from fusejit.config import config

    with config.override(cache_dir=""):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: `text` must equal tests/golden/<name>.txt (see `make golden`)."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path} does not exist; `make golden` writes it"
        assert text == path.read_text(), f"{path} differs; if that is meant, run `make golden`"

    return compare
