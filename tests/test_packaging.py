"""What pip makes of the tree: the list of packages, and a wheel that works in an empty venv."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

PROGRAM = """
from importlib.resources import files
import fusejit as fj

assert "site-packages" in fj.__file__, fj.__file__
found = sorted(path.name for path in files("fusejit.kernels").iterdir())
assert [name for name in found if name != "__pycache__"] == {kernels!r}

@fj.function
def gates(a, b, c, d):
    return fj.nn.sigmoid(a * b + c) * fj.tanh(d)

operands = [fj.asarray([0.5, -1.0, 2.0]) + float(i) for i in range(4)]
expected = gates.eager(*operands).tolist()
assert gates(*operands).tolist() == gates(*operands).tolist() == expected
print("replayed after", gates.num_traces, "recording")
"""


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command; if it fails, the test fails with what the command said."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def kernel_files(folder: Path) -> list[str]:
    """What stands at the top of fusejit.kernels, caches aside."""
    return sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")


def test_every_package_of_the_tree_is_listed() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "fusejit").rglob("__init__.py")
    }
    listed = PYPROJECT["tool"]["setuptools"]["packages"]
    assert listed == sorted({*found, "fusejit.kernels"})


def test_an_editable_install_finds_the_kernels() -> None:
    assert kernel_files(ROOT / "kernels") == kernel_files(Path(str(files("fusejit.kernels"))))


def test_the_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    # From a copy: setuptools leaves a build folder, whose old files would go into the next wheel.
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    for name in ("fusejit", "kernels"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, source, cwd=tmp_path)
    (wheel,) = wheels.iterdir()
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    (python,) = [*home.glob("bin/python"), *home.glob("Scripts/python.exe")]
    run(*pip, "--python", python, "install", wheel, cwd=tmp_path)
    program = PROGRAM.format(kernels=kernel_files(ROOT / "kernels"))
    assert "replayed after 1 recording" in run(python, "-W", "error", "-c", program, cwd=tmp_path)
