"""The page of `explain` as an HTML document that needs nothing else: no network, no other file.

It has the facts of the text, the graph as a drawing, every stage of the compiler, and the code of
each kernel. A small script shows the code of the kernel that is pointed at beside the drawing;
without it the parts of the drawing still have their titles, and the sections open and close.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from types import CodeType

from ..backends.llvm.checks import Same
from ..backends.printer import shared_rows
from .advice import instead_of
from .benchmark import count
from .drawing import draw
from .explain import alike, compiled, spent, ways, why
from .facts import Eager, Facts, why_numpy
from .lines import Lines, SourceLine

MAX_CODES = 24  # kernels whose code is shown: each takes some 20 ms to disassemble, and 20 kB
MAX_TEXT = 400_000
"""Characters of one section. The stages of a graph of 2000 ops have 250,000 each; so a whole page
is below 5 MB, which browsers open at once."""

SHORT = 24  # characters of a table cell that are never broken: file and line, a number

STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfa; --card: #fff; --fg: #1d2126; --dim: #69727d;
  --rule: #dfe2e6; --line: #8b949e; --on: #d9480f; --op: #fff; --loop: #e3effc; --reduce: #e2f4e6;
  --matmul: #fdeeda; --numpy: #fbe3e4; --copy: #eceef0; --value: #f1ecfb; --strip: #f4f5f6; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171b; --card: #1b1f24; --fg: #dde2e8;
  --dim: #8f99a4; --rule: #30363d; --line: #6e7781; --on: #ff8c4c; --op: #22272e; --loop: #18314d;
  --reduce: #193825; --matmul: #473418; --numpy: #4a2428; --copy: #2c3138; --value: #33294a;
  --strip: #1a1d22; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1500px; padding: 24px; background: var(--bg); color: var(--fg);
  font: 14px/1.5 system-ui, sans-serif; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 16px; margin: 32px 0 8px; }
pre, .code, svg text { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; }
pre, .code { font-size: 12px; } .code { white-space: pre-wrap; } .dim { color: var(--dim); }
pre { margin: 0; padding: 12px; overflow: auto; max-height: 70vh; }
details, .card, .scroll { background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; margin: 8px 0; }
summary { padding: 8px 12px; cursor: pointer; }
.tiles { display: flex; flex-wrap: wrap; gap: 8px; margin: 16px 0; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  padding: 8px 16px; } .tile b { display: block; font-size: 18px; }
table { border-collapse: collapse; width: 100%; background: var(--card); }
td, th { text-align: left; vertical-align: top; padding: 4px 16px 4px 0;
  border-bottom: 1px solid var(--rule); }
.code.short, th { white-space: pre; }
.card { padding: 4px 16px; overflow-x: auto; } .card tr:last-child td { border: 0; }
.graph { display: grid; grid-template-columns: minmax(0, 1fr) minmax(300px, 32%); gap: 12px; }
.scroll { overflow: auto; max-height: 85vh; padding: 12px; margin: 0; }
.scroll svg { display: block; margin: auto; }
#shown { max-height: 85vh; display: flex; flex-direction: column; margin: 0; padding: 0; }
#shown pre { white-space: pre-wrap; overflow-wrap: anywhere; }
#shown #code { white-space: pre; border-top: 1px solid var(--rule); }
@media (max-width: 900px) { .graph { grid-template-columns: minmax(0, 1fr); } }
svg text { font-size: 12px; text-anchor: middle; fill: var(--fg); }
svg text.type { font-size: 10px; fill: var(--dim); }
svg text.name { font-size: 11px; text-anchor: start; fill: var(--dim); }
svg rect { fill: var(--op); stroke: var(--line); stroke-width: 1; }
svg path { fill: none; stroke: var(--line); stroke-width: 1.2; }
svg marker path { fill: var(--line); stroke: none; } svg path.far { opacity: .35; }
svg path.on { stroke: var(--on); opacity: 1; stroke-width: 2; }
.kernel rect { fill: var(--copy); } .kernel.loop rect { fill: var(--loop); }
.kernel.reduce rect { fill: var(--reduce); } .kernel.matmul rect { fill: var(--matmul); }
.kernel.numpy rect { fill: var(--numpy); } 
.strip rect { fill: var(--strip); stroke-dasharray: 5 4; }
.view rect, .place rect { stroke-dasharray: 2 2; } .guard rect { stroke: var(--on); }
.variable rect { fill: var(--value); stroke-width: 2; } .output rect { stroke-width: 2.5; }
.input rect { fill: var(--copy); }
.part { outline: none; } .part:hover > rect, .part:focus > rect, .part.on > rect {
  stroke: var(--on); stroke-width: 2; }
.key span { display: inline-block; padding: 0 8px; margin: 0 6px 6px 0; border-radius: 4px;
  border: 1px solid var(--line); font-size: 12px; }
"""

