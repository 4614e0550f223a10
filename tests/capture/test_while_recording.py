"""What a recording must leave as it is: the user's profiler, and the life of temporaries."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

import fusejit as fj
from fusejit import dispatch
from fusejit.capture.recorder import Recorder
from tests.capture.helpers import X, same


def test_a_users_profiler_keeps_its_events_and_its_place() -> None:
    import sys

    @fj.function
    def f(x: Any) -> Any:
        return x * 2.0

    @fj.function
    def fails(x: Any) -> Any:
        raise KeyError("of the body")

    seen: list[str] = []

    def profiler(frame: Any, event: str, arg: Any) -> None:
        if event == "call":
            seen.append(frame.f_code.co_name)

    sys.setprofile(profiler)
    try:
        f(X)
        with pytest.raises(KeyError):
            fails(X)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert "f" in seen and "fails" in seen
    with pytest.raises(KeyError):
        fails(X)
    assert sys.getprofile() is None


def test_cprofile_goes_on() -> None:
    import cProfile
    import pstats

    def marker() -> None:
        pass

    f = fj.function(lambda x: x * 2.0)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(3):
        assert same(f(X), X * 2.0)
    marker()
    profiler.disable()
    assert f.num_traces == 1
    names = [name for _, _, name in pstats.Stats(profiler).stats]  # type: ignore[attr-defined]
    assert "marker" in names


def test_a_recording_keeps_no_temporaries() -> None:
    recorder = Recorder("f")
    recorder.declare(X, "x")

    def body() -> Any:
        temporary = X * 2.0
        return weakref.ref(temporary), temporary + 1.0

    gone, result = dispatch.under(recorder, body)
    assert gone() is None
    assert recorder.value_of(result) is not None
