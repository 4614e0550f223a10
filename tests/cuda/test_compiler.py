"""NVRTC: what compiles, what is kept on disk, and who compiles many."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusejit.backends.cuda import nvrtc
from fusejit.backends.cuda.program import Source
from fusejit.config import config
from fusejit.errors import DeviceError, LoweringError
from tests.cuda.programs import ADD, TWICE, kernel

needs_nvrtc = pytest.mark.skipif(not nvrtc._has_nvrtc(), reason="cuda-bindings is not installed")


@needs_nvrtc
@pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
def test_an_image_is_machine_code(architecture: str) -> None:
    image, said = nvrtc.compile_one(ADD, architecture, ("--ptxas-options=-v",))
    assert image.startswith(b"\x7fELF") and b"add_two" in image
    assert "0 bytes spill stores" in said


@needs_nvrtc
def test_what_does_not_compile_says_where() -> None:
    with pytest.raises(LoweringError, match=r"wrong: the kernel does not compile: wrong\.cu\(1\)"):
        nvrtc.compile_one(Source("wrong", "int f( {"), "sm_90")


@needs_nvrtc
def test_images_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with config.override(cache_dir=str(tmp_path)):
        made = nvrtc.images([ADD, TWICE], "sm_90")
        monkeypatch.setattr(nvrtc, "compile_one", None)
        assert nvrtc.images([TWICE, ADD, TWICE], "sm_90") == [made[1], made[0], made[1]]
    assert len(list(tmp_path.iterdir())) == 2


@needs_nvrtc
def test_the_key_holds_the_architecture_and_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    before = nvrtc._key(ADD, "sm_90")
    assert before != nvrtc._key(ADD, "sm_75")
    assert before == nvrtc._key(Source(ADD.name, ADD.text), "sm_90")
    monkeypatch.setattr(nvrtc, "version", lambda: "another")
    assert before != nvrtc._key(ADD, "sm_90")


@needs_nvrtc
def test_processes_share_many_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "_A_PROCESS", 2)
    monkeypatch.setattr(nvrtc, "_LEAST", 2)
    monkeypatch.setattr(nvrtc.os, "sched_getaffinity", lambda pid: {0, 1})
    sources = [kernel(f"plus_{i}", f"p.a[i] / {i + 2}.0f * p.b[i]") for i in range(5)]
    sources[3] = Source(sources[3].name, sources[3].text, fastmath=True)
    alone = [nvrtc.compile_one(source, "sm_90")[0] for source in sources]
    assert nvrtc.compile_all(sources, "sm_90") == alone
    with pytest.raises(LoweringError, match="does not compile"):
        nvrtc.compile_all([*sources, Source("wrong", "int f( {")], "sm_90")


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "_has_nvrtc", lambda: False)
    monkeypatch.setattr(nvrtc.shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match=r"pip install 'fusejit\[cuda\]'"):
        nvrtc.compile_one(ADD, "sm_90")


def test_nvcc_serves_where_there_is_no_nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    if nvrtc.shutil.which("nvcc") is None:
        pytest.skip("there is no nvcc")
    monkeypatch.setattr(nvrtc, "_has_nvrtc", lambda: False)
    assert nvrtc.compile_one(ADD, "sm_90")[0].startswith(b"\x7fELF")
    with pytest.raises(LoweringError, match="wrong: the kernel does not compile"):
        nvrtc.compile_one(Source("wrong", "int f( {"), "sm_90")