SCRIPT = """
const about = document.getElementById("about"), code = document.getElementById("code");
let pinned = null;
function show(part) {
  about.textContent = part.querySelector("title").textContent;
  const numbers = (part.dataset.code || "").split(" ").filter(Boolean);
  code.textContent = numbers.map(n => {
    const found = document.getElementById("llvm-" + n);
    return found ? found.textContent : "";
  }).join("\\n") || "no code of its own: a product, a copy or NumPy's";
  for (const each of document.querySelectorAll("svg .on")) each.classList.remove("on");
  for (const each of document.querySelectorAll(`svg [data-of="${part.dataset.from}"]`))
    each.classList.add("on");
  if (pinned) pinned.classList.add("on");
}
const svg = document.querySelector("svg");
const at = event => event.target.closest(".part");
svg.addEventListener("mouseover", event => { if (at(event) && !pinned) show(at(event)); });
svg.addEventListener("focusin", event => { if (at(event) && !pinned) show(at(event)); });
svg.addEventListener("click", event => {
  const part = at(event);
  pinned = part && part !== pinned ? part : null;
  if (part) show(part);
});
"""

KINDS = (
    ("loop", "loop"),
    ("reduce", "reduction"),
    ("matmul", "matrix product"),
    ("numpy", "NumPy"),
    ("copy", "copy, input"),
    ("value", "Variable"),
)


def document(facts: Facts) -> str:
    """The page of a call that is replayed."""
    codes = compiled(facts.plan)
    shown = list(codes)[:MAX_CODES]
    numbers = {kernel: number for number, kernel in enumerate(shown)}
    same = [c.expect.value for c in facts.trace.checks if isinstance(c.expect, Same)]
    lines = Lines(value for value in same if isinstance(value, CodeType))
    body = [
        f"<h1>{escape(facts.name)}</h1>",
        f'<div class="dim">{escape(why(facts))}</div>',
        _tiles(facts),
        "<h2>Graph</h2>",
        _key(),
        f'<div class="graph"><div class="scroll">{draw(facts, lines, numbers)}</div>',
        '<aside class="card" id="shown"><pre id="about">point at a part of the graph; '
        'a click holds it</pre><pre id="code" class="dim"></pre></aside></div>',
        _kernels(facts),
        _breaks(facts),
        _conditions(facts),
        _paths(facts),
        *_rest(facts),
        "<h2>Stages of the compiler</h2>",
        *_stages(facts),
        _details("plan: buffers and steps, as they run", _running(facts)),
        "<h2>Code of each kernel</h2>",
        *_cuda(facts),
    ]
    for kernel, number in numbers.items():
        users = [str(k.number) for k in facts.kernels if kernel in k.codes]
        names = ", ".join(users[:8]) + (", ..." if len(users) > 8 else "")
        made = codes[kernel]
        body.append(
            _details(f"LLVM of kernel {names}, before optimisation", made.ir, f"llvm-{number}")
        )
        body.append(_details(f"assembly of kernel {names}", made.asm()))
    if len(codes) > MAX_CODES:
        body.append(f"<p>{len(codes) - MAX_CODES} more: see f.llvm(*args) and f.asm(*args).</p>")
    return _html(facts.name, body, SCRIPT)


def _running(facts: Facts) -> str:
    """The plan, or what Python walks."""
    return "\n".join(facts.launches) or str(facts.plan)


def _cuda(facts: Facts) -> list[str]:
    """The CUDA C of a path that Python walks."""
    if not facts.launches:
        return []
    from .launches import cuda_source

    return [_details("CUDA C of all kernels", cuda_source(facts.trace))]


def eager(found: Eager) -> str:
    """The page of a call that runs eagerly."""
    rows = [
        ("why", found.reason),
        ("where", str(found.line or "?")),
        ("instead", instead_of(found.reason)),
    ]
    title = f"<h1>{escape(found.name)} runs eagerly</h1>"
    return _html(found.name, [title, _table(rows)], "")


