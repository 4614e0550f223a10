"""Compiled objects on disk, shared by the processes of one user: files named by their origin.

    name     sha256 of all that decides what the object is: see `key`
    content  magic, sha256 of name and object, the object

A file appears by renaming a complete one, so many processes may read and write at once: the worst
that happens is that two write the same bytes. Nothing here raises for a reason that lies in the
file system: what is missing, damaged or not ours is a miss, what cannot be written is not kept, and
FUSEJIT_LOG says why.

Objects are run as code. So a file counts only if it is a regular file, no link, that belongs to
this user and that nobody else can write, in a directory of which the same is true.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache

from ..config import config
from ..frozen import frozen
from .ready import logger

LIMIT = 256 << 20
"""Bytes kept. A kernel takes 2 to 15 KB and the native runtime 15: over 10,000 kernels."""
_PRUNED = "00"
"""A name that begins so makes its writer prune, one in 256: listing 10,000 files takes 30 ms, and
what 255 writes add meanwhile is 1% of the limit."""
_STALE = 3600.0  # seconds after which a file that was never renamed is of a process that died
_TEMPORARY = ".new-"
_MAGIC = b"fusejit object 1\n"
_HEADER = len(_MAGIC) + hashlib.sha256().digest_size
_SUPPORTED = hasattr(os, "geteuid") and os.open in os.supports_dir_fd  # else: no cache


@frozen
class Usage:
    """What is on disk: where (empty: nowhere), how many objects, how many bytes."""

    path: str
    files: int = 0
    bytes: int = 0


def key(*parts: str) -> str:
    """The name of an object, given all that decides what it is."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def wanted() -> bool:
    """Whether what is stored is to be kept; the file system may still refuse."""
    return bool(config.settings.cache_dir) and _SUPPORTED


def load(name: str) -> bytes | None:
    """The object stored as `name`, which counts as used now; None if there is no sound one."""
    try:
        with _directory() as directory:
            content = _read(directory, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        _say(f"the object cache is not read: {error}")
        return None
    image = content[_HEADER:]
    return image if content[:_HEADER] == _header(name, image) else None


def store(name: str, image: bytes) -> None:
    """Keep an object, if that is possible."""
    if not wanted():
        return
    try:
        with _directory(create=True) as directory:
            _write(directory, name, _header(name, image) + image)
            if name.startswith(_PRUNED):
                _prune(directory, LIMIT)
    except OSError as error:
        _say(f"the object cache is not written: {error}")


def usage() -> Usage:
    """How much is stored."""
    path = config.settings.cache_dir
    try:
        with _directory() as directory:
            sizes = [state.st_size for _, state in _files(directory)]
    except OSError:
        return Usage(path)
    return Usage(path, len(sizes), sum(sizes))


def clear() -> int:
    """Remove all objects; how many there were."""
    removed = 0
    with contextlib.suppress(OSError), _directory() as directory:
        for name, _ in _files(directory):
            removed += _remove(directory, name)
    return removed


# ---- the directory and its files


@contextlib.contextmanager
def _directory(create: bool = False) -> Iterator[int]:
    """A descriptor of the directory, to which names are relative: it cannot be exchanged meanwhile.

    Raises:
        OSError: there is none, or none to be trusted.
    """
    path = config.settings.cache_dir
    if not wanted():
        raise FileNotFoundError(path)
    if create:
        os.makedirs(path, mode=0o700, exist_ok=True)
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _trusted(path, directory, stat.S_ISDIR)
        yield directory
    finally:
        os.close(directory)


def _trusted(name: str, descriptor: int, is_kind: Callable[[int], bool]) -> None:
    state = os.fstat(descriptor)
    others_write = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not is_kind(state.st_mode) or state.st_uid != os.geteuid() or others_write:
        raise PermissionError(f"{name}: others than this user can write it")


def _header(name: str, image: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(name.encode() + image).digest()


def _read(directory: int, name: str) -> bytes:
    # Opening a pipe would wait for a writer without O_NONBLOCK; it changes nothing for a file.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(os.open(name, flags, dir_fd=directory), "rb") as file:
        _trusted(name, file.fileno(), stat.S_ISREG)
        content = file.read()
        with contextlib.suppress(OSError):  # a file system that cannot be written
            os.utime(file.fileno())
    return content


def _write(directory: int, name: str, content: bytes) -> None:
    temporary = _TEMPORARY + os.urandom(8).hex()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with open(os.open(temporary, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(content)
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        _remove(directory, temporary)
        raise


def _files(directory: int) -> list[tuple[str, os.stat_result]]:
    """The files that are named as ours are."""
    found = []
    for name in os.listdir(directory):
        if len(name) == 64 or name.startswith(_TEMPORARY):
            with contextlib.suppress(OSError):  # another process has removed it
                state = os.stat(name, dir_fd=directory, follow_symlinks=False)
                found.append((name, state))
    return found


def _prune(directory: int, limit: int) -> None:
    """Remove the least recently used until three quarters of `limit` are in use, and what dead
    processes left half-written."""
    kept = sorted(_files(directory), key=lambda file: file[1].st_mtime)
    total = sum(state.st_size for _, state in kept)
    goal = limit * 3 // 4 if total > limit else total
    dead = time.time() - _STALE
    for name, state in kept:
        if total > goal or (name.startswith(_TEMPORARY) and state.st_mtime < dead):
            total -= state.st_size
            _remove(directory, name)


def _remove(directory: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        return False
    return True


@lru_cache(maxsize=16)  # once for each reason
def _say(reason: str) -> None:
    log = logger()
    if log is not None:
        log.info(reason)
    if config.settings.log:
        print(f"fusejit: {reason}", file=sys.stderr)
