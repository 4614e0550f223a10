"""Files that are damaged or hostile: an error each, and never a crash, code or endless memory."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit import files
from fusejit.portable import text
from fusejit.portable.loaded import _function
from tests import modes
from tests.portable import models

MUTATIONS = 1000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of most kinds of ops, two branches and an assignment."""
    modes.needs_recordings()
    w = fj.Variable(fj.ones((3, 4)), name="w")
    count = fj.Variable(0, name="count")

    def f(x: fj.Tensor, options: Any) -> Any:
        count.assign_add(1)
        y = fj.tanh(x @ w)[:, ::-1] * options["scale"]
        z = fj.concat([y, fj.broadcast_to(fj.sum(y, axis=0, keepdims=True), (1, 4))])
        if fj.max(z) > 2.0:
            return fj.sort(z, axis=1), "high"
        picked = fj.take(fj.permute_dims(z, (1, 0)), fj.constant([0, 2]), axis=0)
        return fj.astype(fj.reshape(picked, (-1,)), "float64"), fj.arange(3) * count

    decorated, x = fj.function(f), fj.ones((2, 3))
    decorated(x * 3.0, {"scale": 5.0})
    path = tmp_path_factory.mktemp("portable") / "function"
    fj.save(decorated, path, x * 0.01, {"scale": 0.5})
    assert np.allclose(fj.load(path)(x * 0.01, {"scale": 0.5})[0], f(x * 0.01, {"scale": 0.5})[0])
    return path


def test_a_thousand_mutated_files(whole: Path, tmp_path: Path) -> None:
    good, draw = whole.read_bytes(), random.Random(1)
    path = tmp_path / "function"
    for number in range(MUTATIONS):
        found = bytearray(good)
        at = draw.randrange(len(good))
        match number % 5:
            case 0:
                found[at] ^= 1 << draw.randrange(8)
            case 1:
                del found[at:]
            case 2:
                found[at : at + draw.randrange(1, 20)] = draw.randbytes(draw.randrange(20))
            case 3:
                found[at:at] = found[draw.randrange(len(good)) :][: draw.randrange(1, 40)]
            case 4:
                found[:8] = draw.randbytes(8)
        if found == good:
            continue
        path.write_bytes(found)
        with pytest.raises(fj.FuseJitError):
            fj.load(path)


# ---- files whose sum is right


def rewritten(path: Path, program: Any, arrays: Any = None) -> None:
    """A file of this program, made as `save` makes it."""
    encoded = program if isinstance(program, str) else json.dumps(program)
    files.write(path, arrays or {}, {"fusejit": text.FUNCTION, "program": encoded})


def program_of(path: Path) -> tuple[Any, Any]:
    arrays, metadata = files.read(path)
    return json.loads(metadata["program"]), arrays


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside of JSON."""
    yield path
    if isinstance(tree, (dict, list)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(value, (*path, key))


VALUES = (
    None, True, 0, -1, 1, 2, 7, 10**6, 2**62, 2**80, 0.5, 1e300, "", "x0", "v0", "c0", "v9",
    "add", "matmul", "gather", "slice", [], [0], [1, 0], [[0, 1, 9]], {}, [2**40, 2**40],
    {"float": "nan"}, {"float": "inf"}, {"bytes": "00"}, {"variable": "v0"},
    {"dtype": "int8"}, {"dtype": "complex128"},
)  # fmt: skip


def mutated(program: Any, draw: random.Random) -> Any:
    """A program in which one to three things are replaced, swapped or left out."""
    found = copy.deepcopy(program)
    for _ in range(draw.randrange(1, 4)):
        every = [p for p in places(found) if p]
        if not every:
            return found
        place, holder = draw.choice(every), found
        for key in place[:-1]:
            holder = holder[key]
        action = draw.randrange(4)
        if action == 0 and isinstance(holder, list):
            holder.pop(place[-1])
        elif action == 1 and isinstance(holder, list):
            holder.insert(place[-1], copy.deepcopy(draw.choice(holder)))
        elif action == 2:
            other = found
            for key in draw.choice(every):
                if not isinstance(other, (dict, list)):
                    break
                other = other[key]
            holder[place[-1]] = copy.deepcopy(other)
        else:
            holder[place[-1]] = draw.choice(VALUES)
    return found


HOSTILE = """
import pathlib, random, resource, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import fusejit as fj
from tests.portable import test_hostile
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
whole, path = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
program, arrays = test_hostile.program_of(whole)
draw, counts = random.Random(int(sys.argv[3])), {"loaded": 0, "refused": 0, "ran": 0}
x = fj.ones((2, 3)) * 0.01
for _ in range(int(sys.argv[4])):
    test_hostile.rewritten(path, test_hostile.mutated(program, draw), arrays)
    try:
        f = fj.load(path, limit=1 << 24)
    except fj.FuseJitError:
        counts["refused"] += 1
        continue
    counts["loaded"] += 1
    for _ in range(2):
        try:
            f(x, {"scale": 0.5})
            counts["ran"] += 1
        except (fj.FuseJitError, ValueError, TypeError, IndexError, MemoryError):
            pass