def _html(title: str, body: Iterable[str], script: str) -> str:
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}: explained</title><style>{STYLE}</style></head><body>",
        *body,
        f"<script>{script}</script>" if script else "",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _tiles(facts: Facts) -> str:
    before, after = facts.moved
    change = 100 * (after - before) / max(before, 1)
    saved = f"{-change:.0f} % saved" if change <= 0 else f"{change:.0f} % more"
    trace = facts.trace
    times, _, untimed = spent(facts).partition("; ")
    tiles = [
        (count(facts.ops, "op"), f"in {count(facts.steps, 'kernel')}"),
        (f"{after:,} bytes moved", f"{before:,} unfused, {saved}"),
        (times, untimed or "run: one replay, the median of some"),
        (f"{trace.num_compiles} compiled", f"{trace.num_loads} found on disk"),
    ]
    inside = "".join(
        f'<div class="tile"><b>{escape(top)}</b><span class="dim">{escape(below)}</span></div>'
        for top, below in tiles
    )
    return f'<div class="tiles">{inside}</div>'


def _key() -> str:
    spans = (f'<span style="background: var(--{name})">{title}</span>' for name, title in KINDS)
    return f'<div class="key">{"".join(spans)}</div>'


def _kernels(facts: Facts) -> str:
    rows = [
        (str(number), what, f"{moved:,}", *_cells(line))
        for number, (what, line, moved) in enumerate(alike(facts.kernels), 1)
    ]
    strips = [(line,) for line in shared_rows(facts.plan)]
    title = "Steps that take turns, so that what one computes is in the cache for the next"
    table = _table(rows, ("", "what", "bytes moved", "line", ""))
    return f"<h2>Kernels</h2>{table}" + (f"<h2>{title}</h2>{_table(strips)}" if strips else "")


def _breaks(facts: Facts) -> str:
    rows = [
        (each.ops, each.reason, f"{each.times} times" if each.times > 1 else "", *_cells(each.line))
        for each in facts.breaks
    ]
    table = _table(rows, ("producer | consumer", "why", "", "line", ""))
    nothing = "<p>Nothing: every op is in a kernel with its neighbours.</p>"
    return f"<h2>Not fused</h2>{table if rows else nothing}"


def _conditions(facts: Facts) -> str:
    rows = [(each.what, *_cells(each.line)) for each in facts.conditions]
    return f"<h2>Applies when</h2>{_table(rows, ('', 'line', ''))}"


def _paths(facts: Facts) -> str:
    """The tree of recorded paths."""
    if len(facts.paths) == 1:
        return ""
    text = "\n".join(ways(facts))
    return (
        f'<h2>Paths, each below the one that it leaves</h2><pre class="card">{escape(text)}</pre>'
    )


def _rest(facts: Facts) -> list[str]:
    """What not every function has to say."""
    trace, found = facts.trace, []
    by_numpy = [
        (k.node.op.name, why_numpy(k.node), *_cells(k.line))
        for k in facts.kernels
        if k.kind == "numpy"
    ]
    if by_numpy:
        found.append(f"<h2>Run by NumPy, op by op</h2>{_table(list(dict.fromkeys(by_numpy)))}")
    if trace.by_value:
        title = "Float arguments taken by value: each new one is recorded again"
        found.append(f"<h2>{title}</h2>{_table([(line,) for line in trace.by_value])}")
    if trace.untaped:
        found.append(f"<h2>Under a tape it runs eagerly</h2><p>{escape(trace.untaped)}</p>")
    return found


def _stages(facts: Facts) -> list[str]:
    """Each stage that is not what the one before was."""
    found: list[str] = []
    last, same = "", list[str]()
    for name, graph in facts.trace.runs.stages.items():
        head, _, rest = str(graph).partition("\n")
        if rest == last:
            same.append(name)
            continue
        found.append(_details(f"{name}: {count(len(graph.nodes), 'node')}", f"{head}\n{rest}"))
        last = rest
    if same:
        found.append(f'<p class="dim">Nothing to do for {escape(", ".join(same))}.</p>')
    return found


def _details(title: str, text: str, name: str = "") -> str:
    cut = text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "\n... the rest is left out here"
    mark = f' id="{name}"' if name else ""
    return f"<details><summary>{escape(title)}</summary><pre{mark}>{escape(cut)}</pre></details>"


def _cells(line: SourceLine | None) -> tuple[str, str]:
    return (line.where, line.text) if line else ("", "")


def _table(rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> str:
    head = "".join(f'<th class="dim">{escape(text)}</th>' for text in heads)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{_class(text)}">{escape(text)}</td>' for text in row)
        + "</tr>"
        for row in rows
    )
    return f'<div class="card"><table>{f"<tr>{head}</tr>" if head else ""}{body}</table></div>'


def _class(text: str) -> str:
    return "code short" if len(text) < SHORT else "code"
