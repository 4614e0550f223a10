"""A model under construction: nodes and constants by names of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dtypes import TensorType, is_bfloat16
from ..errors import ExportError
from ..op import Array
from ..scalar import I64, DType

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET, IR_VERSION = 18, 9
"""From 2023: the first with bitwise ops and with the axes of all reductions as inputs. Runtimes
read older models, and few need newer ones."""
_TYPES = {
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "float16": "FLOAT16",
    **{name: name.upper() for name in ("bool", "int8", "int16", "int32", "int64")},
    **{name: name.upper() for name in ("uint8", "uint16", "uint32", "uint64")},
}


def unsupported(dtype: DType) -> bool:
    """Whether models have no such type here: bfloat16, complex."""
    return is_bfloat16(dtype) or dtype.name not in _TYPES


class Writer:
    """Collects the parts of one model.

    Raises:
        ExportError: the package onnx is not installed.
    """

    def __init__(self, name: str) -> None:
        try:
            import onnx
        except ImportError:
            raise ExportError("the package onnx is missing: pip install fusejit[onnx]") from None
        self._onnx = onnx
        self._name = name
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: dict[tuple[Any, ...], str] = {}
        self._initializers: list[Any] = []
        self._taken: set[str] = set()

    def input(self, name: str, type: TensorType) -> str:
        found = self._fresh(name)
        self._inputs.append(self._described(found, type))
        return found

    def output(self, value: str, name: str, type: TensorType) -> None:
        """Give a value out under a name; one value may have several."""
        found = self._fresh(name)
        self.node("Identity", [value], named=found)
        self._outputs.append(self._described(found, type))

    def constant(self, array: Array, name: str = "constant") -> str:
        """An array as an initializer; equal ones are one."""
        if unsupported(array.dtype):
            raise ExportError(f"{array.dtype} is no type of its tensors")
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._constants:
            found = self._constants[key] = self._fresh(name)
            whole = np.array(array, order="C")
            self._initializers.append(self._onnx.numpy_helper.from_array(whole, found))
        return self._constants[key]

    def is_constant(self, name: str) -> bool:
        return name in self._constants.values()

    def shape(self, numbers: Sequence[int]) -> str:
        """Numbers as an operand: a shape, axes, ends."""
        return self.constant(np.array([*numbers], I64))

    def scalar(self, number: bool | int | float, dtype: DType) -> str:
        return self.constant(np.array(number, dtype))

    def node(self, kind: str, inputs: Sequence[str], *, named: str = "", **fields: Any) -> str:
        """Another node; the name of its one output."""
        output = named or self._fresh(kind.lower())
        self._nodes.append(self._onnx.helper.make_node(kind, [*inputs], [output], **fields))
        return output

    def cast(self, x: str, dtype: DType) -> str:
        return self.node("Cast", [x], to=self._type(dtype))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return self.node("Reshape", [x, self.shape(shape)], allowzero=1)

    def expand(self, x: str, shape: Sequence[int]) -> str:
        return self.node("Expand", [x, self.shape(shape)])

    def model(self) -> ModelProto:
        """The model, checked by onnx itself."""
        helper = self._onnx.helper
        parts = (self._nodes, self._name, self._inputs, self._outputs, self._initializers)
        opset = [helper.make_opsetid("", OPSET)]
        model: ModelProto = helper.make_model(
            helper.make_graph(*parts), producer_name="fusejit", opset_imports=opset
        )
        model.ir_version = IR_VERSION
        self._onnx.checker.check_model(model)
        return model

    def _described(self, name: str, type: TensorType) -> Any:
        if unsupported(type.dtype):
            raise ExportError(f"{name}: {type} is no type of its tensors")
        return self._onnx.helper.make_tensor_value_info(name, self._type(type.dtype), [*type.shape])

    def _type(self, dtype: DType) -> int:
        return int(getattr(self._onnx.TensorProto, _TYPES[dtype.name]))

    def _fresh(self, wanted: str) -> str:
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}.{count}"
        self._taken.add(name)
        return name
