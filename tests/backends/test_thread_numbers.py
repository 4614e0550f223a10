"""How many threads: settings, and what the machine lets a process use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import fusejit as fj
from fusejit.backends.llvm import threads
from fusejit.config import MOST_THREADS, Config, Settings, from_environment
from fusejit.errors import FuseJitError
from tests.backends.pool import pool

pytestmark = pytest.mark.usefixtures("four_threads")


def test_set_num_threads() -> None:
    fj.set_num_threads(3)
    assert fj.get_num_threads() == fj.config.num_threads == 3
    for number in (1, 6, 2, MOST_THREADS, 1):
        fj.set_num_threads(number)
        assert pool().limit.value == number
        pool().run(200, 1, 300)


@pytest.mark.parametrize("number", [0, -1, 2.0, True, "2", None, MOST_THREADS + 1])
def test_a_number_of_threads_that_is_none(number: Any) -> None:
    with pytest.raises(ValueError, match=r"set_num_threads: expected an int from 1 to 256, got "):
        fj.set_num_threads(number)
    assert fj.get_num_threads() == 4


def test_the_environment() -> None:
    assert from_environment({"FUSEJIT_NUM_THREADS": "3"}).num_threads == 3
    assert from_environment({"FUSEJIT_NUM_THREADS": "0"}) == Settings()
    for text in ("two", "-1", "1.5", ""):
        with pytest.raises(FuseJitError, match="FUSEJIT_NUM_THREADS: expected a number, got"):
            from_environment({"FUSEJIT_NUM_THREADS": text})
    with pytest.raises(FuseJitError, match="num_threads: expected 0 to 256, got 1000"):
        from_environment({"FUSEJIT_NUM_THREADS": "1000"})


def test_plans_outlive_a_change_of_the_number() -> None:
    config = Config(Settings())
    heard: list[str] = []
    config.on_change(lambda: heard.append("plans"))
    config.on_change(lambda: heard.append("threads"), "num_threads")
    config.num_threads = 2
    config.num_threads = 2
    assert heard == ["threads"]
    config.verify = True
    assert heard == ["threads", "plans"]


def test_the_default_is_what_the_process_may_use() -> None:
    with fj.config.override(num_threads=0):
        assert fj.get_num_threads() == min(threads.usable_cpus(), MOST_THREADS)
    assert 1 <= threads.usable_cpus() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    "groups, files, expected",
    [
        ("0::/a/b", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "400000 100000"}, [1.5, 4]),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "cpu.max": "200000 100000"}, [2]),
        ("0::/gone/too", {"cpu.max": "50000 100000"}, [0.5]),
        (
            "3:cpu,cpuacct:/a",
            {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"},
            [3],
        ),
        ("3:cpu:/a", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, []),
        ("1:memory:/a\n0::/", {}, []),
    ],
)
def test_quotas_of_control_groups(
    tmp_path: Path, groups: str, files: dict[str, str], expected: list[float]
) -> None:
    (tmp_path / "groups").write_text(groups + "\n")
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert list(threads.cgroup_quotas(tmp_path / "groups", tmp_path / "mount")) == expected


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert list(threads.cgroup_quotas(tmp_path / "groups", tmp_path)) == []
