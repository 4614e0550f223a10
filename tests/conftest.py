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

TESTS = Path(__file__).parent
GOLDEN = TESTS / "golden"

# Compiling takes milliseconds at first and none later, so a deadline would only be flaky. A failure
# must be the same on every machine, so examples are derived from the test, not from the clock.
hypothesis.settings.register_profile("fusejit", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("fusejit")


@pytest.fixture(scope="session", autouse=True)
def native() -> None:
    """Ops run as kernels from the first test on, so that no result depends on which tests run:
    what a process does before that is tested by itself."""
    from fusejit.backends.llvm import cold
    from fusejit.backends.llvm.runtime import native_code

    native_code()
    cold.ENOUGH = 0.0


@pytest.fixture
def quiet() -> None:
    """Nothing is made in the background any more, for what earlier tests have recorded."""
    from fusejit.backends import ready

    ready._finish()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/*.txt")
    parser.addoption("--avx2", action="store_true", help="code for machines without AVX-512")


def pytest_configure(config: pytest.Config) -> None:
    """With --avx2 LLVM says that this is a Haswell, whose code any later machine runs."""
    if config.getoption("--avx2"):
        from llvmlite import binding

        has = ("sse4.1", "sse4.2", "avx", "avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "popcnt")
        features = binding.targets.FeatureMap(dict.fromkeys(has, True))
        binding.get_host_cpu_name = lambda: "haswell"
        binding.get_host_cpu_features = lambda: features


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that are about compiling or replaying as a whole have a marker, see `tests.modes`."""
    from tests import modes

    for item in items:
        marker = modes.marker(item.nodeid.removeprefix("tests/"))
        if marker is not None:
            item.add_marker(marker)


@pytest.fixture(autouse=True)
def modes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot hold under FUSEJIT_DISABLE=1 and the like is skipped, see `tests.modes`."""
    from tests import modes

    if request.node.get_closest_marker("reused"):
        modes.needs_reuse()
    if request.node.get_closest_marker("replayed"):
        modes.needs_replays()
    if request.node.get_closest_marker("compiled"):
        modes.needs_recordings()
    modes.answer_by_skipping(monkeypatch)


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
def kept_threads() -> Iterator[None]:
    """The number of threads is afterwards what it was before."""
    import fusejit as fj

    before = fj.get_num_threads()
    yield
    fj.set_num_threads(before)


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
