"""Random stories: functions that read state, and what happens to that state between calls.

A story is source text. `function` in it is the decorator, `call`, `thread`, `gradient` and `tape`
make calls that are noted (see `worlds`), and `undecorated` gives the body of a function. All values
that are set come from a short list for each story, so that earlier ones come back.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from tests.fuzz.bodies import Writer

STATE = """\
Point = collections.namedtuple("Point", "left right")
v0 = fj.Variable(1.0, name="v0")
v1 = fj.Variable([2.0], name="v1")
G = {value}
CELL = {value}
N = np.array([1.0], "float32")
ITEMS = [{value}, {value}]
TABLE = {"p": {value}}
MODE = "add"
SEEN = []
ACT = fj.tanh


class Part:
    scale = {value}


class Model:
    shared = {value}

    def __init__(self):
        self.scale, self.flag, self.n = {value}, True, 0
        self.part = Part()
        self.state = fj.Variable(0.5, name="state")
        self.built = self.last = None

    @function
    def apply(self, x):
        return x * self.scale + self.state

    def twice(self):
        return self.scale * 2


model = Model()


def small(x):
    return fj.where(fj.abs(x) < 4, fj.round(x), 1)


def products(x, y):
    left, right = (fj.reshape(small(each), (-1, 1)) for each in (x, y))
    return fj.reshape(left @ fj.matrix_transpose(right) @ right, x.shape)


def pick(c):
    return c["p"] if isinstance(c, dict) else c[0] if c else 0.5


@function
def halved(x, depth):
    if depth <= 0 or fj.max(fj.abs(x)) < 0.5:
        return x
    return halved(x * 0.5, depth - 1)


def closing(cell):
    def shift(x):
        return x + cell

    def put(value):
        nonlocal cell
        cell = value

    return shift, put


shift, put = closing({value})
"""

FUNCTION = """\
@function
def {name}({parameters}):
    x = fj.asarray(a)
    y = z = x
    r, k = fj.sum(x), 1.5
