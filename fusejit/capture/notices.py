"""What a decorated function tells its user: each warning once, and a line for each recording."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections import Counter
from collections.abc import Callable

from ..backends.ready import logger
from ..config import config
from ..origin import user_frame
from .policy import MAX_CHANGES, EagerWarning, RecompileWarning
from .purity import location


class Notices:
    """The notices of the function called `name`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._said: set[object] = set()
        self._changes: Counter[str] = Counter()

    def eager(self, about: object, text: Callable[[], str]) -> None:
        """Warn that calls run eagerly, once for what it is about; then its text is made."""
        if about not in self._said:
            self._said.add(about)
            warnings.warn(text(), EagerWarning, stacklevel=user_level())

    def changed(self, path: str, how: str) -> None:
        """Warn, once for each path, of a value that never stays what it was."""
        self._changes[path] += 1
        if self._changes[path] == MAX_CHANGES:
            text = (
                f"{self.name} was recorded {MAX_CHANGES} times because a value that it reads "
                f"changes: {how}. Each recording costs as much as many calls: pass it as a Tensor, "
                "keep it in a Variable, or leave it out."
            )
            warnings.warn(text, RecompileWarning, stacklevel=user_level())

    def recorded(self, why: Callable[[], str], seconds: float) -> None:
        """One line, to the logger and, if the settings say so, to stderr."""
        log = logger()
        heard = log is not None and log.isEnabledFor(sys.modules["logging"].INFO)
        printed = config.settings.log == "recompiles"
        if not (heard or printed):
            return  # to find the user's line takes 0.1 ms
        line = f"{self.name}: {why()} ({1e3 * seconds:.1f} ms) at {location(user_frame())}"
        if heard:
            log.info(line)
        if printed:
            print(f"fusejit: {line}", file=sys.stderr)


def user_level() -> int:
    """The stack level of the innermost user frame, as warnings.warn counts from the caller."""
    target, frame, level = user_frame(), inspect.currentframe(), 0
    while frame is not None and frame is not target:
        frame, level = frame.f_back, level + 1
    return max(level, 1)
