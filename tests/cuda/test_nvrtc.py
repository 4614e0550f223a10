"""Every generated kernel compiles for the oldest and a recent architecture, and spills no register.

No GPU and no driver are needed. NVRTC is slow and lets one thread compile, so many kernels make one
translation unit, each in a namespace, and the units are tests that processes can share out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from fusejit.backends.cuda import nvrtc
from fusejit.backends.cuda.program import Source
from tests.cuda import suite
from tests.cuda.emulate import sources

pytest.importorskip("cuda.bindings.nvrtc", reason="NVRTC (nvidia-cuda-nvrtc) is not installed")

ARCHITECTURES = ("sm_75", "sm_90")
PARTS = 4
_KERNEL = re.compile(r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores", re.DOTALL)
_REGISTERS = re.compile(r"Used (\d+) registers")


def unit(members: Sequence[Source]) -> Source:
    """Kernels as one translation unit."""
    texts = (f"namespace unit_{source.name} {{\n{source.text}\n}}\n" for source in members)
    return Source(members[0].name, "".join(texts))


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_compiles_without_spills(architecture: str, part: int) -> None:
    members = sources(case.program for case in suite.everything())[part::PARTS]
    image, log = nvrtc.compile_one(unit(members), architecture, ["--ptxas-options=-v"])
    assert image
    spills = {name: int(count) for name, count in _KERNEL.findall(log)}
    assert spills.keys() == {source.name for source in members}
    assert not any(spills.values()), {name: count for name, count in spills.items() if count}
    assert max(map(int, _REGISTERS.findall(log))) <= 255
