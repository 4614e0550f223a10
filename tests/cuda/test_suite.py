"""What tests/cuda/test_programs.py runs in the emulator alone, through the runtime, on all devices.

So on a GPU every op of the registry is compared with the CPU: elementwise to the last bit.
"""

from __future__ import annotations

import numpy as np
import pytest

from fusejit.backends.cuda.device import Gpu
from tests.cuda import suite
from tests.cuda.emulate import sources
from tests.cuda.suite import Case

SUITES = {"ops": suite.of_ops, "strips": suite.of_strips, "products": suite.of_products}


@pytest.mark.parametrize("name", SUITES)
def test_results_are_those_of_the_cpu(device: Gpu, name: str) -> None:
    cases = SUITES[name]()
    device.functions(sources(case.program for case in cases))  # many at once
    wrong = [line for case in cases if (line := difference(device, case))]
    assert not wrong, "\n".join(wrong)


def difference(device: Gpu, case: Case) -> str:
    """What is wrong, or nothing."""
    loaded = device.load(case.program)
    results = loaded.run([device.upload(array) for array in case.inputs])
    assert isinstance(results, list)
    for result, expected in zip(results, case.expected, strict=True):
        found = result.host()
        if (found.dtype, found.shape) != (expected.dtype, expected.shape):
            return f"{case.name}: {found.dtype}{found.shape}"
        exact = case.exact or found.dtype.kind != "f"
        rtol = 0.0 if exact else 2e-5
        if not np.allclose(found, expected, rtol=rtol, atol=rtol, equal_nan=True):
            return f"{case.name}: {found} is not {expected}"
        if exact and (np.signbit(found) != np.signbit(expected))[found == 0].any():
            return f"{case.name}: zeros of another sign"
    return ""
