"""The pipeline: pure functions from graph to graph, in this order, each linear in the graph."""

from __future__ import annotations

from collections.abc import Callable

from ..config import config
from ..ir.graph import Graph
from ..ir.verifier import verify
from .clean import cse, dce
from .fuse import fuse
from .regroup import regroup
from .simplify import simplify

Pass = Callable[[Graph], Graph]

PIPELINE: tuple[Pass, ...] = (simplify, cse, dce, regroup, fuse)


def stages(graph: Graph) -> dict[str, Graph]:
    """Every stage of `graph` by name, from "recorded" to the last pass."""
    found = {"recorded": _checked(graph)}
    for run in PIPELINE:
        graph = _checked(run(graph))
        found[run.__name__] = graph
    return found


def optimize(graph: Graph) -> Graph:
    """`graph` after all passes."""
    return list(stages(graph).values())[-1]


def _checked(graph: Graph) -> Graph:
    return verify(graph) if config.settings.verify else graph
