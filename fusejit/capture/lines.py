"""The user's lines: from 'train.py:12' to its text, and from a name to the line that reads it."""

from __future__ import annotations

import dis
import linecache
import os
import re
from collections.abc import Iterable, Iterator
from types import CodeType

from ..frozen import frozen
from .code import nested_code

MAX_TEXT = 72  # characters of a line that are shown: with file and condition, a wide terminal


@frozen
class SourceLine:
    """'train.py:12' and what stands there; no text if the file cannot be read."""

    where: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.where}  {self.text}".rstrip()


class Lines:
    """Finds lines in the files that some code comes from."""

    def __init__(self, codes: Iterable[CodeType]) -> None:
        self._codes = list(dict.fromkeys(codes))
        self._files: dict[str, set[str]] = {}
        for code in self._codes:
            self._files.setdefault(os.path.basename(code.co_filename), set()).add(code.co_filename)
        self._readers: dict[str, SourceLine] | None = None

    def at(self, where: str | None) -> SourceLine | None:
        """The line 'train.py:12'. Without text where two files are called train.py."""
        if where is None:
            return None
        name, _, number = where.rpartition(":")
        files = self._files.get(name, set())
        if len(files) != 1 or not number.isdigit():
            return SourceLine(where)
        return SourceLine(where, _text(next(iter(files)), int(number)))

    def definition(self) -> SourceLine:
        """Where the first code begins, below its decorators."""
        code = self._codes[0]
        line = code.co_firstlineno
        while linecache.getline(code.co_filename, line).lstrip().startswith("@"):
            line += 1
        return self._of(code, line)

    def reading(self, path: str) -> SourceLine | None:
        """The first line that reads a Python path such as `model.layers[2].scale`, by its last
        name."""
        if self._readers is None:
            self._readers = {}
            for code, name, line in self._loads():
                if name not in self._readers:
                    self._readers[name] = self._of(code, line)
        names = re.findall(r"[^\W\d]\w*", re.sub(r"\[[^]]*\]", "", path))
        return self._readers.get(names[-1]) if names else None

    def _loads(self) -> Iterator[tuple[CodeType, str, int]]:
        """What each instruction loads by name."""
        for outer in self._codes:
            for code in nested_code(outer):
                for each in dis.get_instructions(code):
                    line = each.positions.lineno if each.positions else None
                    if each.opname.startswith("LOAD_") and isinstance(each.argval, str) and line:
                        yield code, each.argval, line

    @staticmethod
    def _of(code: CodeType, line: int) -> SourceLine:
        where = f"{os.path.basename(code.co_filename)}:{line}"
        return SourceLine(where, _text(code.co_filename, line))


def _text(file: str, number: int) -> str:
    text = linecache.getline(file, number).strip()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."
