"""Affine expressions of the indices of a loop: how a view says where its elements come from."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple


class Affine(NamedTuple):
    """constant + sum(coefficients[k] * index k), all integers.

    A tuple, since places are the keys of all that follows them: to hash and to compare a dataclass
    took a third of the time of finding out what a kernel reads. Its + and * are arithmetic.
    """

    constant: int
    coefficients: tuple[int, ...]

    def __add__(self, other: Affine | int) -> Affine:  # type: ignore[override]
        if isinstance(other, int):
            return Affine(self.constant + other, self.coefficients) if other else self
        pairs = zip(self.coefficients, other.coefficients, strict=True)
        return Affine(self.constant + other.constant, tuple([a + b for a, b in pairs]))

    def __radd__(self, other: int) -> Affine:
        return self + other

    def __mul__(self, factor: int) -> Affine:  # type: ignore[override]
        if factor == 1:
            return self
        return Affine(self.constant * factor, tuple([c * factor for c in self.coefficients]))

    def __rmul__(self, factor: int) -> Affine:  # type: ignore[override]
        return self * factor

    def __neg__(self) -> Affine:
        return self * -1

    def __sub__(self, other: Affine | int) -> Affine:
        return self + other * -1

    def __rsub__(self, other: int) -> Affine:
        return -self + other


@cache  # one entry a rank
def identity(rank: int) -> tuple[Affine, ...]:
    """The indices themselves."""
    return tuple(Affine(0, tuple(int(i == k) for i in range(rank))) for k in range(rank))


@cache  # one entry a rank
def zero(rank: int) -> Affine:
    return Affine(0, (0,) * rank)


def linear(place: tuple[Affine, ...], shape: tuple[int, ...], rank: int) -> Affine:
    """The row-major number of the element at `place` of an array of `shape`."""
    constant, coefficients, stride = 0, [0] * rank, 1
    for index, extent in zip(reversed(place), reversed(shape), strict=True):
        constant += index.constant * stride
        for k, coefficient in enumerate(index.coefficients):
            coefficients[k] += coefficient * stride
        stride *= extent
    return Affine(constant, tuple(coefficients))
