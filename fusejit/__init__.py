"""fusejit: arrays that run op by op, and functions of them that run as native code."""

import sys as _sys
import typing as _typing
from importlib import import_module as _import_module
from math import e as e
from math import inf as inf
from math import nan as nan
from math import pi as pi

from . import random as random
from .autodiff import GradientTape as GradientTape
from .autodiff import custom_gradient as custom_gradient
from .autodiff import gradients_function as gradients_function
from .autodiff import implicit_gradients as implicit_gradients
from .autodiff import implicit_value_and_gradients as implicit_value_and_gradients
from .autodiff import value_and_gradients_function as value_and_gradients_function
from .backends.llvm.threads import get_num_threads as get_num_threads
from .backends.llvm.threads import set_num_threads as set_num_threads
from .capture.caches import cache_info as cache_info
from .capture.function import Function as Function
from .capture.function import clear_caches as clear_caches
from .capture.function import function as function
from .capture.policy import EagerWarning as EagerWarning
from .capture.policy import RecompileWarning as RecompileWarning
from .capture.policy import no_recompile as no_recompile
from .config import config as config
from .device import device as device
from .dtypes import bfloat16 as _bfloat16
from .errors import AxisError as AxisError
from .errors import CaptureError as CaptureError
from .errors import CheckError as CheckError
from .errors import DeviceError as DeviceError
from .errors import DTypeError as DTypeError
from .errors import ExportError as ExportError
from .errors import FileError as FileError
from .errors import FuseJitError as FuseJitError
from .errors import GradientError as GradientError
from .errors import LoweringError as LoweringError
from .errors import NonFiniteError as NonFiniteError
from .errors import RecompileError as RecompileError
from .errors import ShapeError as ShapeError
from .errors import VerifyError as VerifyError
from .ops import fourier as _fourier  # noqa: F401 - registers ops
from .ops import linalg as _linalg  # noqa: F401 - registers ops
from .ops import transfer as _transfer  # noqa: F401 - installs Tensor.to
from .ops.arithmetic import abs_ as _abs
from .ops.arithmetic import add as add
from .ops.arithmetic import divide as divide
from .ops.arithmetic import floor_divide as floor_divide
from .ops.arithmetic import multiply as multiply
from .ops.arithmetic import negative as negative
from .ops.arithmetic import positive as positive
from .ops.arithmetic import reciprocal as reciprocal
from .ops.arithmetic import remainder as remainder
from .ops.arithmetic import sign as sign
from .ops.arithmetic import sqrt as sqrt
from .ops.arithmetic import square as square
from .ops.arithmetic import subtract as subtract
from .ops.bitwise import bitwise_and as bitwise_and
from .ops.bitwise import bitwise_invert as bitwise_invert
from .ops.bitwise import bitwise_left_shift as bitwise_left_shift
from .ops.bitwise import bitwise_or as bitwise_or
from .ops.bitwise import bitwise_right_shift as bitwise_right_shift
from .ops.bitwise import bitwise_xor as bitwise_xor
from .ops.cast import astype as astype
from .ops.cast import conj as conj
from .ops.cast import imag as imag
from .ops.cast import real as real
from .ops.cast import stop_gradient as stop_gradient
from .ops.choose import clip as clip
from .ops.choose import maximum as maximum
from .ops.choose import minimum as minimum
from .ops.choose import where as where
from .ops.closeness import allclose as allclose
from .ops.closeness import array_equal as array_equal
from .ops.closeness import isclose as isclose
from .ops.closeness import isin as isin
from .ops.compare import equal as equal
from .ops.compare import greater as greater
from .ops.compare import greater_equal as greater_equal
from .ops.compare import isfinite as isfinite
from .ops.compare import isinf as isinf
from .ops.compare import isnan as isnan
from .ops.compare import less as less
from .ops.compare import less_equal as less_equal
from .ops.compare import logical_and as logical_and
from .ops.compare import logical_not as logical_not
from .ops.compare import logical_or as logical_or
from .ops.compare import logical_xor as logical_xor
from .ops.compare import not_equal as not_equal
from .ops.compare import signbit as signbit
from .ops.creation import arange as arange
from .ops.creation import constant as constant
from .ops.creation import empty as empty
from .ops.creation import empty_like as empty_like
from .ops.creation import eye as eye
from .ops.creation import full as full
from .ops.creation import full_like as full_like
from .ops.creation import iota as iota
from .ops.creation import linspace as linspace
from .ops.creation import meshgrid as meshgrid
from .ops.creation import one_hot as one_hot
from .ops.creation import ones as ones
from .ops.creation import ones_like as ones_like
from .ops.creation import tril as tril
from .ops.creation import triu as triu
from .ops.creation import zeros as zeros
from .ops.creation import zeros_like as zeros_like
from .ops.einsum import einsum as einsum
from .ops.index import nonzero as nonzero
from .ops.index import take_along_axis as take_along_axis
from .ops.interop import from_dlpack as from_dlpack
from .ops.interop import install as _install
from .ops.join import concat as concat
from .ops.join import pad as pad
from .ops.join import roll as roll
from .ops.join import split as split
from .ops.join import stack as stack
from .ops.join import tile as tile
from .ops.join import unstack as unstack
from .ops.matmul import cross as cross
from .ops.matmul import diagonal as diagonal
from .ops.matmul import matmul as matmul
from .ops.matmul import outer as outer
from .ops.matmul import tensordot as tensordot
from .ops.matmul import trace as trace
from .ops.matmul import vecdot as vecdot
from .ops.pick import repeat as repeat
from .ops.pick import take as take
from .ops.pick import topk as topk
from .ops.reduce import all as all
from .ops.reduce import any as any
from .ops.reduce import count_nonzero as count_nonzero
from .ops.reduce import max as max
from .ops.reduce import mean as mean
from .ops.reduce import min as min
from .ops.reduce import prod as prod
from .ops.reduce import std as std
from .ops.reduce import sum as sum
from .ops.reduce import var as var
from .ops.rounding import ceil as ceil
from .ops.rounding import copysign as copysign
from .ops.rounding import floor as floor
from .ops.rounding import nextafter as nextafter
from .ops.rounding import round as round
from .ops.rounding import trunc as trunc
from .ops.scan import cumulative_prod as cumulative_prod
from .ops.scan import cumulative_sum as cumulative_sum
from .ops.scan import diff as diff
from .ops.shape import broadcast_arrays as broadcast_arrays
from .ops.shape import broadcast_to as broadcast_to
from .ops.shape import expand_dims as expand_dims
from .ops.shape import flip as flip
from .ops.shape import matrix_transpose as matrix_transpose
from .ops.shape import moveaxis as moveaxis
from .ops.shape import permute_dims as permute_dims
from .ops.shape import reshape as reshape
from .ops.shape import squeeze as squeeze
from .ops.shape import swapaxes as swapaxes
from .ops.sorting import argmax as argmax
from .ops.sorting import argmin as argmin
from .ops.sorting import argsort as argsort
from .ops.sorting import searchsorted as searchsorted
from .ops.sorting import sort as sort
from .ops.sorting import unique_all as unique_all
from .ops.sorting import unique_counts as unique_counts
from .ops.sorting import unique_inverse as unique_inverse
from .ops.sorting import unique_values as unique_values
from .ops.transcendental import erf as erf
from .ops.transcendental import exp as exp
from .ops.transcendental import expm1 as expm1
from .ops.transcendental import hypot as hypot
from .ops.transcendental import log as log
from .ops.transcendental import log1p as log1p
from .ops.transcendental import log2 as log2
from .ops.transcendental import log10 as log10
from .ops.transcendental import logaddexp as logaddexp
from .ops.transcendental import pow as pow
from .ops.transcendental import sigmoid as sigmoid
from .ops.trigonometric import acos as acos
from .ops.trigonometric import acosh as acosh
from .ops.trigonometric import asin as asin
from .ops.trigonometric import asinh as asinh
from .ops.trigonometric import atan as atan
from .ops.trigonometric import atan2 as atan2
from .ops.trigonometric import atanh as atanh
from .ops.trigonometric import cos as cos
from .ops.trigonometric import cosh as cosh
from .ops.trigonometric import sin as sin
from .ops.trigonometric import sinh as sinh
from .ops.trigonometric import tan as tan
from .ops.trigonometric import tanh as tanh
from .ops.types import bool_ as _bool
from .ops.types import broadcast_shapes as broadcast_shapes
from .ops.types import can_cast as can_cast
from .ops.types import complex64 as complex64
from .ops.types import complex128 as complex128
from .ops.types import finfo as finfo
from .ops.types import float16 as float16
from .ops.types import float32 as float32
from .ops.types import float64 as float64
from .ops.types import iinfo as iinfo
from .ops.types import int8 as int8
from .ops.types import int16 as int16
from .ops.types import int32 as int32
from .ops.types import int64 as int64
from .ops.types import isdtype as isdtype
from .ops.types import result_type as result_type
from .ops.types import uint8 as uint8
from .ops.types import uint16 as uint16
from .ops.types import uint32 as uint32
from .ops.types import uint64 as uint64
from .tensor import Tensor as Tensor
from .tensor import asarray as asarray
from .variable import Variable as Variable

