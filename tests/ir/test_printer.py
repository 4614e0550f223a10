"""The text of graphs: complete, deterministic, and the same at each stage of the same program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.passes.graphs import arrays, recorded, text


def everything(x: Any, k: Any, v: fj.Variable) -> Any:
    y = fj.astype(k, "float32") + x * -0.0
    if fj.sum(y) > 1e30:
        return y
    v.assign(fj.concat([y[::-1], y], axis=0))
    s, order = fj.sum(x, axis=(0, 1), keepdims=True), fj.argsort(x, axis=1)
    constants = fj.where(y > fj.constant([0.5, 1.5]), float("nan"), float("-inf"))
    return s, order, constants, fj.asarray(7), y.T


@pytest.mark.parametrize("stage", ["recorded", "simplify", "cse", "dce", "regroup", "fuse"])
def test_stages(stage: str, golden: Callable[[str, str], None]) -> None:
    v = fj.Variable(np.zeros((6, 2), np.float32), name="v")
    x, k = arrays((3, 2))[0], fj.constant([[1, 2], [3, 4], [5, 6]])
    graph = recorded(everything, x, k, v, stage=stage)
    golden(f"ir/{stage}", text(graph))
    v.assign(np.zeros((6, 2), np.float32))
    assert text(recorded(everything, x, k, v, stage=stage)) == text(graph)


def test_source_lines_stand_at_the_right() -> None:
    lines = str(recorded(lambda x: fj.exp(x) + 1.0, *arrays((3,)))).splitlines()
    assert lines[0] == "// <lambda>: recorded"
    assert lines[1] == "func @<lambda>(%x: f32[3]) -> f32[3] {"
    assert [line[72:].partition(":")[0] for line in lines[2:4]] == [" // test_printer.py"] * 2


def test_no_results() -> None:
    assert "-> () {\n  return\n}" in str(recorded(lambda x: None, *arrays((3,))))
