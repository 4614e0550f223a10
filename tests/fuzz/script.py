"""From a finding to a small script: what a program need not have to fail is left out.

A smaller program lacks statements, has the body of a compound statement in its place, or a part of
an expression in place of the whole.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator

SECONDS = 120.0
"""At most for one finding: some hundreds of attempts."""

SCRIPT = """\
# {problem}
# Check it again: python this_file.py, from the root of the repository.
{text}
if __name__ == "__main__":
    from tests.fuzz.{module} import {check}

    {check}(open(__file__).read().partition("if __name__")[0])
"""

Check = Callable[[str], str | None]
Edit = Callable[[], None]


def script(text: str, problem: str, kind: str) -> str:
    """A program as a script that checks itself; `kind` is one of KINDS."""
    module = {"program": "checks", "story": "worlds", "threads": "threads"}[kind]
    told = problem.strip().replace("\n", "\n# ")
    return SCRIPT.format(problem=told, text=text, module=module, check=f"check_{kind}")


def signature(problem: str) -> str:
    """What a smaller program must have in common with the one that was found."""
    return problem.strip().splitlines()[-1].split(":")[0]


def minimal(check: Check, text: str, problem: str) -> tuple[str, str]:
    """The smallest program found that shows the same problem, and what it shows."""
    wanted, until, place, misses = signature(problem), time.monotonic() + SECONDS, 0, 0
    text = ast.unparse(ast.parse(text)) + "\n"
    while time.monotonic() < until:
        candidate, count = smaller(text, place)
        found = check(candidate) if candidate is not None else None
        if found is not None and signature(found) == wanted:
            assert candidate is not None
            text, problem, misses = candidate, found, 0
            continue  # what follows has moved to this place
        misses, place = misses + 1, (place + 1) % max(count, 1)
        if misses > count:
            break
    return text, problem


def smaller(text: str, place: int) -> tuple[str | None, int]:
    """The program with edit number `place` made, or None if it would be no shorter; how many
    edits there are."""
    tree = ast.parse(text)
    edits = list(_edits(tree))
    if place >= len(edits):
        return None, len(edits)
    edits[place]()
    try:
        made = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
        compile(made, "smaller.py", "exec")
    except (SyntaxError, ValueError):
        return None, len(edits)
    return (made if len(made) < len(text) else None), len(edits)


def _edits(tree: ast.Module) -> Iterator[Edit]:
    """Ways to make a program smaller, the largest first."""
    blocks = [
        block
        for node in ast.walk(tree)
        for name in ("body", "orelse", "finalbody", "handlers")
        if isinstance(block := getattr(node, name, None), list)
    ]
    longest = max(map(len, blocks))
    size = longest
    while size := size // 2:
        for block in blocks:
            for start in range(max(len(block) - size, -1), -1, -size):
                if len(block) > size or size == 1:
                    yield _without(block, start, size)
    for block in blocks:
        for number, statement in enumerate(block):
            inner = [getattr(statement, name, []) for name in ("body", "orelse")]
            for body in inner:
                if isinstance(body, list) and body and not isinstance(statement, ast.ClassDef):
                    yield _in_place(block, number, body)
    for node in ast.walk(tree):
        yield from _simpler(node)


def _without(block: list[ast.stmt], start: int, size: int) -> Edit:
    def edit() -> None:
        del block[start : start + size]
        if not block:
            block.append(ast.Pass())

    return edit


def _in_place(block: list[ast.stmt], number: int, body: list[ast.stmt]) -> Edit:
    def edit() -> None:
        block[number : number + 1] = body

    return edit


def _simpler(node: ast.AST) -> Iterator[Edit]:
    """A part of each expression in its place, or one element, argument or parameter less."""
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.expr):
            for part in _parts(value):
                yield _set(node, field, part)
        elif isinstance(value, list) and value and isinstance(value[0], (ast.expr, ast.keyword)):
            for number, each in enumerate(value):
                yield _dropped(node, field, number)
                if isinstance(each, ast.expr):
                    for part in _parts(each):
                        yield _replaced(value, number, part)


def _parts(value: ast.expr) -> list[ast.expr]:
    """What an expression is made of."""
    return [
        each.value if isinstance(each, ast.keyword) else each
        for each in ast.iter_child_nodes(value)
        if isinstance(each, (ast.expr, ast.keyword))
    ]


def _set(node: ast.AST, field: str, part: ast.expr) -> Edit:
    return lambda: setattr(node, field, part)


def _replaced(values: list[ast.expr], number: int, part: ast.expr) -> Edit:
    return lambda: values.__setitem__(number, part)


def _dropped(node: ast.AST, field: str, number: int) -> Edit:
    def edit() -> None:
        del getattr(node, field)[number]
        if isinstance(node, ast.Dict) and field == "keys":
            del node.values[number]

    return edit
