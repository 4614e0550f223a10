"""The table that `network.summary()` returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..frozen import frozen
from ..variable import Variable

if TYPE_CHECKING:
    from .layer import Layer


@frozen
class Row:
    """What a line says; numbers as texts."""

    path: str
    kind: str
    output: str
    parameters: str
    dtype: str


@frozen
class Summary:
    """The rows of a summary; its text is a table.

    `parameters` counts all numbers in variables, each variable once, and `trainable` those that
    training changes.
    """

    rows: tuple[Row, ...]
    parameters: int
    trainable: int

    def __str__(self) -> str:
        table = [("layer", "", "output", "parameters", "dtype")]
        table += [(r.path, r.kind, r.output, r.parameters, r.dtype) for r in self.rows]
        widths = [max(len(line[column]) for line in table) for column in range(5)]
        text = [_line(line, widths) for line in table]
        frozen_count = self.parameters - self.trainable
        total = f"{self.parameters:,} parameters"
        if frozen_count:
            total += f", {frozen_count:,} of them not trainable"
        return "\n".join([*text, total])

    def __repr__(self) -> str:
        return str(self)


def summarize(network: Layer) -> Summary:
    """A row for each layer inside `network` that has been met, and one for itself."""
    layers = {**network.named_layers(), "": network}
    seen: dict[Variable, None] = {}
    rows = []
    for path, layer in layers.items():
        own = [item for _, item in layer._own() if isinstance(item, Variable) and item not in seen]
        seen.update(dict.fromkeys(own))
        rows.append(_row(path, layer, own))
    return Summary(
        tuple(rows),
        sum(variable.size for variable in seen),
        sum(variable.size for variable in seen if variable.trainable),
    )


def _row(path: str, layer: Layer, own: Sequence[Variable]) -> Row:
    return Row(
        path or "(whole)",
        type(layer).__name__,
        " ".join(layer._outputs) or "not called yet",
        f"{sum(variable.size for variable in own):,}" if own else "",
        " ".join(dict.fromkeys(variable.dtype.name for variable in own)),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    left[3] = cells[3].rjust(widths[3])
    return "  ".join(left).rstrip()
