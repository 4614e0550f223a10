"""Event files that TensorBoard shows, written by tensorboardX (the extra `tensorboard`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import FuseJitError
from ..files import AnyPath


class TensorBoard:
    """A folder of event files: call it with a step and values, as `fit(log=...)` does.

    Args:
        folder: one for each run; TensorBoard is started on the folder above.
        every: of the values of single steps, only each so many-th step is written.
    Raises:
        FuseJitError: tensorboardX is not installed.
    Example:
        >>> import tempfile, fusejit as fj
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with fj.train.TensorBoard(folder) as board:
        ...         board(1, {"loss": 0.5})
    """

    def __init__(self, folder: AnyPath, every: int = 1) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise FuseJitError(
                "TensorBoard: tensorboardX is not installed: pip install 'fusejit[tensorboard]'."
            ) from error
        self.every = every
        self.writer: Any = SummaryWriter(str(folder))

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Write values of a step, each under its name."""
        summary = any(name.startswith("validation/") for name in values)
        if summary or step % self.every == 0:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left, and end the writer's thread."""
        self.writer.close()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