abs = _abs
bool = _bool
newaxis = None

if _typing.TYPE_CHECKING:
    from . import data as data
    from . import export as export
    from . import fft as fft
    from . import layers as layers
    from . import linalg as linalg
    from . import nn as nn
    from . import train as train
    from .data import Iterator as Iterator
    from .layers import Network as Network
    from .layers import Sequential as Sequential
    from .portable import load as load
    from .portable import save as save

    bfloat16 = _bfloat16()
else:
    __later__ = {
        **{n: n for n in ("data", "export", "fft", "layers", "linalg", "nn", "train")},
        "Iterator": "data",
        **dict.fromkeys(("Network", "Sequential"), "layers"),
        **dict.fromkeys(("load", "save"), "portable"),
    }
    """Names that are loaded when they are first asked for, and from where: to load them all at once
    takes 10 ms, as much as the rest. A recording loads what its code names before it looks."""

    def __getattr__(name):
        if name == "bfloat16":  # its package takes 4 ms to load
            return _bfloat16()  # not kept: it would be a change that a recorded function sees
        if name not in __later__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = _import_module("." + __later__[name], __name__)
        globals()[name] = found = found if name == __later__[name] else getattr(found, name)
        return found

    __all__ = [*(name for name in globals() if name[0] != "_"), *__later__, "bfloat16"]

    def __dir__():
        return sorted({*globals(), *__all__})


_install(_sys.modules[__name__])