print(counts)
"""


@pytest.mark.compiled
def test_programs_that_make_no_sense_never_crash(whole: Path, tmp_path: Path) -> None:
    """In a process of its own: what kernels do with wrong sizes would end this one."""
    command = [sys.executable, "-c", HOSTILE, str(whole), str(tmp_path / "f"), "0", "1000"]
    done = subprocess.run(command, cwd=models.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    counts = eval(done.stdout)
    assert counts["refused"] > 800
    assert counts["ran"] > 20  # a name or a number that does not matter


def one_step(*step: Any, x: Any = ("float32", (4, 5)), **more: Any) -> Any:
    """A program of one step on an argument x."""
    return {
        "name": "f",
        "parameters": [{"name": "x", "kind": "POSITIONAL_OR_KEYWORD"}],
        "variables": [],
        "constants": 0,
        "entries": [{"patterns": {"x": 0}, "types": [list(x)], "block": 0, "untaped": None}],
        "blocks": [
            {"steps": [list(step)], "return": {"refs": [0], "result": 0, "assigned": []}}
        ],
        **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (("slice", ["x0"], {"ranges": [[0, 1, 4], [0, 1, 6]]}), "result is not"),
        (("slice", ["x0"], {"ranges": [[0, 1, 4], [-1, 1, 5]]}), "result is not"),
        (("slice", ["x0"], {"ranges": [[3, -1, 5], [0, 1, 5]]}), "result is not"),
        (("slice", ["x0"], {"ranges": [[0, 10**12, 4], [0, 1, 5]]}), "result is not"),
        (("slice", ["x0"], {"ranges": [[0, 1, 4]]}), "slice"),
        (("slice", ["x0"], {"ranges": [[0, 0.5, 4], [0, 1, 5]]}), "slice"),
        (("reshape", ["x0"], {"shape": [21]}), "other elements"),
        (("reshape", ["x0"], {"shape": [-4, -5]}), "expected a shape"),
        (("permute_dims", ["x0"], {"axes": [0, 0]}), "permute_dims"),
        (("permute_dims", ["x0"], {"axes": [1, 2]}), "permute_dims"),
        (("broadcast_to", ["x0"], {"shape": [3, 4, 6]}), "broadcast_to"),
        (("broadcast_to", ["x0"], {"shape": [2**20, 2**20, 4, 5]}), "more than the limit"),
        (("broadcast_to", ["x0"], {"shape": [*[1] * 40, 4, 5]}), "axes"),
        (("sum", ["x0"], {"axes": [2], "keepdims": False}), "axes"),
        (("sum", ["x0"], {"axes": [1, 1], "keepdims": False}), "axes"),
        (("sum", ["x0"], {"axes": [0], "keepdims": 1}), "keepdims"),
        (("any", ["x0"], {"axes": [0], "keepdims": False}), "instead of"),
        (("concat", ["x0", "x0"], {"axis": 7}), "concat"),
        (("place", ["x0"], {"shape": [4, 4], "ranges": [[[0, 1], [0, 1]]]}), "elements 0 to 4"),
        (("place", ["x0"], {"shape": [9, 9], "ranges": [[[0, 1], [-1, 1]]]}), "elements -1"),
        (("matmul", ["x0", "x0"], {}), "cannot multiply"),
        (("iota", [], {"shape": [2**60]}), "more than the limit"),
        (("iota", ["x0"], {"shape": [2]}), "expected 0 operands"),
        (("add", ["x0"], {}), "expected 2 operands"),
        (("add", ["x0", "x0"], {"axis": 1}), "expected the parameters"),
        (("add", ["x0", 0], {}), "KeyError"),
        (("add", ["x0", "x1"], {}), "KeyError"),
        (("astype", ["x0"], {"dtype": "float32"}), "expected a dtype"),
        (("astype", ["x0"], {"dtype": {"dtype": "object"}}), "there is no dtype"),
        (("astype", ["x0"], {"dtype": {"dtype": "01,f4"}}), "there is no dtype"),
        (("bitwise_and", ["x0", "x0"], {}), "expected bool"),
        (("where", ["x0", "x0", "x0"], {}), "one dtype"),
        (("random_bits", ["x0", "x0"], {"half": 0}), "random_bits"),
        (("sort", ["x0"], {"axis": 9, "descending": False, "stable": True}), "sort"),
        (("cumulative_sum", ["x0"], {"axis": "name"}), "cumulative_sum"),
        (("qr", ["x0"], {"mode": "raw"}), "qr"),
        (("nonzero", ["x0"], {}), "depends on values"),
        (("guard", ["x0"], {"expected": {"bytes": "00"}, "how": "bool"}), "not registered"),
        (("os.system", ["x0"], {}), "not registered"),
        (("__class__", ["x0"], {}), "not registered"),
    ],
)
def test_a_step_that_is_wrong_is_refused(step: Any, reason: str, tmp_path: Path) -> None:
    rewritten(tmp_path / "f", one_step(*step))
    with pytest.raises(fj.FileError, match=reason):
        fj.load(tmp_path / "f")


def test_operands_of_two_dtypes_are_refused(tmp_path: Path) -> None:
    for name in ("matmul", "concat", "add", "maximum"):
        program = one_step(name, ["x0", "c0"], {"axis": 0} if name == "concat" else {})
        program["constants"] = 1
        rewritten(tmp_path / "f", program, {"c0": np.ones((5, 5), np.int64)})
        with pytest.raises(fj.FileError, match="one dtype"):
            fj.load(tmp_path / "f")


NEGATIVE = ("negative", ["x0"], {})


@pytest.mark.parametrize(
    "changes",
    [
        {"blocks": []},
        {"blocks": [], "entries": []},
        {"entries": []},
        {"constants": 1},
        {"constants": 2**47},
        {"parameters": [{"name": "x y", "kind": "POSITIONAL_OR_KEYWORD"}]},
        {"parameters": [{"name": "lambda", "kind": "POSITIONAL_OR_KEYWORD"}]},
        {"parameters": [{"name": "x", "kind": "__import__"}]},
        {
            "parameters": [
                {"name": "x", "kind": "KEYWORD_ONLY"},
                {"name": "x", "kind": "VAR_KEYWORD"},
            ]
        },
        {"parameters": []},
        {"name": 7},
        {"entries": [{"patterns": {"x": {"is": {"float": "0x1p99999"}}}, "types": []}]},
        {"variables": [{"name": "v", "trainable": True, "random": False}]},
    ],
)
def test_a_program_that_is_wrong_is_refused(changes: Any, tmp_path: Path) -> None:
    rewritten(tmp_path / "f", one_step(*NEGATIVE, **changes))
    with pytest.raises(fj.FileError):
        fj.load(tmp_path / "f")


def test_blocks_make_no_loops(tmp_path: Path) -> None:
    loop = {"ref": 0, "how": "bool", "where": "?", "branches": [["00" * 80, 0], ["11" * 80, 0]]}
    for end in (loop, {**loop, "branches": [["00", 0]]}, {**loop, "how": "eval"}):
        program = one_step(*NEGATIVE, blocks=[{"steps": [list(NEGATIVE)], "exit": end}])
        rewritten(tmp_path / "f", program)
        with pytest.raises(fj.FileError):
            fj.load(tmp_path / "f")


@pytest.mark.parametrize(
    "program",
    ["", "[]", "null", "{", "[" * 10**6, '{"a":' * 10**5, '{"constants": NaN}', "9" * 10**6],
)
def test_text_that_is_no_program_is_refused(program: str, tmp_path: Path) -> None:
    rewritten(tmp_path / "f", program)
    with pytest.raises(fj.FileError):
        fj.load(tmp_path / "f")


def test_deep_patterns_are_refused(tmp_path: Path) -> None:
    program = one_step(*NEGATIVE)
    program["entries"][0]["patterns"]["x"] = "DEEP"
    deep = '{"tuple":[' * 400 + "0" + "]}" * 400  # JSON's own depth is more
    rewritten(tmp_path / "f", json.dumps(program).replace('"DEEP"', deep))
    with contextlib.suppress(fj.FileError, fj.CaptureError):
        fj.load(tmp_path / "f")(fj.zeros((4, 5)))


def test_other_files_and_later_versions_are_refused(tmp_path: Path) -> None:
    files.write(tmp_path / "f", {"w": np.ones(2)}, {})
    with pytest.raises(fj.FileError, match="no fusejit function"):
        fj.load(tmp_path / "f")
    files.write(tmp_path / "f", {}, {"fusejit": "function 2", "program": "{}"})
    with pytest.raises(fj.FileError, match=r"'function 2'; this version.*'function 1'"):
        fj.load(tmp_path / "f")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(fj.FileError, match="no regular file"):
        fj.load(tmp_path / "pipe")


def test_memory_is_bounded_by_the_file_and_the_limit(tmp_path: Path) -> None:
    wide = one_step("broadcast_to", ["x0"], {"shape": [10**6, 4, 5]})
    rewritten(tmp_path / "f", wide)
    with pytest.raises(fj.FileError, match="80000000 bytes, more than the limit of 1000"):
        fj.load(tmp_path / "f", limit=1000)
    assert callable(fj.load(tmp_path / "f"))  # by default it may
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    header = json.dumps({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    (tmp_path / "f").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(fj.FileError):
        fj.load(tmp_path / "f")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_names_of_a_file_are_never_compiled(tmp_path: Path) -> None:
    """A template is, and names are put into its code afterwards."""
    program = text.decode(json.dumps(one_step(*NEGATIVE, name="f(); boom()")), {}, 1 << 20)
    made = _function(program)
    assert made.__name__ == "f(); boom()"
    assert made.__code__.co_varnames == ("x",)
    assert set(made.__code__.co_names) == {"call"}
