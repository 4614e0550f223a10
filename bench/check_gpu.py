"""Proof on a machine with a GPU, in under eight minutes: the tests that need one, then gpu.py.

    python bench/check_gpu.py [--wheels FOLDER]

With a folder of wheels nothing is fetched: they are installed beside what this Python has, into
.gpu/, which may be removed afterwards. Without one, what is missing is installed from the index, and
PyCUDA is built, which takes a minute of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SITE = ROOT / ".gpu"
MINUTES = 8.0
SPARE = 20.0  # seconds for what runs on a little
TESTS = 200.0  # seconds at most, so that enough is left for the benchmark

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install")


def install(wheels: Path | None) -> None:
    if wheels is not None:
        found = sorted(map(str, wheels.glob("*.whl")))
        options = ("--no-index", "--no-deps", "--no-compile", "--upgrade", "--target", str(SITE))
        subprocess.run([*PIP, *options, *found], check=True)
        return
    subprocess.run([sys.executable, "-m", "tests.cuda.fake_driver.build"], check=True, cwd=ROOT)
    subprocess.run([*PIP, "--editable", ".[cuda,cublas]"], check=True, cwd=ROOT)


def run(environment: dict[str, str], limit: float, *command: str) -> int:
    """The exit status of a Python command; 124 if it took too long."""
    print("$ python", *command, flush=True)
    try:
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, timeout=limit, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        print(f"stopped after {limit:.0f} s")
        return 124


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheels", type=Path, help="a folder with PyCUDA and what it needs")
    parser.add_argument("--tiny", action="store_true", help="see gpu.py")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    asked = parser.parse_args()
    end = time.monotonic() + 60 * MINUTES - SPARE
    install(asked.wheels)
    paths = [str(ROOT), *([str(SITE)] if asked.wheels else []), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    tests = ("-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests")
    status = run(environment, TESTS, *tests)
    left = end - time.monotonic()
    more = ("--tiny",) if asked.tiny else ()
    bench = ("bench/gpu.py", f"--minutes={left / 60:.2f}", f"--out={asked.out}", *more)
    return run(environment, left + SPARE, *bench) or status


if __name__ == "__main__":
    sys.exit(main())
