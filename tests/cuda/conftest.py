"""Each test of a GPU runs on all kinds of them, see tests/cuda/devices.py: on a `device`, or with
`gpus`, by what users call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fusejit.backends.cuda.device as module
from fusejit.backends.cuda.device import Gpu
from fusejit.config import config
from tests.cuda import devices


@pytest.fixture(params=devices.KINDS)
def device(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    made = devices.make(request.param)
    yield made
    if request.param == "fake":
        devices.fake_library().fake_mend()  # or it stays broken, as a real context does
    made.close()


@pytest.fixture(params=devices.KINDS)
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The kind of what fj.device("gpu") is meanwhile."""
    kind: str = request.param
    devices.require(kind)
    monkeypatch.setattr(module, "_driver", lambda setting, ordinal: devices.driver(kind, ordinal))
    monkeypatch.setattr(module, "_gpus", {})
    with config.override(gpu="" if kind == "gpu" else "emulated"):
        yield kind
    for made in module._gpus.values():
        made.close()
