"""Proof on a machine with a GPU, in under eight minutes: the tests that need one, then gpu.py.

    python bench/check_gpu.py [--wheels FOLDER]

With a folder of wheels nothing is fetched: they go into an environment of their own, .gpu/, that
has all that this Python has and may be removed afterwards. Without one, what is missing
is installed from the index, and PyCUDA is built, which takes a minute of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".gpu"
MINUTES = 8.0
SPARE = 20.0  # seconds for what runs on a little
TESTS = 200.0  # seconds at most, so that enough is left for the benchmark

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def install(wheels: Path | None) -> str:
    """Install what is missing; the Python that has it."""
    if wheels is None:
        subprocess.run([sys.executable, "-m", "tests.cuda.fake_driver.build"], check=True, cwd=ROOT)
        subprocess.run([*PIP, "install", "--editable", ".[cuda,cublas]"], check=True, cwd=ROOT)
        return sys.executable
    found = sorted(map(str, wheels.glob("*.whl")))
    if not found:
        sys.exit(f"{wheels}: there are no wheels in it")
    venv.create(HOME, with_pip=False, clear=True)
    python = str(HOME / "bin" / "python")
    (site,) = HOME.glob("lib/python*/site-packages")
    beside = [path for path in sys.path if path.endswith("-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in beside]
    (site / "beside.pth").write_text("\n".join(lines) + "\n")
    pip = (*PIP, "--python", python, "install", "--no-index", "--no-deps")
    subprocess.run([*pip, *found], check=True)
    subprocess.run([*pip, "--no-build-isolation", "--editable", "."], check=True, cwd=ROOT)
    return python


def run(python: str, limit: float, *command: str) -> int:
    """The exit status of a Python command; 124 if it took too long."""
    print("$ python", *command, flush=True)
    try:
        return subprocess.run([python, *command], cwd=ROOT, timeout=limit, check=False).returncode
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
    python = install(asked.wheels)
    status = run(
        python, TESTS, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests"
    )
    left = end - time.monotonic()
    more = ("--tiny",) if asked.tiny else ()
    bench = ("bench/gpu.py", f"--minutes={left / 60:.2f}", f"--out={asked.out}", *more)
    return run(python, left + SPARE, *bench) or status


if __name__ == "__main__":
    sys.exit(main())
