"""Everything works, and silently, whatever Python, the allocator and the settings look for.

`make modes` runs the tests themselves under the settings.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODES = {
    "development": {"PYTHONDEVMODE": "1"},
    "debugging allocators": {"PYTHONMALLOC": "debug", "MALLOC_PERTURB_": "165"},
    "no cache": {"FUSEJIT_CACHE_DIR": ""},
    "disabled": {"FUSEJIT_DISABLE": "1"},
    "checked": {"FUSEJIT_CHECK": "1"},
    "no reuse, verified": {"FUSEJIT_NO_REUSE": "1", "FUSEJIT_VERIFY": "1"},
}


@pytest.mark.parametrize("mode", MODES)
def test_everything_runs_clean(mode: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.capture.everything"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | MODES[mode],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr[-4000:]
