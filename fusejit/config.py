"""Every setting of fusejit: one frozen record, read once from FUSEJIT_* and replaced as a whole.

fj.config.default_float = "float64"      # validated; listeners (the plan caches) are told
with fj.config.override(verify=True): ...
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .errors import FuseJitError
from .frozen import by_name, frozen, replace


def _user_cache() -> str:
    """Where a user's compiled objects are kept by default; "" for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return os.path.join(base, "fusejit")
    home = os.path.expanduser("~")
    return os.path.join(home, ".cache", "fusejit") if os.path.isdir(home) else ""


@frozen(kw_only=True)
class Settings:
    """The settings in force. Field `verify` is the variable FUSEJIT_VERIFY, and so on."""

    disable: bool = False  # @function is the identity
    check: bool = False  # every replay is compared with the call itself
    debug_nans: bool = False  # an op that makes a NaN or an infinity is an error
    verify: bool = False  # the IR is verified after each pass
    no_reuse: bool = False  # no two temporaries share memory (to bisect a planner bug)
    log: str = ""  # "" or "recompiles": one line on stderr for each recording
    dump: str = ""  # a directory that receives the text of every stage, or ""
    default_float: str = "float32"  # dtype of Python floats: float32 or float64
    device: str = "cpu"  # where tensors are made outside of every block of fj.device
    gpu: str = ""  # "" or "emulated": by the GPU's driver, or on the CPU, for tests
    num_threads: int = 0  # of native code; 0: one for each CPU that the process may use
    cache_dir: str = _user_cache()  # a directory that keeps compiled objects, or ""


DEFAULTS: Mapping[str, object] = by_name(Settings())

MOST_THREADS = 256  # the places in the thread pool's table (kernels/llvm/threads.ll)

_CHOICES = {
    "log": ("", "recompiles"),
    "default_float": ("float32", "float64"),
    "gpu": ("", "emulated"),
}
# Settings that recordings and plans do not depend on.
_RUN_TIME = frozenset({"num_threads", "cache_dir"})


def _parse(name: str, text: str, model: object) -> object:
    if isinstance(model, bool):
        values = {"1": True, "true": True, "0": False, "false": False, "": False}
        if text.lower() not in values:
            raise FuseJitError(f"FUSEJIT_{name.upper()}: expected 0 or 1, got {text!r}")
        return values[text.lower()]
    if isinstance(model, int):
        if not text.strip().isdecimal():
            raise FuseJitError(f"FUSEJIT_{name.upper()}: expected a number, got {text!r}")
        return int(text)
    return text


def _validate(name: str, value: object) -> object:
    if name not in DEFAULTS:
        raise FuseJitError(f"config: no setting {name!r}; there are {', '.join(DEFAULTS)}")
    if name == "default_float":
        with contextlib.suppress(TypeError):  # what is no dtype is refused below
            value = np.dtype(value).name  # type: ignore[call-overload]
    if name == "cache_dir" and value and isinstance(value, str):
        value = os.path.abspath(os.path.expanduser(value))
    if type(value) is not type(DEFAULTS[name]):
        expected = type(DEFAULTS[name]).__name__
        raise FuseJitError(f"config.{name}: expected {expected}, got {value!r}")
    if name in _CHOICES and value not in _CHOICES[name]:
        choices = " or ".join(repr(choice) for choice in _CHOICES[name])
        raise FuseJitError(f"config.{name}: expected {choices}, got {value!r}")
    if name == "num_threads" and not 0 <= value <= MOST_THREADS:  # type: ignore[operator]
        raise FuseJitError(f"config.{name}: expected 0 to {MOST_THREADS}, got {value!r}")
    return value


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings that the FUSEJIT_* variables of `environ` ask for."""
    found: dict[str, Any] = {}
    for name, default in DEFAULTS.items():
        text = environ.get("FUSEJIT_" + name.upper())
        if text is not None:
            found[name] = _validate(name, _parse(name, text, default))
    return Settings(**found)


class Config:
    """The settings as attributes: reading is plain, assigning validates and tells the listeners."""

    __slots__ = ("_listeners", "settings")
    settings: Settings

    def __init__(self, settings: Settings) -> None:
        object.__setattr__(self, "settings", settings)
        object.__setattr__(self, "_listeners", [])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.settings, name)

    def __setattr__(self, name: str, value: object) -> None:
        changed: dict[str, Any] = {name: _validate(name, value)}
        self._replace(replace(self.settings, **changed))

    def __repr__(self) -> str:
        return repr(self.settings)

    def on_change(self, listener: Callable[[], None], setting: str = "") -> None:
        """Call `listener` after each change of `setting`, or of any that what is recorded under
        other settings must go for: all but those in _RUN_TIME.
        """
        self._listeners.append((listener, setting))

    @contextlib.contextmanager
    def override(self, **changes: object) -> Iterator[None]:
        """Other settings inside a `with` block, for the whole process."""
        before = self.settings
        checked: dict[str, Any] = {name: _validate(name, value) for name, value in changes.items()}
        self._replace(replace(before, **checked))
        try:
            yield
        finally:
            self._replace(before)

    def _replace(self, settings: Settings) -> None:
        changed = {n for n in DEFAULTS if getattr(settings, n) != getattr(self.settings, n)}
        object.__setattr__(self, "settings", settings)
        for listener, setting in self._listeners:
            if setting in changed if setting else changed - _RUN_TIME:
                listener()


config = Config(from_environment(os.environ))
