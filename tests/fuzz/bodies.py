"""Random bodies of stateful functions, from a grammar of templates.

Every body works on the same few names, which always have a value, so that any statement can be
left out and the rest still runs:

    x, y, z    arrays of the shape of the argument `a`
    r          an array of no axes, or a Variable
    k          a Python number

`{full}` in a template is an expression for an array, `{scalar}` for one element, `{number}` for
something that may be a Python number, and so on; statements hold blocks of statements. Matrices
that are multiplied hold small integers (`small`), so that no order of summation rounds.
"""

from __future__ import annotations

import random
import re

import fusejit as fj
from fusejit.op import OPS, Elementwise

DEEPEST = 3
"""Nesting of expressions and of blocks: more makes longer programs, not other ones."""

LEAVES = {
    "full": ["y", "y", "z", "x"],
    "scalar": ["r", "fj.sum(y)", "fj.max(fj.abs(y))", "fj.min(z)", "v0", "fj.mean(y)"],
    "number": [
        "s", "s", "n", "k", "G", "G", "ITEMS[0]", "ITEMS[-1]", "TABLE['p']", "model.scale",
        "Model.shared", "model.part.scale", "CELL", "default", "2.0", "3", "0.5", "len(ITEMS)",
        "x.ndim", "v0", "N",
    ],
    "count": ["int(n)", "int(n)", "2", "x.ndim", "min(len(ITEMS), 3)", "len(TABLE) % 4"],
    "condition": [
        "r > {number}", "r > s", "fj.sum(y) > 0", "fj.any(y > 1)", "n > 1", "s > 1.0", "G is None",
        "MODE == 'add'", "model.flag", "isinstance(c, dict)", "len(ITEMS) > 2", "'q' in TABLE",
        "hasattr(model, 'extra')", "x.shape[0] > 2", "x.dtype == fj.float32", "c is None", "v0 > 1",
    ],
    "unary": [
        f"fj.{op.name}"
        for op in OPS.values()
        if isinstance(op, Elementwise) and len(op.inputs) == 1 and "f" in op.dtype.kinds
        and hasattr(fj, op.name)
    ],
    "binary": ["+", "-", "*", "*", "/", "//", "%", ">"],
    "statement": ["y = {full}", "z = {full}", "r = {scalar}", "k = {number}"],
}  # fmt: skip

INNER = {
    "full": [
        "{unary}({full})", "{unary}({full})", "({full} {binary} {full})", "({full} * {number})",
        "({full} {binary} {number})", "({number} {binary} {full})", "({full} {binary} {scalar})",
        "fj.where({full} > {number}, {full}, {full})", "fj.maximum({full}, {number})",
        "fj.flip({full}, axis=0)", "fj.concat([{full}[1:], {full}[:1]])", "fj.sort({full})",
        "({full} - fj.sum({full}, axis=-1, keepdims=True))", "fj.nn.softmax({full})",
        "fj.reshape(fj.reshape({full}, (-1,))[::-1], x.shape)",
        "fj.broadcast_to({full}, (2, *x.shape))[1]", "fj.cumulative_sum({full}, axis=0)",
        "fj.sum(fj.stack([{full}, {full}]), axis=0)", "products({full}, {full})",
        "({full} + fj.random.normal(x.shape))", "({full} * fj.random.uniform(x.shape, 0, 2))",
        "fj.random.permutation({full})", "({full} * fj.random.bernoulli(0.5, x.shape))",
        "ACT({full})", "model.apply({full})", "shift({full})", "halved({full}, {count})",
        "{recursion}", "({full} + pick(c))",
        "fj.gradients_function(lambda q: fj.sum({smooth}))({full})[0]",
        "fj.asarray({full}, dtype='float32')", "({full} if {condition} else {full})", "(-{full})",
    ],
    "recursion": ["(inner({full}, {number}, int(n) - 1) if n > 0 else {full})"],
    "smooth": ["q * q * {number}", "fj.tanh(q) * {full}", "shift(q)", "fj.exp(-q * q)[::2]"],
    "scalar": [
        "fj.sum({full})", "fj.max({full})", "fj.reshape({full}, (-1,))[0]", "fj.random.normal()",
        "({scalar} + {number})", "({scalar} * {scalar})", "fj.sum({full} > {number})", "fj.abs(r)",
    ],
    "number": [
        "float({scalar})", "int(fj.sum({full}) > 0)", "min({number}, {number})", "-{number}",
        "max({number}, float({scalar}))", "({number} + {number})", "({number} or {number})",
        "({scalar}).item()", "pick(c)", "model.twice()", "getattr(model, 'extra', 1.5)",
    ],
    "count": ["int(fj.sum({full}) > 0)", "int(fj.abs(fj.round(r))) % 3", "min(int(n), 3)"],
    "condition": [
        "{scalar} > {number}", "{scalar} < {scalar}", "{number} > 1", "fj.all({full} < {number})",
        "({condition} and {condition})", "({condition} or {condition})", "(not {condition})",
        "fj.equal({scalar} % 2, 0)", "fj.sum({full}) > 0", "fj.sum({full}) < fj.sum({full})",
        "0 < {scalar} < {number}",
    ],
    "statement": [
        "y = {full}", "z = {full}", "y = {full}", "r = {scalar}", "k = {number}",
        "y, z = {full}, {full}", "v0.assign(fj.asarray({scalar}, dtype='float32'))",
        "v0.assign_add(1.0)", "v0.assign_add(fj.astype({scalar}, 'float32'))",
        "v1.assign(fj.astype(v1 * {number} + 1, 'float32'))", "r = v0 * {number}",
        "model.state.assign(fj.astype({scalar}, 'float32'))", "r = v0.read()",
        "if {condition}:\n{block}", "if {condition}:\n{block}\nelse:\n{block}",
        "if {condition}:\n{block}\nelif {condition}:\n{block}\nelse:\n{block}",
        "for i in range({count}):\n{block}", "for item in ITEMS[:4]:\n    y = y * item",
        "for key, item in TABLE.items():\n    y = y + item", "y = sum([y, {full}, z])",
        "z = [y, z][int({condition})]", "k = dict(add=1.0, mul={number}).get(MODE, 0.5)",
        "for i in range(3):\n    if {condition}:\n        break\n{block}",
        "steps = 0\nwhile steps < 3 and {condition}:\n    steps += 1\n{block}",
        "if {condition}:\n    return {result}",
        "if {condition}:\n    raise ValueError('stopped', float({scalar}))",
        "try:\n{block}\n    if {condition}:\n        raise KeyError('odd')\n"
        "except KeyError:\n{block}",
        "with fj.GradientTape() as tape:\n    tape.watch(y)\n"
        "    q = fj.sum(fj.tanh(y) * {number})\nz = tape.gradient(q, y)",
        "with fj.GradientTape() as tape:\n    q = fj.sum(v0 * v0 * {full})\n"
        "r = tape.gradient(q, v0)",
    ],
    "result": [
        "y", "y, r", "{'y': y, 'k': k}", "[y, (z, k)]", "y, v0", "r", "Point(y, k)", "None", "k",
        "y, c", "a, y", "y, y", "v1.read(), z", "y[1:], y", "x, {'n': n, 's': s}", "(), [r, None]",
        "y, x.shape", "MODE, y", "[y, y.dtype]", "(y if {condition} else None), k",
    ],
}  # fmt: skip

