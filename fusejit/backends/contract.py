"""Contraction: a product that is only added to something is rounded once, with the sum.

IEEE rounds both, and so do all programs unless their function asks for `fastmath`. The scalar
language has `fma`, so one rewriting serves every target.
"""

from __future__ import annotations

from collections import Counter

from ..scalar import Builder, Expr, Program, fma


def contracted(program: Program) -> Program:
    """`program` with a fused multiply-add for each float product that one sum alone reads."""
    reads = Counter(a for instr in program.instrs for a in instr.args)
    reads.update(program.results)
    builder = Builder()
    new: list[Expr] = []

    def factors(number: int) -> tuple[Expr, Expr] | None:
        """Those of a product with one reader."""
        instr = program.instrs[number]
        if instr.prim != "mul" or instr.dtype.kind != "f" or reads[number] > 1:
            return None
        a, b = instr.args
        return new[a], new[b]

    def summed(left: int, right: int, minus: bool) -> Expr | None:
        """a * b + c, or c + a * b, or a difference; None if neither side is such a product."""
        if found := factors(left):
            return fma(*found, -new[right] if minus else new[right])
        if found := factors(right):
            a, b = found
            return fma(-a if minus else a, b, new[left])
        return None

    for instr in program.instrs:
        made = None
        if instr.prim in ("add", "sub"):
            left, right = instr.args
            made = summed(left, right, instr.prim == "sub")
        args = tuple(new[a].number for a in instr.args)
        new.append(made or builder.emit(instr.prim, args, instr.dtype, instr.imm))
    return builder.finish([new[r] for r in program.results])
