"""A plan as straight code: what calls the kernels, as LLVM IR.

    void NAME(inputs..., outputs..., workspace)

Each step stores the addresses of its operands and calls its kernel; the steps of a strip that takes
turns do so in a loop. Temporaries and scratch lie in the workspace, constants in the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..backends.base import Kernel, Loop, Reduce
from ..backends.plan import PANEL_BYTES, Matmul, MatmulForm, Operand, Pack, Plan, Role, Step, Strip
from ..frozen import frozen
from ..op import Array
from ..scalar import DType

ALIGNED = 64  # bytes: a cache line, as of the arena


@frozen(eq=False)
class Copy:
    """A result that the plan does not compute: from the slot of an input or of another output, or
    a constant."""

    source: int | Array
    output: int  # which parameter it goes to
    bytes: int


@dataclass(eq=False)
class Driver:
    """Writes the driver of one plan.

    Attributes:
        kernels: the name of each kernel that the plan uses.
        products: the entries of the matrix product that it uses, by dtype.
        workspace: bytes that a call needs.
    """

    name: str
    plan: Plan
    outputs: Mapping[int, int]  # slot -> parameter
    copies: Sequence[Copy]
    kernels: dict[Kernel, str] = field(default_factory=dict)
    products: dict[DType, set[str]] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)
    _globals: list[str] = field(default_factory=list)
    _counters: list[str] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.scratch = _up(self.plan.arena)
        self.panels = _up(self.scratch + self.plan.scratch)
        self.workspace = _up(self.panels + max(map(_panel_bytes, self.plan.steps), default=0))

    def text(self) -> str:
        """The driver, its constants and the products of stacks."""
        strips = self.plan.strips or [Strip(n, n + 1) for n in range(len(self.plan.steps))]
        for strip in strips:
            self._strip(strip)
        for copy in self.copies:
            source, size, to = self._source(copy), copy.bytes, f"%out{copy.output}"
            self._do(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 0)")
        given = [f"ptr %in{i}" for i in range(len(self.plan.inputs))]
        given += [f"ptr %out{i}" for i in range(len({*self.outputs.values()}) + len(self.copies))]
        slots = max((len(step.operands) for step in self.plan.steps), default=0)
        head = [
            f"define void @{self.name}({', '.join([*given, 'ptr %workspace'])}) #0 {{",
            "entry:",
        ]
        head.append(f"  %operands = alloca [{max(slots, 3)} x ptr], align 16")
        head += [
            f"  %operand{i} = getelementptr ptr, ptr %operands, i64 {i}"
            for i in range(max(slots, 3))
        ]
        constants = [
            f"@{self.name}.constant{number} = internal constant {_bytes(slot.value.tobytes())}"
            for number, slot in enumerate(self.plan.slots)
            if slot.value is not None
        ]
        return "\n".join(
            [
                *constants,
                *self._globals,
                *head,
                *self._counters,
                *self._lines,
                "  ret void",
                "}",
                "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
                "declare i64 @llvm.smin.i64(i64, i64)",
                "attributes #0 = { nounwind }",
                "",
            ]
        )

    def _source(self, copy: Copy) -> str:
        if isinstance(copy.source, int):
            return self._base(copy.source)
        name = f"@{self.name}.result{copy.output}"
        self._globals.append(f"{name} = internal constant {_bytes(copy.source.tobytes())}")
        return name

    def _counter(self, start: str) -> str:
        """The place of a number that a loop changes."""
        self._count += 1
        self._counters.append(f"  %counter{self._count} = alloca i64")
        self._do(f"store i64 {start}, ptr %counter{self._count}")
        return f"%counter{self._count}"

    def _do(self, line: str) -> None:
        self._lines.append(f"  {line}")

    def _let(self, value: str) -> str:
        self._count += 1
        self._do(f"%v{self._count} = {value}")
        return f"%v{self._count}"

    def _strip(self, strip: Strip) -> None:
        steps = self.plan.steps[strip.first : strip.end]
        if strip.grain == strip.rows:
            for step in steps:
                self._step(step, "0", "0", str(step.count))
            return
        self._count += 1
        label = f"strip{self._count}"
        place = self._counter("0")
        self._do(f"br label %{label}")
        self._lines.append(f"{label}:")
        begin = self._let(f"load i64, ptr {place}")
        far = self._let(f"add i64 {begin}, {strip.grain}")
        end = self._let(f"call i64 @llvm.smin.i64(i64 {far}, i64 {strip.rows})")
        for step in steps:
            row = step.count // strip.rows
            first, last = (self._let(f"mul i64 {at}, {row}") for at in (begin, end))
            self._step(step, begin, first, last)
        self._do(f"store i64 {end}, ptr {place}")
        more = self._let(f"icmp slt i64 {end}, {strip.rows}")
        self._do(f"br i1 {more}, label %{label}, label %{label}.done")
        self._lines.append(f"{label}.done:")

    def _step(self, step: Step, row: str, begin: str, end: str) -> None:
        """Call a kernel for [begin, end); the turn begins at `row` of its strip."""
        if step.count == 0 or (isinstance(step.code, Loop) and 0 in step.meta[: step.code.rank]):
            return
        if step.where:
            self._lines.append(f"  ; {step.where}")
        places = [self._address(operand, row) for operand in step.operands]
        if isinstance(step.code, Matmul) and step.code.form is MatmulForm.BLAS:
            self._stack(step, step.code.dtype, places, begin, end)
            return
        self._call(self._code(step), places, step.meta, begin, end)

    def _call(
        self, code: str, places: Sequence[str], meta: Sequence[int], begin: str, end: str
    ) -> None:
        for i, place in enumerate(places):
            self._do(f"store ptr {place}, ptr %operand{i}")
        numbers = self._meta(meta)
        self._let(f"call i64 @{code}(ptr %operands, ptr {numbers}, i64 {begin}, i64 {end})")

    def _code(self, step: Step) -> str:
        code = step.code
        if isinstance(code, Loop | Reduce):
            return self.kernels.setdefault(code, f"{self.name}.kernel{len(self.kernels)}")
        assert isinstance(code, Matmul | Pack)
        return self._product(code.dtype, "pack" if isinstance(code, Pack) else code.form.value)

    def _product(self, dtype: DType, entry: str) -> str:
        self.products.setdefault(dtype, set()).add(entry)
        return product_name(self.name, dtype, entry)

    def _stack(self, step: Step, dtype: DType, places: Sequence[str], begin: str, end: str) -> None:
        """A stack of products one by one, [begin, end) of it; B is packed if that is no row-major
        matrix. Where fusejit runs itself BLAS does this."""
        a, b, c = places
        strides, (_, m, n, k) = step.meta[4:], step.meta[:4]
        self._count += 1
        label, place = f"stack{self._count}", self._counter(begin)
        self._do(f"br label %{label}")
        self._lines.append(f"{label}:")
        index = self._let(f"load i64, ptr {place}")
        here = []
        for base, far in zip((a, b, c), strides[::3], strict=True):
            bytes_far = self._let(f"mul i64 {index}, {far * dtype.itemsize}")
            here.append(self._let(f"getelementptr i8, ptr {base}, i64 {bytes_far}"))
        if strides[5] != 1:
            panels = self._let(f"getelementptr i8, ptr %workspace, i64 {self.panels}")
            count = -(-n * dtype.itemsize // PANEL_BYTES)
            meta = (k, n, *strides[4:6])
            self._call(self._product(dtype, "pack"), [here[1], panels], meta, "0", str(count))
            here[1] = panels
        form = "packed" if strides[5] != 1 else "plain"
        meta = (1, m, n, k, 0, *strides[1:3], 0, *strides[4:6], 0, *strides[7:9])
        self._call(self._product(dtype, form), here, meta, "0", str(m))
        after = self._let(f"add i64 {index}, 1")
        self._do(f"store i64 {after}, ptr {place}")
        more = self._let(f"icmp slt i64 {after}, {end}")
        self._do(f"br i1 {more}, label %{label}, label %{label}.done")
        self._lines.append(f"{label}.done:")

    def _address(self, operand: Operand, row: str) -> str:
        if operand.slot < 0:  # an index: the offset is the first value
            return f"inttoptr (i64 {operand.offset} to ptr)"
        slot = self.plan.slots[operand.slot]
        base, offset = self._base(operand.slot), operand.offset
        if slot.role is Role.TEMPORARY:
            offset += slot.offset
        if slot.role is not Role.SCRATCH:
            return self._let(f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base
        skipped = self._let(f"mul i64 {row}, {slot.pitch}")
        there = self._let(f"sub i64 {self.scratch + slot.offset + offset}, {skipped}")
        return self._let(f"getelementptr i8, ptr {base}, i64 {there}")

    def _base(self, number: int) -> str:
        role = self.plan.slots[number].role
        if role is Role.INPUT:
            return f"%in{self.plan.inputs.index(number)}"
        if role is Role.OUTPUT:
            return f"%out{self.outputs[number]}"
        return f"@{self.name}.constant{number}" if role is Role.CONSTANT else "%workspace"

    def _meta(self, numbers: Sequence[int]) -> str:
        name = f"@{self.name}.meta{len(self._globals)}"
        listed = ", ".join(f"i64 {n}" for n in numbers)
        body = f"[{len(numbers)} x i64] [{listed}]" if numbers else "i64 0"
        self._globals.append(f"{name} = internal constant {body}")
        return name


def product_name(name: str, dtype: DType, entry: str) -> str:
    """What an entry of the matrix product is called in the object."""
    return f"{name}.{dtype.name}.{entry}"


def _panel_bytes(step: Step) -> int:
    """What packing takes in a stack of products whose B is not row-major."""
    code = step.code
    if not isinstance(code, Matmul) or code.form is not MatmulForm.BLAS or step.meta[9] == 1:
        return 0
    _, _, n, k = step.meta[:4]
    return -(-n * code.dtype.itemsize // PANEL_BYTES) * PANEL_BYTES * k


def _up(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def _bytes(data: bytes) -> str:
    """Bytes as a constant of IR."""
    text = "\\" + data.hex("\\") if data else ""
    return f'[{len(data)} x i8] c"{text}", align {ALIGNED}'
