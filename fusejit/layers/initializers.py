"""Initial values of variables: each initialiser is called as `initializer(shape, dtype)`.

fan_in and fan_out, by which many are scaled, count the numbers that an output is summed from and
those that an input goes to: rows and columns of a matrix, and for convolutions, whose kernels are
[*window, in, out], these times the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from .. import linalg, random
from ..errors import FuseJitError, ShapeError
from ..frozen import frozen
from ..ops.arithmetic import sign
from ..ops.choose import where
from ..ops.creation import eye, full
from ..ops.shape import reshape
from ..tensor import Tensor

Shape: TypeAlias = tuple[int, ...]
Initializer: TypeAlias = "Callable[[Shape, object], Tensor]"


@frozen
class Constant:
    """The same number everywhere.

    Example:
        >>> import fusejit as fj
        >>> fj.layers.Constant(0.5)((2,), "float32").tolist()
        [0.5, 0.5]
    """

    value: float = 0.0

    def __call__(self, shape: Shape, dtype: object = None) -> Tensor:
        return full(shape, float(self.value), dtype=dtype)


@frozen
class Normal:
    """Normally distributed numbers."""

    std: float = 0.05
    mean: float = 0.0

    def __call__(self, shape: Shape, dtype: object = None) -> Tensor:
        return random.normal(shape, self.mean, self.std, dtype=dtype)


@frozen
class Uniform:
    """Numbers equally likely anywhere in [-limit, limit)."""

    limit: float = 0.05

    def __call__(self, shape: Shape, dtype: object = None) -> Tensor:
        return random.uniform(shape, -self.limit, self.limit, dtype=dtype)


@frozen
class Scaled:
    """Numbers of variance gain**2 * 2 / (fan_in + fan_out), or gain**2 / fan_in.

    Glorot and Bengio (2010) average both fans; He et al. (2015) take fan_in and a gain of sqrt(2),
    for rectified units; LeCun et al. (1998) fan_in and 1.

    Example:
        >>> import fusejit as fj
        >>> kernel = fj.layers.Scaled(fans="in", gain=2**0.5)((400, 300), "float32")
        >>> round(float(fj.std(kernel)) * 200**0.5, 1)  # 1 / sqrt(200)
        1.0
    """

    fans: str = "average"  # or "in"
    gain: float = 1.0
    uniform: bool = False

    def __call__(self, shape: Shape, dtype: object = None) -> Tensor:
        fan_in, fan_out = _fans(shape)
        fan = (fan_in + fan_out) / 2 if self.fans == "average" else fan_in
        std = self.gain / math.sqrt(max(fan, 1))
        if self.uniform:
            return Uniform(math.sqrt(3) * std)(shape, dtype)
        return Normal(std)(shape, dtype)


@frozen
class Orthogonal:
    """A random matrix with orthonormal rows or columns, times `gain` (Saxe et al., 2014).

    Repeated products with it neither grow nor fade, so that it suits the state of an RNN. More than
    two axes are taken as [product of the others, last].

    Example:
        >>> import fusejit as fj
        >>> q = fj.layers.Orthogonal()((3, 3), "float64")
        >>> bool(fj.allclose(q @ q.T, fj.eye(3), atol=1e-12))
        True
    """

    gain: float = 1.0

    def __call__(self, shape: Shape, dtype: object = None) -> Tensor:
        if len(shape) < 2:
            raise ShapeError(f"orthogonal: expected at least two axes, got {list(shape)}.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = random.normal((max(rows, columns), min(rows, columns)), dtype=dtype)
        q, r = linalg.qr(tall)
        # QR leaves the signs open; those of R's diagonal make the distribution uniform.
        signs = sign(linalg.diagonal(r))
        q = q * where(signs == 0, 1, signs)
        return reshape((q if rows >= columns else q.T) * self.gain, shape)


@frozen
class Identity:
    """The unit matrix, times `gain`; rectangular ones have ones on the diagonal."""

    gain: float = 1.0

    def __call__(self, shape: Shape, dtype: object = None) -> Tensor:
        if len(shape) != 2:
            raise ShapeError(f"identity: expected two axes, got {list(shape)}.")
        return eye(*shape, dtype=dtype) * self.gain


INITIALIZERS: dict[str, Initializer] = {
    "zeros": Constant(0.0),
    "ones": Constant(1.0),
    "normal": Normal(),
    "uniform": Uniform(),
    "glorot_uniform": Scaled(uniform=True),
    "glorot_normal": Scaled(),
    "he_uniform": Scaled("in", math.sqrt(2), uniform=True),
    "he_normal": Scaled("in", math.sqrt(2)),
    "lecun_uniform": Scaled("in", uniform=True),
    "lecun_normal": Scaled("in"),
    "orthogonal": Orthogonal(),
    "identity": Identity(),
}
"""Those that layers take by name."""


def get_initializer(given: str | Initializer) -> Initializer:
    """The initialiser of that name; what is no string is one already.

    Raises:
        FuseJitError: there is none of this name.
    Example:
        >>> import fusejit as fj
        >>> fj.layers.get_initializer("ones")((2,), "float32").tolist()
        [1.0, 1.0]
    """
    if not isinstance(given, str):
        return given
    if given not in INITIALIZERS:
        raise FuseJitError(f"no initializer {given!r}; there are {', '.join(INITIALIZERS)}.")
    return INITIALIZERS[given]


def _fans(shape: Shape) -> tuple[int, int]:
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]
