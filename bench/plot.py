"""The plots of a run: how the gate expression scales, what fusing gains, and the roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from cases import Case, by_name

Times = Mapping[str, Mapping[str, float]]  # of each case: of each peer

FAMILIES = ("training steps", "gradients", "cells", "pointwise and rows")
CALL_ONLY = 1e4  # with fewer operations a call is overhead, and says nothing of the machine
DIRECTIONS = [(1, 0), (-1, 0), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7), (0, 1), (0, -1)]


def plot_all(record: Mapping[str, Any], folder: Path) -> None:
    """bench.png and roofline.png, as far as the record has their numbers."""
    sections = record["sections"]
    times = {k: v["seconds"] for k, v in sections.get("steady", {}).get("data", {}).items()}
    if times:
        plot_times(times, sections.get("pairs", {}).get("data", {}), folder / "bench.png")
    if times and record["roof"]:
        plot_roofline(times, record["roof"], folder / "roofline.png")


def plot_times(times: Times, pairs: Mapping[str, Any], path: Path) -> None:
    """Nanoseconds an element against size; fused against the best other, and against eager."""
    figure, axes = plt.subplots(1, 3, figsize=(18, 8.5), layout="constrained")
    _plot_scaling(times, axes[0])
    cases = by_name()
    found = {k: _ratio(cases[k], v) for k, v in times.items() if k in cases and "fused" in v}
    ratios = {k: ratio for k, ratio in found.items() if ratio is not None}
    targets = {k: cases[k].target for k in ratios}
    title = "Against the fastest other library; the mark is the target"
    _plot_bars(axes[1], ratios, targets, "fused / fastest other library", title)
    own = {k: v["ratio"] for k, v in pairs.items()}
    _plot_bars(axes[2], own, {}, "fused / eager", "Against eager, down to the smallest sizes")
    axes[2].set_xscale("log")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _ratio(case: Case, seconds: Mapping[str, float]) -> float | None:
    rivals = [seconds[name] for name in case.rivals if name in seconds]
    return seconds["fused"] / min(rivals) if rivals else None


def _plot_scaling(times: Times, axis: Any) -> None:
    sizes = {k: c.size[0] for k, c in by_name().items() if c.program == "gates" and k in times}
    order = sorted(sizes, key=sizes.__getitem__)
    for name in next((times[label] for label in order), {}):
        points = [(sizes[k], times[k][name] / sizes[k] * 1e9) for k in order if name in times[k]]
        axis.loglog(*zip(*points, strict=True), marker="o", label=name)
    axis.set(title="sigmoid(a * b + c) * tanh(d), float32", xlabel="elements", ylabel="ns each")
    if sizes:
        axis.legend()


def _plot_bars(
    axis: Any,
    ratios: Mapping[str, float],
    targets: Mapping[str, float | None],
    label: str,
    title: str,
) -> None:
    """Green where a ratio meets its target, or is at most 1 if it has none."""
    met = [ratio <= (targets.get(k) or 1) for k, ratio in ratios.items()]
    colors = ["tab:green" if good else "tab:red" for good in met]
    axis.barh(range(len(ratios)), list(ratios.values()), color=colors, alpha=0.7)
    axis.set_yticks(range(len(ratios)), list(ratios), fontsize=8)
    aims = [(targets[k], i) for i, k in enumerate(ratios) if targets.get(k)]
    axis.plot([x for x, _ in aims], [i for _, i in aims], "k|", markersize=14, markeredgewidth=2)
    axis.invert_yaxis()
    axis.margins(y=0.01)
    axis.axvline(1, color="black", linewidth=1)
    axis.set(title=title, xlabel=label)


def plot_roofline(times: Times, roof: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Attained operations a second against operations a byte, below what the machine can do.

    A case whose data fit into a cache may lie above the slope, which is the memory's.
    """
    timed = [case for k, case in by_name().items() if "fused" in times.get(k, {})]
    shown = [case for case in timed if case.flops > CALL_ONLY]
    figure, axis = plt.subplots(figsize=(14, 8.5), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 0.76, 1))
    _plot_roof(axis, roof, [case.flops / case.bytes for case in shown])
    points = [_plot_case(axis, case, times[str(case)]) for case in shown]
    axis.set(
        title="Roofline: fused (dots) and the fastest other library (crosses)",
        xlabel="floating operations for each byte of inputs and outputs, read or written once",
        ylabel="GFLOP/s",
    )
    axis.grid(True, which="major", alpha=0.3)
    for number, name in enumerate(FAMILIES):
        axis.plot([], [], "o", color=f"C{number}", label=name)
    axis.legend(loc="lower right")
    text = "\n".join(f"{number:2}  {case}" for number, case in enumerate(shown, 1))
    figure.text(0.77, 0.95, text, va="top", fontsize=9, family="monospace")
    figure.canvas.draw()  # fixes the scales that the numbers are placed by
    _number(axis, points)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _plot_roof(
    axis: Any, roof: Mapping[str, Mapping[str, float]], intensities: Sequence[float]
) -> None:
    left, right = min(intensities) / 2, max(intensities) * 2
    for style, (cores, rates) in zip(("-", "--"), roof.items(), strict=False):
        corner = rates["flops"] / rates["bytes"]
        x = [left, min(max(corner, left), right), right]
        y = [min(at * rates["bytes"], rates["flops"]) / 1e9 for at in x]
        text = f"{cores}: {rates['bytes'] / 1e9:.0f} GB/s, {rates['flops'] / 1e9:.0f} GFLOP/s"
        axis.loglog(x, y, f"k{style}", linewidth=1, label=text)


def _plot_case(axis: Any, case: Case, seconds: Mapping[str, float]) -> tuple[float, float]:
    """A dot, and a cross for the best rival, joined by a line. Where the dot is."""
    x = case.flops / case.bytes
    fused = case.flops / seconds["fused"] / 1e9
    color = f"C{_family(case)}"
    ratio = _ratio(case, seconds)
    if ratio is not None:
        axis.plot([x, x], [fused, fused * ratio], color=color, linewidth=0.7, alpha=0.6)
        axis.plot([x], [fused * ratio], "x", color=color, markersize=5)
    axis.plot([x], [fused], "o", color=color, markersize=6)
    return x, fused


def _family(case: Case) -> int:
    """The position in FAMILIES."""
    if case.mode in ("step", "gradient"):
        return ("step", "gradient").index(case.mode)
    return 2 if case.shape.products(*case.size) else 3


def _number(axis: Any, points: Sequence[tuple[float, float]]) -> None:
    """A number for each point, at the nearest place that no point and no other number is at."""
    at = [tuple(place) for place in axis.transData.transform(points)]
    taken = list(at)
    offsets = [(r * dx, r * dy) for r in range(12, 80, 8) for dx, dy in DIRECTIONS]
    for number, ((x, y), point) in enumerate(zip(at, points, strict=True), 1):
        free = (
            (dx, dy)
            for dx, dy in offsets
            if all(abs(x + dx - a) > 15 or abs(y + dy - b) > 10 for a, b in taken)
        )
        dx, dy = next(free, offsets[0])
        taken.append((x + dx, y + dy))
        axis.annotate(
            str(number),
            point,
            xytext=(dx, dy),
            textcoords="offset pixels",
            ha="center",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "alpha": 0.6, "shrinkA": 0},
        )
