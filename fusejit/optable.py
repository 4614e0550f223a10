"""The table of ops, generated from the registry: what `python -m fusejit ops` prints."""

from __future__ import annotations

from .op import OPS, Contraction, DTypeRule, Elementwise, Op, Opaque, Source, Transfer
from .opdoc import dtypes

HEADER = ("op", "kind", "dtypes", "fusible", "differentiable", "CPU")


def rows() -> list[tuple[str, ...]]:
    """One row an op, by name; the columns are HEADER."""
    return [
        (
            op.name,
            type(op).__name__.lower(),
            _dtypes(op),
            "yes" if _on_cpu(op) == "LLVM" else "no",
            "no" if op.vjp is None else "yes",
            _on_cpu(op),
        )
        for op in sorted(OPS.values(), key=lambda op: op.name)
    ]


def markdown() -> str:
    """The table in Markdown, as the README has it."""
    lines = [HEADER, ("---",) * len(HEADER), *rows()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _dtypes(op: Op) -> str:
    rule = getattr(op, "dtype", None)
    if not isinstance(rule, DTypeRule):
        return {Opaque: "as NumPy", Source: "int64"}.get(type(op), "any")
    return dtypes(rule)


def _on_cpu(op: Op) -> str:
    """What runs the op inside a plan: generated code, BLAS, NumPy, or a copy between devices."""
    if isinstance(op, Transfer):
        return "copy"
    if isinstance(op, Opaque) or (isinstance(op, Elementwise) and op.scalar is None):
        return "NumPy"
    return "BLAS" if isinstance(op, Contraction) else "LLVM"
