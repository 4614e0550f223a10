"""NumPy and others: ufuncs and functions of NumPy take Tensors, and arrays pass by DLPack.

np.exp(t) is the op whose record says numpy=np.exp; np.sum(t) is the public function that has the
name of NumPy's. What fusejit lacks is refused, with what to write instead: converting silently
would lose gradients and could not be captured.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..op import OPS
from ..operators import Operators
from ..tensor import Tensor, asarray
from .scan import cumulative_prod, cumulative_sum
from .shape import permute_dims


class _Public:
    """fusejit itself, whose functions NumPy's names stand for; set by `install`."""

    module: ModuleType


def install(module: ModuleType) -> None:
    """Let `module`, which is fusejit itself, provide the functions that NumPy's names stand for."""
    _Public.module = module


@functools.cache  # made when a Tensor meets NumPy: looking at np.fft imports it
def _twins() -> dict[Any, Callable[..., Any]]:
    """What stands for each of NumPy's functions."""
    module = _Public.module
    found: dict[Any, Callable[..., Any]] = {}
    for ours, numpys in ((module, np), (module.linalg, np.linalg), (module.fft, np.fft)):
        for name, function in vars(ours).items():
            twin = getattr(numpys, name, None) if callable(function) else None  # not np.random
            if callable(twin) and not isinstance(twin, type):
                found[twin] = function
    for op in OPS.values():
        if isinstance(op.numpy, np.ufunc):
            found.setdefault(op.numpy, getattr(module, op.name, op))
    # What NumPy spells otherwise than the array API standard.
    found[np.shape] = lambda x: x.shape
    found[np.ndim] = lambda x: x.ndim
    found[np.size] = lambda x: x.size
    found[np.copy] = asarray
    found[np.cumsum], found[np.cumprod] = cumulative_sum, cumulative_prod
    found[np.amax], found[np.amin] = module.max, module.min
    found[np.ravel] = lambda x: x.flatten()
    found[np.transpose] = lambda x, axes=None: permute_dims(
        x, range(x.ndim)[::-1] if axes is None else axes
    )
    return found


def _refusal(name: str) -> DTypeError:
    return DTypeError(
        f"np.{name} does not take Tensors. Use a function of fusejit, or convert first, with "
        "t.numpy(): the result is then an ndarray, without gradient."
    )


def _as_array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Operators) else value


def _array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    out = kwargs.get("out")
    if out is not None:
        if any(isinstance(target, Operators) for target in out):
            raise DTypeError(f"np.{ufunc.__name__}: Tensors are immutable and cannot be `out`.")
        # `array += tensor`: the user's ndarray is to be changed, so NumPy has to do it.
        return getattr(ufunc, method)(*map(_as_array, inputs), **kwargs)
    function = _twins().get(ufunc)
    if method != "__call__":
        raise _refusal(f"{ufunc.__name__}.{method}")
    if function is None or kwargs:
        raise _refusal(ufunc.__name__ + (f" with {', '.join(kwargs)}" if kwargs else ""))
    return function(*inputs)


def _array_function(self: Any, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    twin = _twins().get(function)
    name = f"{getattr(function, '__module__', 'numpy')}.{function.__name__}".removeprefix("numpy.")
    if twin is None:
        raise _refusal(name)
    try:
        return twin(*args, **kwargs)
    except TypeError as error:
        if isinstance(error, DTypeError) or "argument" not in str(error):
            raise
        raise DTypeError(f"np.{name} of Tensors is fusejit's own: {error}.") from None


def from_dlpack(x: Any, /, *, device: object = None, copy: bool | None = None) -> Tensor:
    """A Tensor of any array with `__dlpack__`: PyTorch's, JAX's, CuPy's on the CPU.

    Args:
        x: the array.
        device: where the Tensor is to be: by default where this thread makes them. x is on the
            CPU.
        copy: unless False, the data is copied; shared memory must not be written to any more.
    """
    made = asarray(np.from_dlpack(x), copy=copy)
    return made if device is None else made.to(str(device))


def _dlpack(self: Any, *, max_version: tuple[int, int] | None = None, **options: Any) -> Any:
    """A read-only capsule that shares memory; older consumers, who know none, get a copy. Of a
    Tensor on a GPU it is a copy on the CPU, as `numpy` gives."""
    array = self.numpy()
    if max_version is None or max_version < (1, 0):
        return array.copy().__dlpack__(**options)
    return array.__dlpack__(max_version=max_version, **options)


def _dlpack_device(self: Any) -> tuple[int, int]:
    return (1, 0)  # the CPU, where `_dlpack` puts it


def _array_namespace(self: Any, *, api_version: str | None = None) -> ModuleType:
    return _Public.module


Operators.install("__array_ufunc__", _array_ufunc)
Operators.install("__array_function__", _array_function)
Operators.install("__array_namespace__", _array_namespace)
Operators.install("__dlpack__", _dlpack)
Operators.install("__dlpack_device__", _dlpack_device)
