"""The CUDA C of typical kernels, as text: what changes shows in a diff of tests/golden/cuda."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends.cuda.lowering import program_of
from fusejit.backends.cuda.program import Launch, Limits, Program
from tests.cuda import suite

# A fixed device: the grid of a launch depends on it, the text does not.
LIMITS = Limits(sms=132, shared=48 * 1024)


def _sigmoid_of_sum(x: Any, y: Any) -> Any:
    return fj.nn.sigmoid(x + y), x > y


def _total(x: Any) -> Any:
    return fj.sum(x * x)


def _columns(x: Any) -> Any:
    return fj.max(x, axis=0)


def _integers(x: Any, y: Any) -> Any:
    return x // y, x % y, x << y


CASES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...], str]] = {
    "loop": (_sigmoid_of_sum, ((1000,), (1000,)), "f"),
    "loop_broadcast": (_sigmoid_of_sum, ((30, 70), (70,)), "f"),
    "integers": (_integers, ((100,), (100,)), "i"),
    "total": (_total, ((100_000,),), "f"),
    "columns": (_columns, ((500, 30),), "d"),
    "softmax": (suite._softmax, ((64, 128),), "f"),
    "dense": (lambda x, w, b: fj.nn.relu(x @ w + b), ((64, 100), (100, 50), (50,)), "f"),
    "lstm": (suite._lstm, ((6, 8), (6, 20), (6, 20), (8, 80), (20, 80), (80,)), "f"),
}


def shown(program: Program) -> str:
    """The generated part of each source, and how it is launched."""
    parts = []
    for command in program.commands:
        assert isinstance(command, Launch)
        source, kind = command.source, command.source.name.partition("_")[0]
        size = 8 * len(command.operands) + len(command.constants)
        parts += [
            f"// {kind}: grid {command.grid}, block {command.block}, "
            f"{command.shared} bytes of shared memory, {size} of parameters, "
            f"{command.written} of {len(command.operands)} operands written",
            # The name is made of the whole text, the hand-written part included.
            source.text[source.text.index("typedef ") :].replace(source.name, kind),
        ]
    return "\n".join(parts)


@pytest.mark.parametrize("name", CASES)
def test_text(name: str, golden: Callable[[str, str], None]) -> None:
    function, shapes, dtype = CASES[name]
    graph, _ = suite.graph_of(function, *(np.ones(shape, dtype) for shape in shapes))
    golden(f"cuda/{name}", shown(program_of(graph, LIMITS, blas=False)))


def test_a_source_includes_nothing_and_has_one_kernel() -> None:
    for case in (*suite.of_strips(), *suite.of_products()):
        for command in case.program.commands:
            assert isinstance(command, Launch)
            text = command.source.text
            assert "#include" not in text
            assert text.count("__global__") == 1
            assert f") {command.source.name}(const Params p)" in text
