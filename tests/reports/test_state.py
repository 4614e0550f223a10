"""Reports of stale answers: Python state that changes between calls is what the next call sees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import fusejit as fj
from tests.reports.helpers import Decorator, X, agrees


def test_an_attribute_of_self_is_rebound() -> None:
    """tensorflow/tensorflow#44980: self's attribute is replaced between calls, by another shape."""

    def situation(function: Decorator) -> Any:
        class Filter:
            def __init__(self) -> None:
                self.taps: Any = fj.zeros((4, 5), dtype="float64")
                self.gain = 1.0

            @function
            def apply(self, x: Any) -> Any:
                return x * self.taps * self.gain

        chosen: Any = Filter()
        x, seen = fj.constant(np.full((), 3.0)), []
        for taps, gain in (((4, 5), 1.0), ((2, 3), 1.0), ((2, 3), -0.0), ((4, 5), 1.0)):
            chosen.taps, chosen.gain = fj.ones(taps, dtype="float64"), gain
            for _ in range(3):
                y = chosen.apply(x)
                seen.append((y, y.shape))
        return seen

    agrees(situation, 3)


def scaled(x: Any) -> Any:
    return fj.exp(x) + 20.0


def test_a_global_function_is_replaced() -> None:
    """pytorch/pytorch#108898: the helper that the function calls by name is another one now."""

    def situation(function: Decorator) -> Any:
        @function
        def f(x: Any, y: Any) -> Any:
            inner = lambda a, b: a + b  # noqa: E731
            return inner(scaled(x), y)

        original, seen = scaled, [f(X, X), f(X, X)]
        for replacement in (lambda x: fj.tanh(x), original, lambda x: x - 1.0, original):
            globals()["scaled"] = replacement
            seen += [f(X, X), f(X, X)]
        return seen

    agrees(situation, 3)


def test_a_buffer_selected_on_self_is_the_one_written() -> None:
    """pytorch/pytorch#111785: a call writes into the buffer selected before it, not the first."""

    def situation(function: Decorator) -> Any:
        class Cache:
            def __init__(self) -> None:
                self.rows = [fj.Variable(fj.zeros(3)) for _ in range(4)]
                self.current = self.rows[0]

            @function
            def store(self, x: Any) -> None:
                self.current.assign(fj.exp(x) * 2.0)

        cache, seen = Cache(), []
        for repeat in range(3):
            for i in range(4):
                cache.current = cache.rows[i]
                cache.store(X + float(i + repeat))
                seen.append([row.read() for row in cache.rows])
        return seen

    agrees(situation, 4)


class Setting:
    """Hashable by its value, and mutable."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Setting) and self.value == other.value


def test_a_hashable_argument_is_mutated() -> None:
    """jax-ml/jax#13992: the argument's hash changes with its value, and finds a wrong entry."""

    def situation(function: Decorator) -> Any:
        @function
        def add(setting: Setting, y: Any) -> Any:
            return y + setting.value

        one, setting, seen = fj.constant(1), Setting(100), []
        for value in (100, 0, 0, 100, 100, 0):
            setting.value = value
            seen += [add(setting, one), add(setting, one).item()]
        return [*seen, add(Setting(100), one)]

    agrees(situation, 3)


SPEED = 10.0


def set_speed(value: float) -> None:
    global SPEED
    SPEED = value


def test_a_global_number_is_set() -> None:
    """numba/numba#253: a global set before the first call, and between calls, is seen."""

    def situation(function: Decorator) -> Any:
        set_speed(10.0)

        @function
        def residual(x: Any) -> Any:
            return x * SPEED

        seen = []
        for value in (20.0, 20.0, 10.0, 20.0, -0.0, 0.0, 20):
            set_speed(value)
            seen += [residual(X), residual(X)]
        return seen

    agrees(situation, 5)


RUN = """
import fusejit as fj, outer
from fusejit.backends import ready
found = [outer.combine(fj.ones(3)) for _ in range(3)]
assert outer.combine.num_traces == 1
ready._finish()  # what compiles behind the plan counts as well
print(fj.cache_info().num_compiles, *(y.numpy().tobytes().hex() for y in found))
"""


def test_a_function_of_another_module_is_edited(tmp_path: Path) -> None:
    """numba/numba#1833: code kept on disk does not outlive an edit of a module it was made from."""
    (tmp_path / "outer.py").write_text(
        "import fusejit as fj\nfrom inner import part\n\n"
        "@fj.function\ndef combine(x):\n    return fj.exp(x) + part(x)\n"
    )
    environment = {
        **os.environ,
        "FUSEJIT_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(fj.__file__).parent.parent)]),
    }
    one, compiled = fj.ones(3), []
    for line, part in (
        ("x * 2.0", one * 2.0),
        ("x - fj.tanh(x)", one - fj.tanh(one)),
        ("x * 3.0", one * 3.0),
        ("x * 2.0", one * 2.0),
    ):
        (tmp_path / "inner.py").write_text(
            f"import fusejit as fj\n\n@fj.function\ndef part(x):\n    return {line}\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN],
            env=environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        kernels, *bits = done.stdout.split()
        assert bits == [(fj.exp(one) + part).numpy().tobytes().hex()] * 3, line
        compiled.append(int(kernels))
    assert min(compiled[:2]) > 0 == compiled[3], "the disk was not used"
