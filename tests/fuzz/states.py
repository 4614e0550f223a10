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
import collections
import gc
import numpy as np
import fusejit as fj


Point = collections.namedtuple("Point", "left right")
v0 = fj.Variable(1.0, name="v0")
v1 = fj.Variable([2.0], name="v1")
w = fj.Variable(2.0, name="w")
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


@function
def quartered(x, depth):
    return x * 0.25 + depth


@function
def train(a, rate=0.25):
    def loss():
        error = small(a) * w - 1
        return fj.sum(error * error)

    value, pairs = fj.implicit_value_and_gradients(loss)()
    for gradient, variable in pairs:
        variable.assign(small(variable - fj.round(gradient * rate)))
    return value if value > 1 else w
"""

FUNCTION = """\
@function
def {name}(a, s=1.0, n=1, c=None, default=0.5, b=None):
    x = y = fj.asarray(a)
    z = x if b is None else fj.asarray(b)
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
    "call(f, {array}, c={container})", "call(inner, {args})",
    "call(model.apply, {array})", "call(train, {array})", "call(train, {array}, 0.5)",
    "call(f, {array}, s={value}, n={count})", "w.assign(3.0)", "f = function(undecorated(f))",
    "vars(model).pop('scale', 0)", "Model.scale = {value}", "setattr(model, 'sc' + 'ale', {value})",
    "MODE = 1", "ITEMS[:] = ITEMS[:1]", "TABLE.clear()", "SEEN.clear()", "ITEMS = tuple(ITEMS)",
    "fj.config.default_float = 'float64'", "fj.config.default_float = 'float32'",
    "thread(f, {args})", "repeat(f, {args})", "gradient(f, {args})", "tape(f, {args})",
    "implicit(f, {args})", "call(halved, {array}, {count})", "R = call(f, {args})",
    "A0 = leaf(R, A0)", "call(f, leaf(R, A0), {value}, {count})",
    "G = {value}", "G = {value}", "ITEMS[0] = {value}", "ITEMS[-1] = {value}", "ITEMS = [{value}]",
    "ITEMS.append({value})", "ITEMS[:] = [{value}, {value}, {value}]", "ITEMS.reverse()",
    "TABLE['p'] = {value}", "TABLE['q'] = {value}", "TABLE.pop('q', None)", "CELL = {value}",
    "TABLE = {'q': 1, 'p': {value}}", "MODE = 'mul'", "MODE = 'add'", "MODE = 'ad' + 'd'",
    "model.scale = {value}", "model.flag = False", "model.flag = True", "Model.shared = {value}",
    "model.shared = {value}", "model.part.scale = {value}", "Part.scale = {value}",
    "model.part = Part()", "model = Model()", "model.extra = {value}",
    "vars(model).pop('extra', 0)",
    "model.apply = shift", "vars(model).pop('apply', 0)", "model.state = fj.Variable(2.0)",
    "put({value})", "shift, put = closing({value})",
    "undecorated(f).__defaults__ = ({value}, 2, None, {value}, None)",
    "ACT = fj.exp", "ACT = fj.tanh", "ACT = abs", "ACT = small", "N[0] = {number}", "N = N * 2",
    "N = np.array([1.0, 2.0][:1], 'float32')", "v0.assign({number})", "v1.assign([{number}])",
    "v0.assign_add(0.5)", "v0 = fj.Variable({number})", "v0, v1 = v0, fj.Variable([{number}])",
    "B0[...] = {number}", "B0[:1] += 1", "fj.clear_caches()", "gc.collect()",
    "fj.random.seed({count})", "fj.set_num_threads({threads})", "fj.random.normal()",
    "Model.twice = lambda self: self.scale * 3", "A0 = A1", "A0, A1 = A1, A0",
    "undecorated(inner).__code__ = undecorated(other).__code__", "halved = quartered",
    "inner = other", "inner = function(undecorated(other))",
]  # fmt: skip

ARGUMENTS = [
    *["{array}, {value}, {count}"] * 4, "{array}", "{array}, {value}", "a={array}",
    "{array}, n={count}", "{array}, {value}, b={array}", "{array}, b={array}",
    "{array}, {value}, {count}, {container}",
]  # fmt: skip

SHAPES = ["(3,)", "(2, 3)", "(1,)", "(4, 1)", "(70,)", "(3, 40)", "(2, 1, 3)", "(6,)", "(0, 2)"]


PLAIN = ["A0", "A1", "A4", "A5", "A6", "A7"]  # of one type: all that differs is values
MIXED = [*PLAIN, "A2", "A3", "B0"]
COMMON = ["call(f, {args})", "call(f, {args})", "repeat(f, {args})"]


class Story(Writer):
    """A story being written."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng, effects=rng.random() < 0.15)
        few = rng.choice((1, 1, 3))  # or most calls differ in more than what a branch reads
        self._values = rng.sample(VALUES[:20], few) + (rng.sample(VALUES, 2) if few > 1 else [])
        self._arguments = rng.choice((ARGUMENTS, [rng.choice(ARGUMENTS)]))
        self._numbers = rng.sample(VALUES[:9], 2)
        self._arrays = rng.choice((PLAIN, MIXED))

    def function(self, name: str, length: int) -> list[str]:
        body = self.body(length)
        head = FUNCTION.format(name=name)
        names = {line.split()[1] for line in body if line.split()[0] == "global"}
        lines = head.splitlines() + [f"    {line}" for line in body]
        lines = [line for line in lines if line.split()[0] != "global"]
        lines[2:2] = [f"    global {name}" for name in sorted(names)]
        return [*lines, f"    return {self.expression('{result}')}", "", ""]

    def arrays(self) -> list[str]:
        """The arguments: six of one type, another shape, another dtype, an ndarray."""
        shape, other = self.rng.sample(SHAPES, 2)
        dtype = self.rng.choice(["float64", "int64", "int32", "bool"])
        normal = "np.random.default_rng({}).normal(0, 2, {}).astype('{}')"
        odd = f"np.resize(np.array([np.nan, -0.0, np.inf, 1, -2], 'float32'), {shape})"
        made = {
            "A0": normal.format(0, shape, "float32"),
            "A1": "-A0.numpy()",
            "A2": normal.format(2, other, "float32"),
            "A3": normal.format(3, shape, dtype),
            "A4": odd if self.rng.random() < 0.3 else normal.format(4, shape, "float32") + " * 3",
        }
        made |= {f"A{n}": normal.format(n, shape, "float32") for n in (5, 6)}
        made["A7"] = "A5.numpy() * 0.01"
        lines = [f"{name} = fj.constant({text})" for name, text in made.items()]
        return [*lines, f"B0 = {normal.format(8, shape, 'float32')}", "R = None", "", ""]

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
            "args": self._arguments, "container": CONTAINERS,
        }  # fmt: skip


def story(seed: int) -> str:
    """The source text of story number `seed`."""
    rng = random.Random(seed)
    s = Story(rng)
    lines = [s.fill(line) for line in STATE.splitlines()] + ["", ""]
    lines += s.function("other", 1)
    lines += s.function("inner", rng.randint(1, 3))
    lines += s.function("f", rng.randint(3, 9))
    lines += s.arrays()
    actions = rng.sample(ACTIONS, rng.choice((0, 3, 12, len(ACTIONS)))) + COMMON
    usual = [s.fill("call(f, {args})") for _ in range(rng.choice((2, 6)))]
    for _ in range(rng.randint(5, 16)):
        lines += [s.fill(rng.choice(actions)), *rng.choices(usual, k=rng.randint(0, 3))]
    return "\n".join(lines) + "\n"
