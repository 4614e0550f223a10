"""`device`: each test of a GPU runs on all kinds of them, see tests/cuda/devices.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fusejit.backends.cuda.device import Gpu
from tests.cuda import devices


@pytest.fixture(params=devices.KINDS)
def device(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    made = devices.make(request.param)
    yield made
    if request.param == "fake":
        devices.fake_library().fake_mend()  # or it stays broken, as a real context does
    made.close()
