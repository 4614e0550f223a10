"""The page of `explain` as text: what it says, and that it says it of every op and every guard."""

from __future__ import annotations

import dataclasses
import linecache
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends.base import Loop, Reduce
from fusejit.capture.advice import OTHERWISE, instead_of
from fusejit.capture.facts import Facts, facts_of
from fusejit.capture.trace import as_walked
from fusejit.config import config
from fusejit.ir.graph import GUARD
from tests.capture.helpers import X

SOURCE = """
SCALE = 2.0
@fj.function
def f(x, y):
    h = fj.tanh(x * y + 1.0)
    if fj.sum(h) > 0.0:  # <both> & "quoted"
        h = h / SCALE
        h = fj.sort(h)
    return h, fj.max(h)
"""

PAGE = """\
f: 8 ops in 6 kernels; 233 bytes moved unfused, 166 fused
  recorded 1 time; the call takes the only path
  MILLISECONDS

applies when
  x is f32[4]                                   explained.py:4  def f(x, y):
  y is f32[4]                                   explained.py:4  def f(x, y):
  explained.SCALE is 2.0                        explained.py:7  h = h / SCALE
  explained.fj.tanh is <op tanh>                explained.py:5  h = fj.tanh(x * y + 1.0)
  bool() reads True                             explained.py:6  if fj.sum(h) > 0.0:  # <both> & \
"quoted"

kernels
  1. loop: multiply add tanh -> f32[4]  (explained.py:5)
  2. reduce: sum -> f32[]  (explained.py:6)
  3. loop: greater -> bool[]  (explained.py:6)
  4. loop: divide -> f32[4]  (explained.py:7)
  5. numpy: sort -> f32[4]  (explained.py:8)
  6. reduce: max -> f32[]  (explained.py:9)

run by NumPy, op by op
  sort: no kernel exists for this op            explained.py:8  h = fj.sort(h)

not fused, and why (producer | consumer: reason)
"""

CELL = """
@fj.function
def cell(x, h, c, w, u, b):
    z = x @ w + h @ u + b
    i, f, g, o = (z[:, k * 8 : (k + 1) * 8] for k in range(4))
    c = fj.sigmoid(f) * c + fj.sigmoid(i) * fj.tanh(g)
    return fj.sigmoid(o) * fj.tanh(c), c
"""

UNROLLED = """
@fj.function
def unrolled(x, w):
    for _ in range(50):
        x = fj.tanh(x @ w)
    return x
"""


def written(source: str, name: str, file: str = "explained.py") -> Any:
    """Function `name` of a module whose text is `source`, as if it were in a file."""
    linecache.cache[file] = len(source), None, source.splitlines(True), file
    module = {"fj": fj, "np": np, "__name__": "explained"}
    exec(compile(source, file, "exec"), module)
    return module[name]


def cell_arguments() -> list[Any]:
    shapes = ((4, 8), (4, 8), (4, 8), (8, 32), (8, 32), (32,))
    return [fj.random.normal(shape) for shape in shapes]


def facts(f: Any, *args: Any) -> Facts:
    """What a page about f(*args) is made of."""
    trace = f._calls.trace_of(args, {})
    return facts_of(f._calls, trace, as_walked(f._calls.flatten(args, {})), None)


def without_times(page: str) -> str:
    return re.sub(r"record .* on disk", "MILLISECONDS", page)


def sections(page: str) -> dict[str, list[str]]:
    """Title -> lines; the head is under the name of the function."""
    found = (part.splitlines() for part in page.strip().split("\n\n"))
    return {re.split(r"[:(,]", lines[0])[0].strip(): lines[1:] for lines in found}


def test_the_page_is_this() -> None:
    page = without_times(written(SOURCE, "f").explain(fj.ones(4), fj.ones(4)))
    assert page[: len(PAGE)] == PAGE
    told = page[len(PAGE) :].splitlines()
    assert told[0] == '  explained.py:6  if fj.sum(h) > 0.0:  # <both> & "quoted"'
    assert all(re.fullmatch(r"  explained.py:\d+  .+|    .+ \| .+: .+", line) for line in told)


def test_the_page_is_deterministic_but_for_the_milliseconds() -> None:
    pages = set()
    for _ in range(2):
        f = written(SOURCE, "f")
        pages |= {without_times(f.explain(fj.ones(4), fj.ones(4))) for _ in range(2)}
    assert len(pages) == 1


def test_every_op_of_the_graph_is_in_one_kernel() -> None:
    f, args = written(CELL, "cell"), cell_arguments()
    recorded = [node.op.name for node in f.graph(*args).nodes]
    found = facts(f, *args)
    assert Counter(op.op.name for k in found.kernels for op in k.ops) == Counter(recorded)
    assert len({id(op) for k in found.kernels for op in k.ops}) == len(recorded)
    assert [k.number for k in found.kernels] == list(range(1, len(found.kernels) + 1))
    text = " ".join(sections(f.explain(*args))["kernels"])
    assert all(text.count(name) >= times for name, times in Counter(recorded).items())


def test_a_kernel_knows_its_strip_and_its_generated_code() -> None:
    f, args = written(CELL, "cell"), cell_arguments()
    found = facts(f, *args)
    for kernel in found.kernels:
        strip = found.plan.strips[kernel.strip]
        codes = {step.code for step in found.plan.steps[strip.first : strip.end]}
        assert set(kernel.generated) <= codes
    codes = {step.code for step in found.plan.steps if isinstance(step.code, Loop | Reduce)}
    assert {code for kernel in found.kernels for code in kernel.generated} == codes


