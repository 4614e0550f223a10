"""A process that checks programs: one JSON line in (the text), one out (what is wrong, or null).

It is a process of its own so that native code that crashes or hangs is a finding, not the end of
the search.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT = 60.0
"""Seconds after which a program counts as hanging: the slowest take two, on a busy machine ten."""


class Worker:
    """Started when first needed, and again after a crash."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._timeout = timeout

    def check(self, text: str, kind: str = "program") -> str | None:
        """What is wrong with the program, or None; `kind` is one of KINDS."""
        if self._process is None:
            command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.worker"]
            environment = {**os.environ, "FUSEJIT_VERIFY": "1", "FUSEJIT_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                cwd=ROOT, env=environment,
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps([kind, text]) + "\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], self._timeout)[0]:
                self.close()
                return f"the process hangs: no answer in {self._timeout:.0f} s"
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer:
            found: str | None = json.loads(answer)
            return found
        status = process.wait()
        self.close()
        return f"the process died with status {status}"

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def main() -> None:
    from tests.fuzz.checks import Wrong, check_program
    from tests.fuzz.threads import check_threads
    from tests.fuzz.worlds import check_story

    checks = {"program": check_program, "story": check_story, "threads": check_threads}
    answers = os.fdopen(os.dup(1), "w")  # the programs may print
    os.dup2(2, 1)
    for line in sys.stdin:
        kind, text = json.loads(line)
        found = None
        try:
            checks[kind](text)
        except Wrong as wrong:
            found = str(wrong)
        except Exception:
            found = traceback.format_exc(limit=-6)
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
