"""The page of `explain` as HTML: well formed, complete, self-contained, and all of it escaped."""

from __future__ import annotations

import warnings
from html.parser import HTMLParser
from typing import Any

import pytest

import fusejit as fj
from fusejit.capture.facts import Facts
from tests.capture.helpers import X
from tests.capture.test_explain import (
    CELL,
    SOURCE,
    UNROLLED,
    cell_arguments,
    facts,
    sections,
    without_times,
    written,
)

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Checks that tags are balanced, and keeps the text of each kind of element and the marks."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert all(value is not None for _, value in attrs), self.get_starttag_text()
        self.attributes.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def marked(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [a for t, a in self.attributes if t == tag and wanted.items() <= a.items()]


def shown(kind: str) -> tuple[Facts, Page, str]:
    """Facts and page of a call."""
    sources = {
        "cell": (CELL, "cell", cell_arguments()),
        "guarded": (SOURCE, "f", [fj.ones(4), fj.ones(4)]),
        "unrolled": (UNROLLED, "unrolled", [fj.ones((4, 4)), fj.ones((4, 4))]),
    }
    source, name, args = sources[kind]
    f = written(source, name)
    html = f.explain(*args).html
    return facts(f, *args), Page(html), html


@pytest.mark.parametrize("kind", ["cell", "guarded", "unrolled"])
def test_the_page_is_balanced_and_needs_nothing_else(kind: str) -> None:
    found, page, html = shown(kind)
    assert "http://" not in html and "https://" not in html
    names = {name for _, attributes in page.attributes for name in attributes}
    assert not names & {"src", "href", "onclick", "onload"} and "@import" not in html
    assert html.startswith("<!DOCTYPE html>") and "prefers-color-scheme: dark" in html
    titles = page.texts["h2"]
    assert titles[0] == "Graph"
    for title in ("Kernels", "Not fused", "Applies when", "Stages of the compiler"):
        assert title in titles
    summaries = " ".join(page.texts["summary"])
    for stage in ("recorded", "plan", "LLVM of kernel", "assembly of kernel"):
        assert stage in summaries
    assert ("fuse: " in summaries) == any(len(kernel.ops) > 1 for kernel in found.kernels)


def test_each_op_is_drawn_once_inside_the_box_of_its_kernel() -> None:
    found, page, _ = shown("cell")
    ops = sum(len(kernel.ops) for kernel in found.kernels if len(kernel.ops) > 1)
    parts = [a for a in page.marked("g") if "part" in a.get("class", "")]
    kinds = [a["class"].split()[1] for a in parts]
    assert kinds.count("op") == ops
    assert kinds.count("kernel") == len(found.kernels)
    assert kinds.count("input") == 6 and kinds.count("output") == 2
    numbers = [a["data-from"] for a in parts]
    assert len(set(numbers)) == len(numbers)
    assert {a["data-of"] for a in page.marked("path") if "data-of" in a} <= set(numbers)


def test_a_part_tells_types_bytes_line_and_code() -> None:
    found, page, _ = shown("cell")
    sigmoid = next(text for text in page.texts["title"] if text.startswith("sigmoid "))
    assert "sigmoid f32[4,8] -> f32[4,8]\n128 bytes\nexplained.py:" in sigmoid
    assert "fj.sigmoid(" in sigmoid
    numbers = {n for a in page.marked("g") for n in a.get("data-code", "").split()}
    assert numbers and all(page.marked("pre", id=f"llvm-{n}") for n in numbers)
    generated = [k for k in found.kernels if k.generated]
    kernels = [a for a in page.marked("g") if "kernel" in a.get("class", "").split()]
    assert sum("data-code" in a for a in kernels) == len(generated)
    assert any(
        text.startswith("define i64 @") or "define i64 @" in text for text in page.texts["pre"]
    )


def test_whatever_the_user_writes_is_escaped() -> None:
    f = fj.function(lambda x: x * (2.0 if "<script>&'\"" else 1.0) if fj.sum(x) > 0.0 else x)
    html = f.explain(X).html
    page = Page(html)
    assert page.texts["h1"] == ["<lambda>"] and "<h1>&lt;lambda&gt;" in html
    assert html.count("<script>") == 1 == len(page.texts["script"])
    _, page, html = shown("guarded")
    assert '<both> & "quoted"' in " ".join(page.texts["td"]) and "<both>" not in html


def test_the_page_says_what_the_text_says() -> None:
    found, page, _ = shown("guarded")
    cells = " ".join(page.texts["td"])
    for each in found.conditions:
        assert each.what in page.texts["td"] and each.line is not None and each.line.where in cells
    for kernel in found.kernels:
        assert str(kernel) in page.texts["td"]
    for each in found.breaks:
        assert each.ops in page.texts["td"] and each.reason in page.texts["td"]
    assert "no kernel exists for this op" in page.texts["td"]


def test_paths_and_variables_are_on_the_page() -> None:
    total = fj.Variable(fj.zeros(3), name="a<b")

    @fj.function
    def f(x: Any) -> Any:
        total.assign_add(x)
        return x * 2.0 if fj.sum(total) > 100.0 else x

    f(X)
    total.assign(total + 1000.0)
    f(X)
    page = Page(f.explain(X).html)
    assert any("<- this call" in text and "reads" in text for text in page.texts["pre"])
    total.assign(total - 1003.0)
    page = Page(f.explain(X).html)
    kinds = [a["class"].split()[1] for a in page.marked("g") if "part" in a.get("class", "")]
    assert kinds.count("variable") == 2 and kinds.count("guard") == 1  # read, and assigned


def test_a_call_that_runs_eagerly_has_a_page_too() -> None:
    f = written("@fj.function\ndef f(x):\n    print(x, '<b>')\n    return x\n", "f")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        html = f.explain(X).html
    cells = Page(html).texts["td"]
    assert cells[1] == "it calls print, an effect" and "print(x, '<b>')" in cells[3]
    assert "http" not in html


def test_a_large_graph_is_drawn_by_kernels_and_stays_small() -> None:
    source = UNROLLED.replace("range(50)", "range(1000)")
    f = written(source, "unrolled")
    html = f.explain(fj.ones((4, 4)), fj.ones((4, 4))).html
    page = Page(html)
    assert len(html) < 5_000_000
    parts = [a["class"].split()[1] for a in page.marked("g") if "part" in a.get("class", "")]
    assert "op" not in parts and parts.count("kernel") > 1000


def test_the_explanation_is_a_str_that_notebooks_show_as_a_page() -> None:
    f = written(CELL, "cell")
    page = f.explain(*cell_arguments())
    assert isinstance(page, str) and page._repr_html_().startswith("<!DOCTYPE html>")
    assert sections(page).keys() >= {"cell", "applies when", "kernels", "not fused"}
    again = f.explain(*cell_arguments())
    assert without_times(page.html) == without_times(again.html) or "run" in page
