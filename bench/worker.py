"""A peer in its own process, which may be missing, fail or hang without harm to the others."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

# name -> (file and its arguments, the package that it needs)
PEERS = {
    "numpy": (("numpy_peer.py",), "numpy"),
    "eager": (("fusejit_peer.py", "eager"), "fusejit"),
    "fused": (("fusejit_peer.py", "fused"), "fusejit"),
    "jax": (("jax_peer.py",), "jax"),
    "torch": (("torch_peer.py", "eager", "1"), "torch"),
    "torch-2": (("torch_peer.py", "eager", "2"), "torch"),
    "torch-compile": (("torch_peer.py", "compile", "2"), "torch"),
    "pair": (("pair_peer.py",), "fusejit"),
    "tiny": (("tiny_peer.py",), "fusejit"),
    "guards": (("guards_peer.py",), "fusejit"),
    **{
        f"branches {name}": (("branch_peer.py", name), name.split("-")[0])
        for name in ("numpy", "torch", "torch-compile")
    },
    "branches eager": (("branch_peer.py", "eager"), "fusejit"),
    "branches fused": (("branch_peer.py", "fused"), "fusejit"),
    "long": (("long_peer.py",), "fusejit"),
    "ceiling": (("ceiling_peer.py",), "fusejit"),
    "gpu eager": (("gpu_fusejit_peer.py", "eager"), "fusejit"),
    "gpu fused": (("gpu_fusejit_peer.py", "fused"), "fusejit"),
    "gpu torch": (("gpu_torch_peer.py", "eager"), "torch"),
    "gpu torch-compile": (("gpu_torch_peer.py", "compile"), "torch"),
    "gpu cudnn": (("gpu_torch_peer.py", "cudnn"), "torch"),
    "gpu cupy": (("gpu_cupy_peer.py",), "cupy"),
    "gpu jax": (("gpu_jax_peer.py",), "jax"),
}
OWN = ("numpy", "eager", "fused")
OTHERS = ("jax", "torch", "torch-2", "torch-compile")

LIMIT = 90.0
"""Seconds for one answer. The slowest is torch.compile of 32 steps of an LSTM with gradients, 30 s
the first time on two cores; what takes three times that counts as not working."""


class Worker:
    """Started when first asked, and again after it ended or was too slow."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self._environment = {**os.environ, **environment, "PYTHONPATH": str(HERE)}
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, open as long as this lives

    def ask(self, limit: float = LIMIT, **request: object) -> dict[str, Any]:
        """The answer to a request, or {"error": why}."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            ready, _, _ = select.select([process.stdout], [], [], limit)
            answer = process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, answer = [process.stdout], ""
        if answer:
            found: dict[str, Any] = json.loads(answer)
            return found
        self._kill()
        return {"error": self._last_words() if ready else f"no answer in {limit:.0f} s"}

    def close(self) -> None:
        """Let it end by itself."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._kill()
        self._process = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[str]:
        command, _ = PEERS[self.name]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, str(HERE / "peers" / command[0]), *command[1:]],
            stdin=pipe,
            stdout=pipe,
            stderr=self._errors,
            text=True,
            bufsize=1,
            env=self._environment,
        )

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1][:300] if lines else "it ended without a word"


def installed(names: tuple[str, ...]) -> list[str]:
    """Those of `names` whose package can be imported; one line for each other."""
    found = []
    for name in names:
        package = PEERS[name][1]
        probe = [sys.executable, "-c", f"import {package}"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            found.append(name)
        else:
            print(f"{name}: skipped, {package} is not installed here", file=sys.stderr)
    return found
