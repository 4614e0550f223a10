"""Discrete Fourier transforms, with the names and arguments of the array API standard."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .dtypes import DTYPES
from .errors import DTypeError, ShapeError
from .op import FLOATING
from .operators import ArrayLike
from .ops.cast import astype, conj, real
from .ops.creation import iota
from .ops.fourier import fft_, ifft_, rfft_
from .ops.join import concat, pad, roll
from .ops.shape import flip, normalize_axis, normalized_list, slice_axis
from .scalar import F32
from .tensor import Tensor, asarray

_OPPOSITE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}
"""The normalisation of an inverse that is written as a transform, and the other way round."""


def _prepared(
    name: str, x: ArrayLike, n: int | None, axis: int, norm: str, *, is_real: bool = False
) -> tuple[Tensor, int]:
    """x as real or complex floats, cut or padded with zeros to n along `axis`; and the axis."""
    x = asarray(x)
    if norm not in _OPPOSITE:
        raise ShapeError(f"{name}: expected norm backward, forward or ortho, got {norm!r}.")
    axis = normalize_axis(name, axis, x.ndim)
    dtype = FLOATING.common(name, x.dtype)
    if is_real and dtype.kind == "c":
        raise DTypeError(f"{name}: expected real numbers, got {x.type}.")
    if dtype == DTYPES["float16"]:
        dtype = F32
    x, extent = astype(x, dtype), x.shape[axis]
    wanted = extent if n is None else n
    if wanted < 1:
        raise ShapeError(f"{name}: expected at least one element along axis {axis}, got {wanted}.")
    if wanted < extent:
        x = slice_axis(x, axis, 0, wanted)
    elif wanted > extent:
        x = pad(x, [(0, wanted - extent if i == axis else 0) for i in range(x.ndim)])
    return x, axis


def fft(x: ArrayLike, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The Fourier transform along `axis`.

    Args:
        x: an array; real numbers become complex.
        n: x is cut or padded with zeros to n elements.
        axis: along which.
        norm: which direction divides: "backward" (the inverse), "forward", or "ortho" (each by the
            root).
    Example:
        >>> import fusejit as fj
        >>> fj.fft.fft([1.0, 0.0]).tolist()
        [(1+0j), (1+0j)]
    """
    x, axis = _prepared("fft", x, n, axis, norm)
    found: Tensor = fft_(x, axis=axis, norm=norm)
    return found


def ifft(
    x: ArrayLike, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
) -> Tensor:
    """The inverse of `fft`."""
    x, axis = _prepared("ifft", x, n, axis, norm)
    found: Tensor = ifft_(x, axis=axis, norm=norm)
    return found


def rfft(
    x: ArrayLike, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
) -> Tensor:
    """The Fourier transform of real numbers: the n // 2 + 1 frequencies that are not negative."""
    x, axis = _prepared("rfft", x, n, axis, norm, is_real=True)
    found: Tensor = rfft_(x, axis=axis, norm=norm)
    return found


def irfft(
    x: ArrayLike, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
) -> Tensor:
    """The inverse of `rfft`: n real numbers, 2 * (m - 1) by default for m frequencies."""
    x = asarray(x)
    at = normalize_axis("irfft", axis, x.ndim)
    count = 2 * (x.shape[at] - 1) if n is None else n
    if count < 1:
        raise ShapeError(f"irfft: expected n of at least 1, got {count} from {x.type}.")
    half, at = _prepared("irfft", x, count // 2 + 1, axis, norm)
    # The negative frequencies of real numbers are the conjugates of the positive ones.
    negative = flip(conj(slice_axis(half, at, 1, count - count // 2)), axis=at)
    found: Tensor = ifft_(concat([half, negative], axis=at), axis=at, norm=norm)
    return real(found)


def hfft(
    x: ArrayLike, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
) -> Tensor:
    """The real Fourier transform of n numbers with Hermitian symmetry, of which x is one half."""
    return irfft(conj(x), n=n, axis=axis, norm=_OPPOSITE.get(norm, norm))


def ihfft(
    x: ArrayLike, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
) -> Tensor:
    """The inverse of `hfft`."""
    return conj(rfft(x, n=n, axis=axis, norm=_OPPOSITE.get(norm, norm)))


def _over_axes(
    name: str,
    transforms: Sequence[Callable[..., Tensor]],
    x: ArrayLike,
    s: Sequence[int] | None,
    axes: Sequence[int] | None,
    norm: str,
) -> Tensor:
    """A transform an axis: the last of `transforms` for the last axis, the first for the rest."""
    x = asarray(x)
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    places = normalized_list(name, axes, x.ndim)
    lengths: Sequence[int | None] = [None] * len(places) if s is None else s
    if len(lengths) != len(places):
        raise ShapeError(f"{name}: expected as many lengths as axes, got {s} and {places}.")
    # rfftn transforms its last axis first, while the numbers are real; irfftn does so last.
    pairs = list(zip(places, lengths, strict=True))
    last = pairs.pop() if transforms[-1] is not transforms[0] else None
    if last and transforms[-1] is rfft:
        x = rfft(x, n=last[1], axis=last[0], norm=norm)
    for axis, length in pairs:
        x = transforms[0](x, n=length, axis=axis, norm=norm)
    if last and transforms[-1] is irfft:
        x = irfft(x, n=last[1], axis=last[0], norm=norm)
    return x


def fftn(
    x: ArrayLike,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """`fft` along several axes, all by default; `s` gives the extents."""
    return _over_axes("fftn", [fft], x, s, axes, norm)


def ifftn(
    x: ArrayLike,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """The inverse of `fftn`."""
    return _over_axes("ifftn", [ifft], x, s, axes, norm)


def rfftn(
    x: ArrayLike,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """`rfft` along the last axis, then `fft` along the others."""
    return _over_axes("rfftn", [fft, rfft], x, s, axes, norm)


def irfftn(
    x: ArrayLike,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """The inverse of `rfftn`."""
    return _over_axes("irfftn", [ifft, irfft], x, s, axes, norm)


def fftfreq(n: int, /, *, d: float = 1.0, dtype: object = "float32") -> Tensor:
    """The frequencies that `fft` of n samples at distance d computes: 0, 1, ..., -2, -1 over n d.

    Example:
        >>> import fusejit as fj
        >>> fj.fft.fftfreq(4).tolist()
        [0.0, 0.25, -0.5, -0.25]
    """
    if n < 1:
        raise ShapeError(f"fftfreq: expected at least one sample, got {n}.")
    middle = (n - 1) // 2 + 1
    places = iota(n)
    return astype((places - n * astype(places >= middle, "int64")) / (n * d), dtype)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: object = "float32") -> Tensor:
    """The frequencies that `rfft` of n samples at distance d computes: 0, 1, ... over n d."""
    if n < 1:
        raise ShapeError(f"rfftfreq: expected at least one sample, got {n}.")
    return astype(iota(n // 2 + 1) / (n * d), dtype)


def fftshift(x: ArrayLike, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """The frequencies of `fft` in ascending order: the zero in the middle."""
    x = asarray(x)
    places = normalized_list("fftshift", range(x.ndim) if axes is None else axes, x.ndim)
    return roll(x, [x.shape[i] // 2 for i in places], axis=places)


def ifftshift(x: ArrayLike, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of `fftshift`."""
    x = asarray(x)
    places = normalized_list("ifftshift", range(x.ndim) if axes is None else axes, x.ndim)
    return roll(x, [-(x.shape[i] // 2) for i in places], axis=places)
