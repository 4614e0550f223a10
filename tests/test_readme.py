"""The README's examples run, and its tables are what the code says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from fusejit import optable
from fusejit.config import DEFAULTS

README = (Path(__file__).parent.parent / "README.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def between(start: str, end: str) -> str:
    """The text of the README between two markers."""
    return README.partition(f"<!-- {start} -->\n")[2].partition(f"\n<!-- {end} -->")[0]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_prints_what_its_comments_say(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that ends in `# text` after a print must print that text."""
    script = tmp_path / "example.py"  # a real file: messages name the user's file and line
    script.write_text(EXAMPLES[number])
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(script.read_text(), str(script), "exec"), {"__name__": "example"})
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", EXAMPLES[number], re.MULTILINE)
    found = printed.getvalue()
    for text in expected:
        assert text in found, f"expected {text!r} in what the example printed:\n{found}"


def test_the_op_table_is_up_to_date() -> None:
    assert between("ops", "/ops") == optable.markdown(), "run `python -m fusejit ops`"


def test_every_setting_is_documented() -> None:
    documented = re.findall(r"^\| `FUSEJIT_(\w+)`", README, re.MULTILINE)
    assert documented == [name.upper() for name in DEFAULTS]
