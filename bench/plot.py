"""The plot of a benchmark: how the gate expression scales, and what fusing gains in every case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt


def plot(rows: Mapping[str, Any], path: Path) -> None:
    """Write a PNG: nanoseconds an element against size, and eager over fused for each case."""
    figure, (scaling, gains) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    sizes = {label: float(label.split()[-1]) for label in rows if label.startswith("gates ")}
    for name in next((rows[label] for label in sizes), {}):
        times = [rows[label][name]["call"] / n * 1e9 for label, n in sizes.items()]
        scaling.loglog(list(sizes.values()), times, marker="o", label=name)
    scaling.set(title="sigmoid(a * b + c) * tanh(d), float32", xlabel="elements", ylabel="ns each")
    if sizes:
        scaling.legend()
    labels = [
        label
        for label, row in rows.items()
        if "fused" in row and "eager" in row and not label.startswith("first")
    ]
    ratios = [rows[label]["eager"]["call"] / rows[label]["fused"]["call"] for label in labels]
    gains.barh(labels[::-1], ratios[::-1])
    gains.axvline(1, color="black", linewidth=1)
    gains.set(title="How many times faster fused is than eager", xlabel="eager time / fused time")
    figure.savefig(path, dpi=120)
