"""The table of ops, generated from the registry: what `python -m fusejit ops` prints."""

from __future__ import annotations

from .op import OPS, Contraction, DTypeRule, Elementwise, Op, Opaque, Source

HEADER = ("op", "kind", "dtypes", "fusible", "differentiable", "CPU")
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}


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
    if rule.operand is not None:
        return f"any, as {rule.operand.name}"
    taken = ", ".join(_KINDS[kind] for kind in rule.kinds)
    taken = "any" if rule.kinds == DTypeRule().kinds else taken
    return f"{taken}; int as float64" if rule.floating else taken


def _on_cpu(op: Op) -> str:
    """What runs the op inside a plan: generated code, BLAS, or NumPy."""
    if isinstance(op, Opaque) or (isinstance(op, Elementwise) and op.scalar is None):
        return "NumPy"
    return "BLAS" if isinstance(op, Contraction) else "LLVM"
