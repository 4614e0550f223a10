"""The threads of native code: how many there may be, and the text of their pool.

    set_num_threads(n), get_num_threads()
    text() -> IR that defines @parallel; attach(addresses of EXPORTS) -> that pool obeys the setting

The caller of a job and idle threads claim its chunks one by one (`kernels/llvm/threads.ll`), so
work goes to whoever has a core: with another process on the other core a job takes 0 to 5 % longer
than alone, where an even split in two would wait for it (80 times longer, at worst). Measured on a
virtual machine of two Zen 5 cores, jobs of 8 chunks on two threads against one:

    since the last job       an empty job         100 us of work     gain from
    0                        + 0.3 us             1.95 times         3 us
    200 us                   + 8 us (the wake)    1.37 times         40 us
    5 ms, asleep             + 10 to 30 us        0.9 to 1.3 times   200 us

The last line is Linux's doing: it may wake the thread on the caller's core with the other one free.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from ...config import MOST_THREADS, config
from ...frozen import frozen
from .abi import kernels_text

if TYPE_CHECKING:
    from pathlib import Path

EXPORTS = ("threads.limit", "threads.stop", "threads.forget")

# A pause is 27 ns here, 10 to 45 on other cores. A thread without work watches for the next job for
# 8 rounds of 190 pauses, 40 us: jobs of one plan follow each other within that, and it is what a
# sleep and a wake cost. Between rounds it yields its core, for 0.3 us if nobody wants it; without
# that, a caller on the same core lost 40 us to it. A caller waits as long for the last chunks, then
# it sleeps; it never yields, since another process might keep its core for 3 ms.
_WAITS = {"rounds": 8, "spins": 190, "patience": 1500}
# What makes a core wait a moment in a spin loop, and the number of the futex system call. AArch64's
# own hint, yield, does nothing on most cores.
_LINUX = {
    "x86_64": ("llvm.x86.sse2.pause()", 202),
    "aarch64": ("llvm.aarch64.isb(i32 15)", 98),
}


def text(system: str = sys.platform, machine: str = platform.machine()) -> str:
    """The IR of the pool; on a system that it does not know, one without threads."""
    from string import Template  # 1 ms, which importing fusejit need not take

    if system == "linux" and machine in _LINUX:
        pause, futex = _LINUX[machine]
        names = {"pause": pause, "futex": futex}
        needs = Template(kernels_text("llvm/system_linux.ll")).substitute(names)
    else:
        needs = kernels_text("llvm/system_none.ll")
    return needs + Template(kernels_text("llvm/threads.ll")).substitute(_WAITS)


# ---- pools that are loaded


@frozen
class _Pool:
    limit: ctypes.c_int64  # in native memory
    stop: Callable[[], None]
    forget: Callable[[], None]


_pools: list[_Pool] = []


def attach(addresses: Mapping[str, int]) -> None:
    """Let the pool at these addresses (of EXPORTS) follow the setting, and survive forks."""
    limit, stop, forget = (addresses[name] for name in EXPORTS)
    function = ctypes.CFUNCTYPE(None)
    _pools.append(_Pool(ctypes.c_int64.from_address(limit), function(stop), function(forget)))
    _follow_setting()


def _follow_setting() -> None:
    for pool in _pools:
        pool.limit.value = get_num_threads()


def _stop() -> None:
    """Before a fork: Python 3.12 warns of forks in a process with threads, and rightly for all it
    knows. Costs the parent 15 us; the next job makes the threads again, in 10 us each.
    """
    for pool in _pools:
        pool.stop()


def _forget() -> None:
    for pool in _pools:
        pool.forget()


config.on_change(_follow_setting, "num_threads")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop, after_in_child=_forget)


# ---- how many


def set_num_threads(n: int) -> None:
    """Let native code use up to `n` threads, the calling one among them: 1 to 256, else ValueError.

    Also `config.num_threads`, and FUSEJIT_NUM_THREADS before the start. Takes effect with the next
    job; results are the same bits for every `n`.

    >>> import fusejit as fj
    >>> before = fj.get_num_threads()
    >>> fj.set_num_threads(1)
    >>> fj.get_num_threads()
    1
    >>> fj.set_num_threads(before)
    """
    if type(n) is not int or not 1 <= n <= MOST_THREADS:
        raise ValueError(f"set_num_threads: expected an int from 1 to {MOST_THREADS}, got {n!r}")
    config.num_threads = n


def get_num_threads() -> int:
    """How many threads native code may use: as set, or one for each CPU that there is for us."""
    number: int = config.settings.num_threads
    return number or min(usable_cpus(), MOST_THREADS)


@lru_cache(maxsize=1)
def usable_cpus() -> int:
    """The CPUs that this process may run on, or fewer where a cgroup grants it less time.

    More threads than that would only take turns, and a group that has used up its quota stands
    still for the rest of the period, 100 ms, whatever a caller waits for.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min([cpus, *(max(1, math.ceil(quota)) for quota in cgroup_quotas())])


def cgroup_quotas(
    groups: str | Path = "/proc/self/cgroup", mount: str | Path = "/sys/fs/cgroup"
) -> Iterator[float]:
    """The quotas, in CPUs, of this process's control groups and all above them, v1 and v2."""
    from pathlib import Path  # 3 ms, likewise

    try:
        lines = Path(groups).read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = Path(mount)
        elif "cpu" in controllers.split(","):
            top = Path(mount) / "cpu"
        else:
            continue
        # Inside a container the path may be the host's; what is mounted then begins at its group.
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    def read(name: str) -> list[str]:
        try:
            return (folder / name).read_text().split()
        except OSError:
            return []

    words = read("cpu.max") or read("cpu.cfs_quota_us") + read("cpu.cfs_period_us")
    if len(words) == 2 and words[0].isdecimal():  # else "max" or -1: no limit
        yield int(words[0]) / int(words[1])
