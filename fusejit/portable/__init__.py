"""Functions in files: what was recorded of them, with their weights, and without their source."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..files import AnyPath
    from .loaded import Loaded


def save(f: Callable[..., Any], path: AnyPath, *example_args: Any, **example_kwargs: Any) -> None:
    """Save a function with all that was recorded of it, to be called without its source.

    Every recorded path is saved, for all argument types and values that calls have had so far, so
    call f with what is to be saved. Variables and Tensors that it reads are saved with their values
    of now; Python numbers that it reads are part of what was recorded.

    Args:
        f: a function, best one decorated by `fj.function`; a bound method, or anything callable.
        path: the file: safetensors, and the graphs as JSON in its metadata. It holds no code.
        example_args: arguments of a call, which is made if it was never recorded.
    Raises:
        CaptureError: such a call cannot be replayed, or an argument is an object of a class.
        FileError: an op that is not registered, or a parameter that is no plain data.
        OSError: no room, or no permission; a file that was there before is there still.
    Example:
        >>> import fusejit as fj, tempfile
        >>> w = fj.Variable([1.0, 2.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fj.save(lambda x: x * w, folder + "/scale", fj.constant([3.0, 4.0]))
        ...     scale = fj.load(folder + "/scale")
        >>> scale(fj.constant([3.0, 4.0])).tolist()
        [3.0, 8.0]
    """
    from .saving import save_function

    save_function(f, path, example_args, example_kwargs)


def load(path: AnyPath, *, limit: int = 8 << 30) -> Loaded:
    """The function that `save` has put into a file.

    It is decorated: its calls are recorded, fused and differentiated as those of any function. Its
    Variables are its own; `named_variables()` lists them.

    Args:
        path: a file of `save`. Nothing of it is run; each op is looked up by its name, and its
            operands and parameters are checked.
        limit: bytes that one array may take that the function computes.
    Raises:
        FileError: the file is damaged, or no such file, or of a later version, or names an op that
            is not registered here.
        OSError: it cannot be read.
    """
    from .loaded import load_function

    return load_function(path, limit)