EFFECTS = [
    "model.n = model.n + 1", "ITEMS.append({number})", "TABLE['m'] = {number}", "SEEN.append(y)",
    "model.last = y", "if model.built is None:\n    model.built = fj.Variable(1.5)",
    "y = y + y.numpy().sum()", "global G\nG = {number}", "SEEN.append(str({number}))",
]  # fmt: skip
"""What Python sees of a call. Few have any: such functions run eagerly from the third call on."""


class Writer:
    """Expands templates, of which each writer knows some: programs that have much of a few things
    differ more than those that have a little of everything.

    Args:
        effects: whether the body may have effects on Python objects.
    """

    def __init__(self, rng: random.Random, effects: bool = False) -> None:
        self.rng = rng
        self._loops = 0  # each counts with a variable of its own, or some would never end
        known = {kind: self._some(options) for kind, options in INNER.items()}
        self._inner = known | {"statement": known["statement"] + (EFFECTS if effects else [])}

    def _some(self, options: list[str]) -> list[str]:
        share = self.rng.choice((0.2, 0.5, 1.0))
        return self.rng.sample(options, max(min(4, len(options)), int(share * len(options))))

    def body(self, length: int, depth: int = 0) -> list[str]:
        """The lines of so many statements, without indentation."""
        lines: list[str] = []
        for _ in range(length):
            lines += self._statement(depth)
        return lines

    def _statement(self, depth: int) -> list[str]:
        options = LEAVES["statement"] if depth >= DEEPEST else self._inner["statement"]
        lines: list[str] = []
        self._loops += 1
        template = self.rng.choice(options).replace("steps", f"steps{self._loops}")
        for line in template.splitlines():
            if line == "{block}":
                found = self.body(self.rng.randint(1, 2), depth + 1)
                lines += [f"    {each}" for each in found]
            else:
                lines.append(self.expression(line, depth))
        return lines

    def expression(self, template: str, depth: int = 0) -> str:
        """The template with all placeholders expanded."""
        return re.sub(r"\{(\w+)\}", lambda found: self._expand(found[1], depth), template)

    def _expand(self, kind: str, depth: int) -> str:
        deep = depth >= DEEPEST or self.rng.random() < 0.4
        options = LEAVES.get(kind, []) if deep else self._inner.get(kind, [])
        options = options or LEAVES.get(kind, []) or self._inner[kind]
        return self.expression(self.rng.choice(options), depth + 1)
