"""Contraction: a product that is only added to something is rounded once, with the sum.

IEEE rounds both, and so do all programs unless their function asks for `fastmath`. The scalar
language has `fma`, so one rewriting serves every target.
"""

from __future__ import annotations

from collections import Counter

from ..scalar import Instr, Program


def contracted(program: Program) -> Program:
    """`program` with a fused multiply-add for each float product that one sum alone reads."""
    reads = Counter(a for instr in program.instrs for a in instr.args)
    reads.update(program.results)
    made: list[Instr] = []
    new: list[int] = []  # numbers of the old instructions' values

    def emit(prim: str, args: tuple[int, ...], like: Instr) -> int:
        made.append(Instr(prim, args, like.dtype, like.imm))
        return len(made) - 1

    def product(number: int) -> tuple[int, ...] | None:
        """The factors of a product with one reader."""
        instr = program.instrs[number]
        alone = instr.prim == "mul" and instr.dtype.kind == "f" and reads[number] == 1
        return tuple(new[a] for a in instr.args) if alone else None

    for instr in program.instrs:
        args = tuple(new[a] for a in instr.args)
        if instr.prim in ("add", "sub"):
            left, right = instr.args
            factors, rest = product(left), args[1]
            if factors is not None:  # a * b + c, a * b - c
                rest = emit("neg", (rest,), instr) if instr.prim == "sub" else rest
            elif (factors := product(right)) is not None:  # c + a * b, c - a * b
                a, b = factors
                rest = args[0]
                factors = (emit("neg", (a,), instr), b) if instr.prim == "sub" else factors
            if factors is not None:
                new.append(emit("fma", (*factors, rest), instr))
                continue
        new.append(emit(instr.prim, args, instr))
    return _live(Program(tuple(made), tuple(new[r] for r in program.results)))


def _live(program: Program) -> Program:
    """Without the instructions that no result needs."""
    wanted = set(program.results)
    for number in range(len(program.instrs) - 1, -1, -1):
        if number in wanted:
            wanted.update(program.instrs[number].args)
    place = {number: i for i, number in enumerate(sorted(wanted))}
    instrs = (program.instrs[number] for number in place)
    return Program(
        tuple(Instr(i.prim, tuple(place[a] for a in i.args), i.dtype, i.imm) for i in instrs),
        tuple(place[r] for r in program.results),
    )
