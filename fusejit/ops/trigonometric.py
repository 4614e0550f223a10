"""Trigonometric and hyperbolic functions, and their inverses."""

from __future__ import annotations

import numpy as np

from ..numerics import exponential, logarithm, trigonometric
from ..op import FLOATING, REAL_FLOATING, Elementwise, elementwise
from .arithmetic import sqrt

sin = elementwise(
    "sin",
    numpy=np.sin,
    scalar=trigonometric.sin,
    vjp=lambda g, x: (g * cos(x),),
    dtype=FLOATING,
    exact=False,
    doc="The sine of x radians.",
)

cos: Elementwise = elementwise(
    "cos",
    numpy=np.cos,
    scalar=trigonometric.cos,
    vjp=lambda g, x: (-g * sin(x),),
    dtype=FLOATING,
    exact=False,
    doc="The cosine of x radians.",
)

tan = elementwise(
    "tan",
    numpy=np.tan,
    scalar=trigonometric.tan,
    vjp=lambda g, y: (g * (1 + y * y),),
    dtype=FLOATING,
    exact=False,
    domain=(-1.4, 1.4),
    doc="The tangent of x radians.",
)

asin = elementwise(
    "asin",
    numpy=np.arcsin,
    scalar=trigonometric.asin,
    vjp=lambda g, x: (g / sqrt(1 - x * x),),
    dtype=FLOATING,
    exact=False,
    domain=(-0.9, 0.9),
    doc="The angle, from -pi/2 to pi/2, whose sine is x.",
)

acos = elementwise(
    "acos",
    numpy=np.arccos,
    scalar=trigonometric.acos,
    vjp=lambda g, x: (-g / sqrt(1 - x * x),),
    dtype=FLOATING,
    exact=False,
    domain=(-0.9, 0.9),
    doc="The angle, from 0 to pi, whose cosine is x.",
)

atan = elementwise(
    "atan",
    numpy=np.arctan,
    scalar=trigonometric.atan,
    vjp=lambda g, x: (g / (1 + x * x),),
    dtype=FLOATING,
    exact=False,
    doc="The angle, from -pi/2 to pi/2, whose tangent is x.",
)

atan2 = elementwise(
    "atan2",
    numpy=np.arctan2,
    scalar=trigonometric.atan2,
    inputs=("a", "b"),
    vjp=lambda g, a, b: (g * b / (a * a + b * b), -g * a / (a * a + b * b)),
    dtype=REAL_FLOATING,
    exact=False,
    domain=(0.1, 4.0),
    doc="The angle, from -pi to pi, of the point with x-coordinate b and y-coordinate a.",
)

sinh = elementwise(
    "sinh",
    numpy=np.sinh,
    scalar=exponential.sinh,
    vjp=lambda g, x: (g * cosh(x),),
    dtype=FLOATING,
    exact=False,
    doc="The hyperbolic sine.",
)

cosh: Elementwise = elementwise(
    "cosh",
    numpy=np.cosh,
    scalar=exponential.cosh,
    vjp=lambda g, x: (g * sinh(x),),
    dtype=FLOATING,
    exact=False,
    doc="The hyperbolic cosine.",
)

tanh = elementwise(
    "tanh",
    numpy=np.tanh,
    scalar=exponential.tanh,
    vjp=lambda g, y: (g * (1 - y * y),),
    dtype=FLOATING,
    exact=False,
    doc="The hyperbolic tangent.",
)

asinh = elementwise(
    "asinh",
    numpy=np.arcsinh,
    scalar=logarithm.asinh,
    vjp=lambda g, x: (g / sqrt(x * x + 1),),
    dtype=FLOATING,
    exact=False,
    doc="The number whose hyperbolic sine is x.",
)

acosh = elementwise(
    "acosh",
    numpy=np.arccosh,
    scalar=logarithm.acosh,
    vjp=lambda g, x: (g / (sqrt(x - 1) * sqrt(x + 1)),),
    dtype=FLOATING,
    exact=False,
    domain=(1.1, 4.0),
    doc="The number >= 0 whose hyperbolic cosine is x.",
)

atanh = elementwise(
    "atanh",
    numpy=np.arctanh,
    scalar=logarithm.atanh,
    vjp=lambda g, x: (g / (1 - x * x),),
    dtype=FLOATING,
    exact=False,
    domain=(-0.9, 0.9),
    doc="The number whose hyperbolic tangent is x.",
)