"""

VALUES = [
    "1.0", "2.0", "0.5", "-1.5", "0.0", "-0.0", "3", "1", "0", "2", "True", "False", "1e30",
    "float('nan')", "float('inf')", "np.float32(1.5)", "np.int64(2)", "fj.constant(1.5)",
    "fj.constant([2.0])", "np.array(2.0, 'float32')", "fj.Variable(0.25)", "None", "'text'",
]  # fmt: skip

CONTAINERS = [
    "None", "[]", "[{value}]", "({value}, A1)", "{'p': {value}}", "{'p': A0}", "[A0, {value}]",
    "Point({value}, [1])", "{'p': {value}, 'q': [{value}]}", "ITEMS", "TABLE",
]  # fmt: skip

ACTIONS = [
    *["call(f, {args})"] * 14, "call(f, {array}, c={container})", "call(inner, {args})",
    "call(model.apply, {array})",
    "thread(f, {args})", "repeat(f, {args})", "gradient(f, {args})", "tape(f, {args})",
    "implicit(f, {args})", "call(halved, {array}, {count})", "R = call(f, {args})",
    "A0 = leaf(R, A0)", "call(f, leaf(R, A0), {value}, {count})",
    "G = {value}", "G = {value}", "ITEMS[0] = {value}", "ITEMS[-1] = {value}", "ITEMS = [{value}]",
    "ITEMS.append({value})", "ITEMS[:] = [{value}, {value}, {value}]", "ITEMS.reverse()",
    "TABLE['p'] = {value}", "TABLE['q'] = {value}", "TABLE.pop('q', None)", "CELL = {value}",
    "TABLE = {'q': 1, 'p': {value}}", "MODE = 'mul'", "MODE = 'add'", "MODE = 'ad' + 'd'",
    "model.scale = {value}", "model.flag = False", "model.flag = True", "Model.shared = {value}",
    "model.shared = {value}", "model.part.scale = {value}", "Part.scale = {value}",
    "model.part = Part()", "model = Model()", "model.extra = {value}", "vars(model).pop('extra', 0)",
    "model.apply = shift", "vars(model).pop('apply', 0)", "model.state = fj.Variable(2.0)",
    "put({value})", "shift, put = closing({value})", "undecorated(f).__defaults__ = ({value}, 2, None, {value})",
    "ACT = fj.exp", "ACT = fj.tanh", "ACT = abs", "ACT = small", "N[0] = {number}", "N = N * 2",
    "N = np.array([1.0, 2.0][:1], 'float32')", "v0.assign({number})", "v1.assign([{number}])",
    "v0.assign_add(0.5)", "v0 = fj.Variable({number})", "v0, v1 = v0, fj.Variable([{number}])",
    "B0[...] = {number}", "B0[:1] += 1", "fj.clear_caches()", "gc.collect()",
    "fj.random.seed({count})", "fj.set_num_threads({threads})", "fj.random.normal()",
    "Model.twice = lambda self: self.scale * 3", "A0 = A1", "A0, A1 = A1, A0",
    "undecorated(inner).__code__ = undecorated(other).__code__", "halved = shift2",
    "inner = other", "inner = function(undecorated(other))",
]  # fmt: skip

ARGUMENTS = [
    *["{array}, {value}, {count}"] * 4, "{array}", "{array}, {value}", "a={array}",
    "{array}, n={count}", "{array}, {value}, {count}, {container}",
]  # fmt: skip

SHAPES = ["(3,)", "(2, 3)", "(1,)", "(4, 1)", "(70,)", "(3, 40)", "(2, 1, 3)", "(6,)", "(0, 2)"]


class Story(Writer):
    """A story being written."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng, effects=rng.random() < 0.15)
        self._values = rng.sample(VALUES[:20], 3) + rng.sample(VALUES, 2)
        self._numbers = rng.sample(VALUES[:9], 2)
        self._arrays = ["A0", "A0", "A1", "A1", "A2", "A3", "B0"]

    def function(self, name: str, parameters: str, length: int) -> list[str]:
        body = self.body(length)
        head = FUNCTION.format(name=name, parameters=parameters)
        names = {line.split()[1] for line in body if line.split()[0] == "global"}
        lines = head.splitlines() + [f"    {line}" for line in body]
        lines = [line for line in lines if line.split()[0] != "global"]
        lines[2:2] = [f"    global {name}" for name in sorted(names)]
        return [*lines, f"    return {self.expression('{result}')}", "", ""]

    def arrays(self) -> list[str]:
        """The arguments: two of one type, one of another shape, one of another dtype, an ndarray."""
        shape, other = self.rng.sample(SHAPES, 2)
        kinds = [("float32", shape), ("float32", shape), ("float32", other)]
        kinds += [(self.rng.choice(["float64", "int64", "int32", "bool"]), shape), ("float32", shape)]
        lines = []
        for number, (dtype, size) in enumerate(kinds):
            made = f"np.random.default_rng({number}).normal(0, 2, {size}).astype('{dtype}')"
            if number == 1 and self.rng.random() < 0.3:
                made = f"np.resize(np.array([np.nan, -0.0, np.inf, 1, -2], 'float32'), {size})"
            named = "B0" if number == 4 else f"A{number}"
            lines.append(f"{named} = {made}" if number == 4 else f"{named} = fj.constant({made})")
        return [*lines, "R = None", "", ""]

    def fill(self, template: str) -> str:
        """An action with its values chosen."""
        options = self._options()
        while (found := re.search(r"\{(\w+)\}", template)) is not None:
            chosen = self.rng.choice(options[found[1]])
            template = template[: found.start()] + chosen + template[found.end() :]
        return template

    def _options(self) -> dict[str, Sequence[str]]:
        return {
            "value": self._values, "number": self._numbers, "array": self._arrays,
            "count": ("0", "1", "2", "3"), "threads": ("1", "2"),
            "args": ARGUMENTS, "container": CONTAINERS,
        }  # fmt: skip


def story(seed: int) -> str:
    """The source text of story number `seed`."""
    rng = random.Random(seed)
    s = Story(rng)
    lines = ["import collections", "import gc", "import numpy as np", "import fusejit as fj", "", ""]
    lines += [s.fill(line) for line in STATE.splitlines()] + ["", ""]
    lines += ["@function", "def shift2(x, depth):", "    return x * 0.25 + depth", "", ""]
    lines += s.function("other", "a, s=1.0, n=1, c=None, default=0.5", 1)
    lines += s.function("inner", "a, s=1.0, n=1, c=None, default=0.5", rng.randint(1, 3))
    lines += s.function("f", "a, s=1.0, n=2, c=None, default=0.5", rng.randint(3, 9))
    lines += s.arrays()
    calls = ACTIONS[0]
    for _ in range(rng.randint(6, 24)):
        lines.append(s.fill(rng.choice(ACTIONS)))
        if rng.random() < 0.6:
            lines.append(lines[-1] if lines[-1].startswith("call(") else s.fill(calls))
    return "\n".join(lines) + "\n"
