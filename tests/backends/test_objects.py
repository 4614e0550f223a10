"""The object cache: what is kept, what is refused, and what many processes do to it at once."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.__main__ import main
from fusejit.backends import objects
from fusejit.backends.base import Access, Loop, Walk
from fusejit.backends.llvm import codegen, jit, target
from fusejit.config import config
from fusejit.scalar import F32, trace
from tests.backends.native import call

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid"), reason="objects are kept only where files have owners"
)

NAME = objects.key("a")
IMAGE = b"machine code" * 100


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """An empty cache, which does not exist until something is stored."""
    path = tmp_path / "cache"
    objects._say.cache_clear()
    with config.override(cache_dir=str(path)):
        yield path


def test_what_is_stored_is_found(cache: Path) -> None:
    assert objects.load(NAME) is None and not cache.exists()
    objects.store(NAME, IMAGE)
    assert objects.load(NAME) == IMAGE
    assert objects.load(objects.key("b")) is None
    assert [path.name for path in cache.iterdir()] == [NAME]
    assert cache.stat().st_mode & 0o777 == 0o700
    assert (cache / NAME).stat().st_mode & 0o777 == 0o600


def test_keys_tell_parts_apart() -> None:
    assert len({objects.key(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",))}) == 3


@pytest.mark.parametrize("position", [0, 20, 100, -1])
def test_a_changed_byte_is_a_miss(cache: Path, position: int) -> None:
    objects.store(NAME, IMAGE)
    content = bytearray((cache / NAME).read_bytes())
    content[position] ^= 1
    (cache / NAME).write_bytes(content)
    assert objects.load(NAME) is None
    objects.store(NAME, IMAGE)
    assert objects.load(NAME) == IMAGE


@pytest.mark.parametrize("size", [0, 1, 30, 60, -1])
def test_a_truncated_file_is_a_miss(cache: Path, size: int) -> None:
    objects.store(NAME, IMAGE)
    (cache / NAME).write_bytes((cache / NAME).read_bytes()[:size])
    assert objects.load(NAME) is None


def test_an_object_under_another_name_is_a_miss(cache: Path) -> None:
    objects.store(NAME, IMAGE)
    other = objects.key("b")
    (cache / NAME).rename(cache / other)
    assert objects.load(other) is None


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_a_miss(cache: Path, mode: int) -> None:
    objects.store(NAME, IMAGE)
    (cache / NAME).chmod(mode)
    assert objects.load(NAME) is None


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_directory_that_others_can_write_is_not_used(cache: Path, mode: int) -> None:
    objects.store(NAME, IMAGE)
    cache.chmod(mode)
    assert objects.load(NAME) is None
    objects.store(objects.key("b"), IMAGE)
    assert len(list(cache.iterdir())) == 1


def test_a_file_of_another_user_is_a_miss(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects.store(NAME, IMAGE)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert objects.load(NAME) is None


def test_links_pipes_and_folders_are_misses(cache: Path, tmp_path: Path) -> None:
    objects.store(NAME, IMAGE)
    elsewhere = tmp_path / "elsewhere"
    (cache / NAME).rename(elsewhere)
    (cache / NAME).symlink_to(elsewhere)
    pipe, folder = objects.key("pipe"), objects.key("folder")
    os.mkfifo(cache / pipe)
    (cache / folder).mkdir()
    for name in (NAME, pipe, folder):
        assert objects.load(name) is None
    (tmp_path / "link").symlink_to(cache)
    (cache / NAME).unlink()
    elsewhere.rename(cache / NAME)
    assert objects.load(NAME) == IMAGE
    with config.override(cache_dir=str(tmp_path / "link")):
        assert objects.load(NAME) is None


def test_a_link_in_the_way_of_a_write_is_replaced(cache: Path, tmp_path: Path) -> None:
    objects.store(objects.key("b"), IMAGE)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (cache / NAME).symlink_to(victim)
    objects.store(NAME, IMAGE)
    assert victim.read_text() == "mine" and objects.load(NAME) == IMAGE


def test_a_full_disk_costs_nothing_but_the_object(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with caplog.at_level(logging.INFO, logger="fusejit"):
        objects.store(NAME, IMAGE)
        objects.store(NAME, IMAGE)
    assert len(caplog.records) == 1 and "No space left" in caplog.text, "said once"
    assert list(cache.iterdir()) == [] and objects.load(NAME) is None


@pytest.mark.parametrize("place", ["/proc/fusejit", "/dev/null/fusejit"])
def test_a_place_that_cannot_be_written_is_no_cache(
    place: str, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with config.override(cache_dir=place):
        objects.store(NAME, IMAGE)
        assert objects.load(NAME) is None and objects.clear() == 0
        assert objects.usage() == objects.Usage(place)
    assert capfd.readouterr() == ("", "")
    objects._say.cache_clear()
    with config.override(cache_dir=place, log="recompiles"):
        objects.store(NAME, IMAGE)
    assert "fusejit: the object cache is not written" in capfd.readouterr().err


def test_an_empty_setting_is_no_cache(capfd: pytest.CaptureFixture[str]) -> None:
    with config.override(cache_dir="", log="recompiles"):
        objects.store(NAME, IMAGE)
        assert objects.load(NAME) is None
    assert capfd.readouterr() == ("", "")


def test_pruning_removes_the_least_recently_used(cache: Path) -> None:
    names = [objects.key(str(number)) for number in range(8)]
    for age, name in enumerate(names):
        objects.store(name, IMAGE)
        os.utime(cache / name, (time.time() - 3600 * age, time.time() - 3600 * age))
    assert objects.load(names[7]) == IMAGE, "this counts as using it"
    size = (cache / names[0]).stat().st_size
    with objects._directory() as directory:
        objects._prune(directory, 8 * size)
        assert len(list(cache.iterdir())) == 8, "within the limit"
        objects._prune(directory, 8 * size - 1)
    assert {path.name for path in cache.iterdir()} == {*names[:4], names[7]}


def test_one_write_in_many_prunes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "LIMIT", 20 * len(IMAGE))
    for number in range(400):
        objects.store(objects.key(str(number)), IMAGE)
    assert len(list(cache.iterdir())) < 400


def test_what_a_dead_process_left_is_removed(cache: Path) -> None:
    objects.store(NAME, IMAGE)
    for name, age in ((".new-dead", 7200), (".new-alive", 0)):
        (cache / name).write_bytes(b"half")
        os.utime(cache / name, (time.time() - age, time.time() - age))
    (cache / "notes.txt").write_text("not ours")
    with objects._directory() as directory:
        objects._prune(directory, objects.LIMIT)
    assert {path.name for path in cache.iterdir()} == {NAME, ".new-alive", "notes.txt"}
    assert objects.clear() == 2
    assert [path.name for path in cache.iterdir()] == ["notes.txt"]


def test_the_command_line(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects.store(NAME, IMAGE)
    main(["cache", "info"])
    main(["cache", "clear"])
    assert objects.usage() == objects.Usage(str(cache))
    with config.override(cache_dir=""):
        main(["cache", "info"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{cache}: 1 objects, 0.0 MiB of at most 256")
    assert lines[1] == f"{cache}: removed 1 objects"
    assert lines[2].startswith("no cache")


# ---- code


def _scaled(factor: float) -> Loop:
    access = Access(F32, Walk.UNIT)
    return Loop(1, (access,), (access,), trace(lambda x: x * factor, [F32]))


def _run(kernel: Loop) -> float:
    out = np.zeros(5, np.float32)
    call(kernel, [np.ones(5, np.float32), out], [5, 1, 1], 0, 5)
    return float(out[4])


@pytest.mark.usefixtures("quiet")
def test_a_kernel_is_compiled_once_and_then_found(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jit.clear()
    assert _run(_scaled(2.5)) == 2.5
    assert jit.statistics().num_compiles == 1 and jit.statistics().num_loads == 0
    jit.clear()
    monkeypatch.setattr(codegen, "_parse", None)  # what is found is not even parsed
    assert _run(_scaled(2.5)) == 2.5
    assert jit.statistics().num_compiles == 0 and jit.statistics().num_loads == 1
    jit.clear()


def test_other_machines_and_compilers_have_other_objects(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ir = "define i64 @kernel() {\n ret i64 1\n}"
    host = target.host()
    lesser = target.make("x86-64" if host.is_x86 else "generic", "", host.triple)
    for way in (codegen.compile_text, codegen.compile_module):
        for chosen in (host, lesser):
            assert not way(ir, chosen, "test").from_disk
            assert way(ir, chosen, "test").from_disk
    monkeypatch.setattr(codegen, "version", lambda: "another LLVM")
    assert not codegen.compile_text(ir, host, "test").from_disk


def test_hand_written_modules_bind_addresses_when_they_are_loaded(cache: Path) -> None:
    ir = """
        @cell = external global i64
        define i64 @get() {
          %value = load i64, ptr @cell
          ret i64 %value
        }
    """
    for value in (3, 4):
        place = np.array([value], np.int64)
        address = jit.link(ir, ["get"], {"cell": place.ctypes.data})["get"]
        assert ctypes.CFUNCTYPE(ctypes.c_int64)(address)() == value
    assert objects.usage().files == 1


_PROGRAM = """
import sys, numpy as np, fusejit as fj
from fusejit.backends import ready
from fusejit.backends.llvm import jit
f = fj.function(lambda x, w: fj.tanh(x @ w) * 2.0)
x = fj.ones((4, 4))
first, again = f(x, x), f(x, x)
assert (first.numpy() == again.numpy()).all()
ready._finish()
info = fj.cache_info()
print(first.numpy().tobytes().hex(), info.num_compiles, info.num_loads, info.kernels)
"""


def _start(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "FUSEJIT_CACHE_DIR": str(cache)}
    command = [sys.executable, "-W", "error", "-c", _PROGRAM]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_sixteen_processes_start_on_an_empty_cache(cache: Path) -> None:
    started = [_start(cache) for _ in range(16)]
    answers = [process.communicate()[0].split() for process in started]
    assert [process.returncode for process in started] == [0] * 16
    assert len({answer[0] for answer in answers}) == 1
    with config.override(cache_dir=str(cache)):
        usage = objects.usage()
        assert usage.files > 0 and not list(cache.glob(".new-*"))
    bits, compiles, loads, kernels = _start(cache).communicate()[0].split()
    assert bits == answers[0][0]
    assert (int(compiles), int(loads)) == (0, int(kernels)) and int(kernels) > 0
    assert objects.usage() == usage


@pytest.mark.usefixtures("quiet")
def test_cache_info_counts_recordings_and_kernels(cache: Path) -> None:
    fj.clear_caches()
    jit.clear()
    f = fj.function(lambda x: x * 3.25 + 1.0)
    f(fj.ones(3))
    info = fj.cache_info()
    assert (info.traces, info.num_compiles, info.num_loads) == (1, 1, 0)
    assert info.kernels == 1 and info.path == str(cache) and info.files >= 1
    assert "1 kernel compiled for it, 0 found on disk" in f.explain(fj.ones(3))
    fj.clear_caches()
    assert fj.cache_info().traces == 0 and fj.cache_info().kernels == 1
    jit.clear()
    f(fj.ones(3))
    assert f.num_compiles == 1, "the second time it was found"
    assert "0 kernels compiled for it, 1 found on disk" in f.explain(fj.ones(3))
