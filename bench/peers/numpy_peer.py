"""NumPy, as one would write it. It has no gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, operands, program
from protocol import Call, serve


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def prepare(case: Case) -> Call | None:
    if case.mode != "forward":
        return None
    arrays = operands(case)
    function = program(case.program, sigmoid, np.tanh)
    return lambda: function(*arrays)


serve(prepare)