def test_every_guard_has_its_line() -> None:
    source = """
@fj.function
def f(x):
    if fj.sum(x) > 0.0:
        x = x + 1.0
    n = int(fj.max(x))
    for _ in range(n):
        x = x * 2.0
    return x, float(x[0])
"""
    f, x = written(source, "f"), fj.ones(3)
    guards = [n for n in f.graph(x).nodes if n.op is GUARD]
    lines = sections(f.explain(x))["applies when"]
    assert len(guards) == 3
    for guard in guards:
        assert guard.where is not None
        text = source.splitlines()[int(guard.where.rpartition(":")[2]) - 1].strip()
        assert sum(f"{guard.where}  {text}" in line and "() reads " in line for line in lines) == 1


def test_a_condition_stands_beside_the_line_that_reads_it() -> None:
    source = """
class Model:
    def __init__(self):
        self.scale = 3.0
model = Model()
def inner(x):
    return x * model.scale
@fj.function
def f(x):
    return inner(x) + 1.0
"""
    f = written(source, "f")
    lines = sections(f.explain(X))["applies when"]
    assert any("scale is 3.0" in line and "return x * model.scale" in line for line in lines)


def test_equal_kernels_of_an_unrolled_loop_are_listed_together() -> None:
    f = written(UNROLLED, "unrolled")
    args = fj.ones((4, 4)), fj.ones((4, 4))
    listed = [line for line in sections(f.explain(*args))["kernels"] if "times" in line]
    assert len(facts(f, *args).kernels) == 100 and len(listed) <= 4
    assert all(line.endswith("(explained.py:5)") for line in listed)


def test_bytes_of_a_sliced_input_are_those_of_the_slices() -> None:
    f = fj.function(lambda x: x[0] * 2.0)
    x = fj.ones((1000, 10))
    assert "40,000" not in f.explain(x)
    assert facts(f, x).moved[1] < 200


def test_run_is_measured_without_recording_again_and_not_where_it_has_effects() -> None:
    count = fj.Variable(fj.zeros(3), name="count")

    @fj.function
    def counted(x: Any) -> Any:
        count.assign_add(x)
        return count * 2.0

    counted(X)
    before = count.numpy()
    page = counted.explain(X)
    assert "not run for this page" in page and np.array_equal(count.numpy(), before)
    plain = fj.function(lambda x: fj.tanh(x))
    plain(X)
    assert re.search(r"record .* compile .* run [\d.]+ [mu]s", plain.explain(X))
    assert plain.num_traces == 1 and counted.num_traces == 1
    with fj.GradientTape() as tape:
        tape.watch(X)
        assert "not run for this page" in plain.explain(X)


def test_paths_are_a_tree_with_the_one_that_is_taken() -> None:
    source = """
@fj.function
def f(x):
    y = fj.exp(x)
    if fj.sum(y) > 10.0:
        if fj.max(y) > 50.0:
            return fj.log(y)
        return y * 3.0
    return fj.tanh(y)
"""
    f = written(source, "f")
    big, middle, small = (fj.constant(np.float32(v)) for v in ([9, 9], [2, 2], [0, 0]))
    for x in (big, middle, small, fj.ones(3)):
        f(x)
    for x, line in ((big, ""), (middle, "if fj.max(y)"), (small, "if fj.sum(y)")):
        lines = sections(f.explain(x))["paths"]
        assert len(lines) == 4
        (taken,) = (text for text in lines if "<- this call" in text)
        assert line in taken and ("reads False" in taken) == bool(line)
    page = f.explain(big)
    assert "the call takes one of 4 paths; not one before it, as x was f32[3], now f32[2]" in page
    assert "of which below is what is left to do" in f.explain(small)
    assert sum(path.taken for path in facts(f, small).paths) == 1


def test_a_function_without_a_plan_says_what_to_write_instead() -> None:
    source = """
@fj.function
def f(x):
    print(x)
    return x * 2.0
"""
    f = written(source, "f")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        page = f.explain(X)
    assert page == (
        "f runs eagerly, and has no plan for this call\n"
        "  why      it calls print, an effect\n"
        "  where    explained.py:4  print(x)\n"
        "  instead  print what the function returns, outside of it\n"
    )


HELD: list[Any] = []
REFUSED: dict[str, Callable[[Any], Any]] = {
    "random": lambda x: x * float(np.random.rand()),
    "NumPy": lambda x: fj.constant(np.tanh(x.numpy())),
    "made during": lambda x: x + np.ones(3, "float32"),
    "shape": lambda x: fj.nonzero(x),
    "kept": lambda x: HELD.append(x) or x,
    "open": lambda x: x * len(os.listdir()),
    "ndarray": lambda x: np.ones(3),
    "object": lambda x: dataclasses.make_dataclass("Any", ["x"])(x),
    "variable": lambda x: fj.Variable(x) * 2.0,
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_refusal_has_advice(name: str) -> None:
    f = fj.function(REFUSED[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = f.explain(X)
    lines = dict(line.split(None, 1) for line in page.splitlines()[1:])
    assert lines.keys() == {"why", "where", "instead"}, page
    assert lines["where"].startswith("test_explain.py:"), page
    assert len(lines["instead"]) > 10


def test_advice_of_a_reason_is_its_own_or_a_general_one() -> None:
    assert instead_of("it returns an ndarray; return a Tensor") == "return a Tensor"
    assert instead_of("something that nobody has thought of") == OTHERWISE


def test_without_decoration_the_page_says_so() -> None:
    f = fj.function(lambda x: x * 2.0)
    with config.override(disable=True):
        page = f.explain(X)
    assert "FUSEJIT_DISABLE is set" in page and "unset FUSEJIT_DISABLE" in page
