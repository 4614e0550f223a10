"""Checkpoints: all that a training run needs to go on, in one file that is whole or not there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import random
from ..errors import FileError
from ..files import AnyPath, read, write
from ..variable import Variable
from ..weights import KIND, fitted

if TYPE_CHECKING:
    from pathlib import Path

_CHECKPOINT = "checkpoint 1"
_FILE = re.compile(r"checkpoint-(\d{8,})\.safetensors")
_RANDOM = "random"  # the name under which the random state is kept


class _RandomState:
    """`fj.random` as one of the objects of a checkpoint."""

    def state(self) -> list[int]:
        return random.get_state()

    def restore(self, state: list[int]) -> None:
        random.set_state(state)


class Checkpoint:
    """Saves and restores objects together, with the state of `fj.random`; keeps the last files.

    A file is safetensors: Variables by name, `network/layer1/kernel`, and what is no Variable as
    JSON. It is written beside the others and renamed when it is complete and on the disk, so that a
    process that is killed leaves the files of before. One process at a time saves to a folder.

    Args:
        folder: where the files are; made at the first `save`.
        keep: how many of the newest files are kept; None keeps all.
        objects: by keyword, each with `named_variables()` (networks, optimizers), or `state()` and
            `restore(state)` (iterators), or both; or a Variable, or a dict of Variables.
    Raises:
        FileError: an object is none of these.
    Example:
        >>> import fusejit as fj, tempfile
        >>> from fusejit.train.checkpoint import Checkpoint
        >>> w = fj.Variable([1.0, 2.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoint = Checkpoint(folder, keep=2, weights={"w": w})
        ...     _ = checkpoint.save(step=10)
        ...     _ = w.assign([0.0, 0.0])
        ...     checkpoint.restore()
        10
        >>> w.tolist()
        [1.0, 2.0]
    """

    def __init__(self, folder: AnyPath, *, keep: int | None = 5, **objects: Any) -> None:
        if keep is not None and keep < 1:
            raise FileError(f"Checkpoint: expected to keep at least 1 file, got {keep}.")
        from pathlib import Path  # 2 ms, with json below, that training without it does not take

        self.folder = Path(folder)
        self.keep = keep
        self._objects: dict[str, Any] = {**objects, _RANDOM: _RandomState()}
        for name, each in objects.items():
            if name == _RANDOM or not (_has_variables(each) or _has_state(each)):
                kind = type(each).__name__
                raise FileError(
                    f"Checkpoint: {name} is a {kind}: expected something with named_variables(), "
                    "or state() and restore(), or Variables; `random` is always included."
                )

    @property
    def paths(self) -> list[Path]:
        """The files that are there, the oldest first."""
        if not self.folder.is_dir():
            return []
        found = [(_step_of(path), path) for path in self.folder.iterdir()]
        return [path for step, path in sorted(pair for pair in found if pair[0] >= 0)]

    @property
    def latest(self) -> Path | None:
        """The newest file, or None."""
        return next(iter(self.paths[::-1]), None)

    def save(self, step: int | None = None) -> Path:
        """Save all objects as they are now, and drop what is older than the files to keep.

        Args:
            step: the number of the file, so that the newest has the highest; one more than the
                newest by default.
        Returns:
            The path of the file.
        Raises:
            OSError: no room, or no permission; the files of before are still there.
        """
        import json

        latest = self.latest
        number = step if step is not None else 0 if latest is None else _step_of(latest) + 1
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"checkpoint-{number:08d}.safetensors"
        states = {name: each.state() for name, each in self._objects.items() if _has_state(each)}
        metadata = {KIND: _CHECKPOINT, "step": str(number), "states": json.dumps(states)}
        write(path, {name: v.numpy() for name, v in self._variables().items()}, metadata)
        for old in self.paths[: -self.keep] if self.keep else []:
            if old != path:
                with contextlib.suppress(OSError):
                    old.unlink()
        return path

    def restore(self, path: AnyPath | None = None) -> int | None:
        """Put all objects into the state that a file holds.

        A network or an optimizer that makes its Variables at its first use has to have made them.

        Args:
            path: the newest file by default.
        Returns:
            The step it was saved at; None if there is no file.
        Raises:
            FileError: the file is damaged, or does not fit; nothing has changed then.
        """
        import json

        chosen = self.latest if path is None else path
        if chosen is None:
            return None
        arrays, metadata = read(chosen)
        if metadata.get(KIND) != _CHECKPOINT:
            raise FileError(f"{chosen} is no checkpoint of this version of fusejit.")
        states, step = json.loads(metadata["states"]), int(metadata["step"])
        holders = {name: each for name, each in self._objects.items() if _has_state(each)}
        if holders.keys() != states.keys():
            raise FileError(
                f"{chosen} holds the states of {sorted(states)}, "
                f"but here are {sorted(holders)}; nothing was changed."
            )
        commit = fitted(self._variables(), arrays, str(chosen), "the objects of this checkpoint")
        _restore_all([(each, states[name]) for name, each in holders.items()], commit)
        return step

    def _variables(self) -> dict[str, Variable]:
        """Every Variable under its name in the file."""
        return {
            f"{name}/{inner}" if inner else name: variable
            for name, each in self._objects.items()
            for inner, variable in _variables_of(each).items()
        }


def _restore_all(states: list[tuple[Any, Any]], commit: Callable[[], None]) -> None:
    """Restore what is no Variable, then commit; if one refuses its state, all are as before."""
    before: list[tuple[Any, Any]] = []
    try:
        for each, state in states:
            before.append((each, each.state()))
            each.restore(state)
        commit()
    except BaseException:
        for each, state in before:
            each.restore(state)
        raise


def _variables_of(each: Any) -> Mapping[str, Variable]:
    if isinstance(each, Variable):
        return {"": each}
    if isinstance(each, Mapping):
        return each
    found: Mapping[str, Variable] = each.named_variables() if _has_names(each) else {}
    return found


def _has_variables(each: Any) -> bool:
    if isinstance(each, Mapping):
        return all(isinstance(value, Variable) for value in each.values())
    return isinstance(each, Variable) or _has_names(each)


def _has_names(each: Any) -> bool:
    return callable(getattr(each, "named_variables", None))


def _has_state(each: Any) -> bool:
    return all(callable(getattr(each, name, None)) for name in ("state", "restore"))


def _step_of(path: Path) -> int:
    """The number in the name of a file; -1 if it is none of ours."""
    found = _FILE.fullmatch(path.name)
    return int(found[1]) if found else -1
