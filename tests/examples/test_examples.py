"""Each example runs for a few steps, draws its picture, and its step is replayed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import fusejit as fj
from fusejit import data, examples
from fusejit.examples import common

NAMES = re.findall(r"^    (\w+) {2,}", str(examples.__doc__), re.MULTILINE)
STEPS = {"char_lstm": 3, "custom_cell": 3, "transformer": 3}  # written out, they take a while


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    monkeypatch.setattr("fusejit.capture.benchmark.ROUNDS", 1)


def run(name: str, folder: Path, *arguments: str) -> float:
    module = importlib.import_module(f"fusejit.examples.{name}")
    picture = folder / "picture.png"
    found = common.start(module.main, name, 8, [f"--picture={picture}", *arguments])
    assert picture.read_bytes().startswith(b"\x89PNG")
    return float(found)


def test_all_examples_are_listed() -> None:
    folder = Path(str(examples.__file__)).parent
    assert sorted([*NAMES, "__init__", "common"]) == sorted(p.stem for p in folder.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert np.isfinite(run(name, tmp_path, f"--steps={STEPS.get(name, 8)}"))
    if not fj.config.disable:
        assert re.search(
            r"eager [\d.]+ ms, fused [\d.]+ ms: [\d.]+ times as fast", capsys.readouterr().out
        )


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name: str) -> None:
    text = (Path(str(examples.__file__)).parent / f"{name}.py").read_text()
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) <= 80


def test_mnist_is_read_from_its_files(tmp_path: Path) -> None:
    """The seed's network learns what scikit-learn's digits are, from IDX files."""
    for which, part in zip(("train", "t10k"), data.digits(), strict=True):
        pixels = np.round(part.images * 255).astype(np.uint8)
        data.write_idx(tmp_path / f"{which}-images-idx3-ubyte.gz", pixels)
        data.write_idx(tmp_path / f"{which}-labels-idx1-ubyte", part.labels.astype(np.uint8))
    assert run("mnist_mlp", tmp_path, f"--folder={tmp_path}", "--steps=2500") > 0.95
