"""Every generated kernel compiles for the oldest and a recent architecture, and spills no register.

No GPU and no driver are needed. NVRTC is slow and lets one thread compile, so many kernels make one
translation unit, each in a namespace, and the units are tests that processes can share out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from fusejit.backends.cuda import nvrtc
from fusejit.backends.cuda.lowering import program_of
from fusejit.backends.cuda.program import Source
from fusejit.frozen import replace
from tests.cuda import suite
from tests.cuda.emulate import sources

pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC (nvidia-cuda-nvrtc) is not installed")

ARCHITECTURES = ("sm_75", "sm_90")
PARTS = 4
_KERNEL = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill", re.DOTALL
)
_REGISTERS = re.compile(r"Used (\d+) registers")


def unit(members: Sequence[Source]) -> Source:
    """Kernels as one translation unit."""
    texts = (f"namespace unit_{source.name} {{\n{source.text}\n}}\n" for source in members)
    return Source(members[0].name, "".join(texts))


def _ptx(source: Source) -> str:
    """What NVRTC makes of a source before it is machine code."""
    from cuda.bindings import nvrtc as bindings

    options = [o.encode() for o in ("--gpu-architecture=compute_90", *nvrtc._options(source))]
    _, program = bindings.nvrtcCreateProgram(source.text.encode(), b"kernel.cu", 0, [], [])
    (status,) = bindings.nvrtcCompileProgram(program, len(options), options)
    assert not status
    _, size = bindings.nvrtcGetPTXSize(program)
    text = bytearray(size)
    bindings.nvrtcGetPTX(program, text)
    bindings.nvrtcDestroyProgram(program)
    return text.decode()


def test_fastmath_is_opt_in() -> None:
    """A product and a sum become one instruction only if that is asked for."""
    x = np.ones(1000, "f")
    graph, _ = suite.graph_of(lambda x, y: x * y + 1.5, x, x)
    texts = []
    for fastmath in (False, True):
        program = program_of(replace(graph, fastmath=fastmath), suite.LIMITS, blas=False)
        (source,) = sources([program])
        assert source.fastmath is fastmath
        texts.append(_ptx(source))
    assert "fma.rn" not in texts[0]
    assert "fma.rn.ftz.f32" in texts[1]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles_and_keeps_its_values_in_registers(
    architecture: str, part: int
) -> None:
    members = sources(case.program for case in suite.everything())[part::PARTS]
    image, log = nvrtc.compile_one(unit(members), architecture, ["--ptxas-options=-v"])
    assert image
    found = {name: (int(frame), int(spilled)) for name, frame, spilled in _KERNEL.findall(log)}
    assert found.keys() == {source.name for source in members}
    assert not (bad := {name: sizes for name, sizes in found.items() if any(sizes)}), bad
    assert max(map(int, _REGISTERS.findall(log))) <= 255
