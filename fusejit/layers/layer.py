"""Layer: a callable that owns Variables, and other layers, as its attributes.

Terminology
    tracked     A Variable or Layer that is an attribute, or stands in a list, tuple or dict that is
                one. Nothing is registered: what is tracked is read off the attributes when asked.
    path        How one comes to it: "layer1/kernel", "blocks/0/norm/scale".
    first call  Makes the variables, from the shapes of the inputs. A decorated function records the
                call after it, because the first one changed the layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any, ClassVar

from ..dtypes import as_dtype, default_float
from ..errors import DTypeError, FuseJitError, ShapeError
from ..operators import ArrayLike, Operators
from ..ops.cast import astype
from ..scalar import DType
from ..tensor import Tensor, asarray
from ..variable import Variable
from .initializers import Initializer, get_initializer
from .regularizers import Regularizer

Shape = tuple[int, ...]


class Layer:
    """The base of all layers: subclasses define `call`, and `make_variables` if they have any.

    `layer(*inputs)` is `layer.call(*inputs)`, after `layer.make_variables(*shapes)` at the first
    call. A call must not change attributes: counters and the like are Variables.

    Args:
        dtype: of the variables, which floating inputs are cast to; default float32 (see
            `config.default_float`).
    Example:
        >>> import fusejit as fj
        >>> class Scale(fj.layers.Layer):
        ...     def make_variables(self, shape):
        ...         self.add_variable("factor", shape[-1:], "ones")
        ...
        ...     def call(self, x):
        ...         return x * self.factor
        >>> layer = Scale()
        >>> layer(fj.constant([[1.0, 2.0]])).tolist()
        [[1.0, 2.0]]
        >>> list(layer.named_variables())
        ['factor']
    """

    _parameters: ClassVar[tuple[str, ...]] = ()  # of `call`
    _takes_training: ClassVar[bool] = False  # whether `call` has a parameter of that name
    _shapes_taken: ClassVar[int | None] = None  # how many `make_variables` has parameters for
    # Defaults of the class, so that a subclass need not call __init__.
    dtype: DType | None = None
    built = False
    """Whether the layer's own variables have been made."""
    _called = False
    _path = ""
    _trainable = True
    _frozen: tuple[Variable, ...] = ()  # own variables that `trainable = False` froze
    _penalties: tuple[tuple[Variable, Regularizer], ...] = ()
    _extra: tuple[Layer, ...] = ()  # tracked by `track_layer`
    _outputs: tuple[str, ...] = ()  # types of what the first call returned

    def __init__(self, *, dtype: object = None) -> None:
        if dtype is not None:
            self.dtype = as_dtype(dtype)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            raise FuseJitError(
                f"{cls.__name__}: define `make_variables(self, *shapes)`, not `build`, which calls "
                "it once."
            )
        # Read off the code: signatures of all layers would take 2 ms of every import.
        call, make = _code(cls.call), _code(cls.make_variables)
        names = call.co_varnames[: call.co_argcount + call.co_kwonlyargcount]
        cls._parameters = names[1:]
        cls._takes_training = "training" in names or bool(call.co_flags & inspect.CO_VARKEYWORDS)
        if not make.co_flags & inspect.CO_VARARGS:
            cls._shapes_taken = make.co_argcount - 1

    # ---- calling

    def call(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the layer computes; for subclasses."""
        raise FuseJitError(f"{self._label}: {type(self).__name__} does not define `call`.")

    def make_variables(self, *shapes: Any) -> None:
        """Make the layer's own variables for inputs of these shapes; for subclasses.

        It is given as many shapes as it has parameters; None for an input that is no array.
        """

    def __call__(self, *inputs: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """`call`, which gets `training` only if it takes that."""
        if training is not None and self._takes_training:
            kwargs["training"] = training
        if self._called:
            return self.call(*inputs, **kwargs)
        return self._first_call(inputs, kwargs)

    def build(self, *shapes: Any) -> None:
        """Make the variables for inputs of these shapes now, not at the first call.

        Example:
            >>> import fusejit as fj
            >>> layer = fj.layers.Dense(2)
            >>> layer.build((1, 3))
            >>> layer.kernel.shape
            (3, 2)
        """
        self._build(shapes)

    def _build(self, shapes: Sequence[Any]) -> None:
        if self.built:
            return
        before = self._settle()
        self.make_variables(*shapes[: self._shapes_taken])
        self.built = True
        made = [item for item in self._settle() if item not in before]
        for item in made if not self._trainable else ():
            if isinstance(item, Layer):
                item._freeze(True)

    def _first_call(self, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        self._settle()
        given = [*inputs, *(kwargs[name] for name in self._parameters if name in kwargs)]
        Layer._build(self, [_shape(each) for each in given])
        result = self.call(*inputs, **kwargs)
        self._settle()
        self._outputs = tuple(_types(result))
        self._called = True
        return result

    # ---- variables

    def add_variable(
        self,
        name: str,
        shape: Sequence[int],
        initializer: str | Initializer = "glorot_uniform",
        *,
        trainable: bool = True,
        regularizer: Regularizer | None = None,
    ) -> Variable:
        """Make the attribute `name` a Variable of the layer's dtype, and return it.

        Args:
            name: of the attribute, and the end of the variable's path.
            shape: of the variable.
            initializer: a name or a function, see `fj.layers.INITIALIZERS`.
            trainable: whether training changes it.
            regularizer: a penalty, see `regularization_loss`.
        """
        value = get_initializer(initializer)(tuple(shape), self.variable_dtype)
        variable = Variable(value, name=_join(self._path, name), trainable=trainable)
        setattr(self, name, variable)
        if regularizer is not None:
            self._penalties = (*self._penalties, (variable, regularizer))
        return variable

    @property
    def variable_dtype(self) -> DType:
        return self.dtype or default_float()

    def named_variables(self) -> dict[str, Variable]:
        """All variables by path, in the order of the attributes; one met twice has its first path.

        Raises:
            FuseJitError: two have the same path, as of keys 0 and "0" in one dict.
        Example:
            >>> import fusejit as fj
            >>> model = fj.Sequential([fj.layers.Dense(3), fj.layers.Dense(2)])
            >>> _ = model(fj.zeros((1, 4)))
            >>> list(model.named_variables())
            ['layers/0/kernel', 'layers/0/bias', 'layers/1/kernel', 'layers/1/bias']
        """
        found = self._settle()
        return _by_path(found, [item for item in found if isinstance(item, Variable)])

    def named_layers(self) -> dict[str, Layer]:
        """All layers inside this one by path, in the order of the attributes."""
        found = self._settle()
        return _by_path(
            found, [item for item in found if isinstance(item, Layer) and item is not self]
        )

    @property
    def variables(self) -> list[Variable]:
        return list(self.named_variables().values())

    @property
    def trainable_variables(self) -> list[Variable]:
        return [variable for variable in self.variables if variable.trainable]

    @property
    def trainable(self) -> bool:
        """Whether training changes the layer. False freezes all variables in it, also those that
        are yet to be made; True thaws what that has frozen."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in (self, *self.named_layers().values()):
            layer._freeze(not value)

    def _freeze(self, freeze: bool) -> None:
        self._trainable = not freeze
        if freeze:
            own = [item for _, item in self._own() if isinstance(item, Variable)]
            changed = tuple(variable for variable in own if variable.trainable)
            if changed:
                self._frozen = (*self._frozen, *changed)
        else:
            changed, self._frozen = self._frozen, ()
        for variable in changed:
            variable.trainable = not freeze

    def regularization_loss(self) -> Tensor:
        """The sum of the penalties of all layers, to be added to a loss; 0 if there are none.

        Example:
            >>> import fusejit as fj
            >>> layer = fj.layers.Dense(
            ...     1, kernel_initializer="ones", kernel_regularizer=fj.layers.L2(0.1)
            ... )
            >>> _ = layer(fj.zeros((1, 5)))
            >>> float(layer.regularization_loss())
            0.5
        """
        total = asarray(0.0, dtype=self.variable_dtype)
        for layer in (self, *self.named_layers().values()):
            for variable, regularizer in layer._penalties:
                total = total + regularizer(variable)
        return total

    # ---- what is tracked

    def _own(self) -> Iterator[tuple[str, Layer | Variable]]:
        """(name, item) of what is tracked here and not inside of another layer."""
        seen: dict[Layer | Variable, None] = {}
        for name, value in vars(self).items():
            found = () if name in _BOOKKEEPING else _tracked(value, name)
            for path, item in found:
                if item not in seen:
                    seen[item] = None
                    yield path, item
        for number, layer in enumerate(self._extra):
            if layer not in seen:
                yield f"{type(layer).__name__.lower()}_{number}", layer

    def _settle(self) -> dict[Layer | Variable, str]:
        """The path, from here, of each item tracked here or further in, and of this layer: "".

        Items are told their paths from the outermost layer that has been called.
        """
        found: dict[Layer | Variable, str] = {self: ""}
        _walk(self, "", found)
        for item, path in found.items():
            whole = _join(self._path, path)
            if isinstance(item, Variable):
                if item.name != whole:
                    item.name = whole
            elif item._path != whole:
                item._path = whole
        if not self._trainable:
            self._freeze(True)
        return found

    # ---- for subclasses' `call`

    @property
    def _label(self) -> str:
        """How errors name the layer: "Dense layer1"."""
        return f"{type(self).__name__} {self._path}".strip()

    def as_input(self, x: ArrayLike, rank: int | None = None) -> Tensor:
        """`x` as a Tensor of the layer's dtype.

        Raises:
            DTypeError: x is complex.
            ShapeError: x has other than `rank` axes.
        """
        tensor = asarray(x)
        if tensor.dtype.kind == "c":
            raise DTypeError(f"{self._label}: expected real numbers, got {tensor.type}.")
        if rank is not None and tensor.ndim != rank:
            raise ShapeError(
                f"{self._label}: expected an input of {rank} axes, got {tensor.type}; "
                "reshape it, a single example as a batch of one."
            )
        return astype(tensor, self.variable_dtype)

    def features_of(self, shape: Shape | None) -> int:
        """The last extent of an input's shape; ShapeError if there is none."""
        if not shape:
            raise ShapeError(
                f"{self._label}: expected an input with an axis of features, got "
                f"{'no array' if shape is None else 'a number'}."
            )
        return shape[-1]

    def check_features(self, x: Tensor, expected: int) -> None:
        """ShapeError if the last axis of `x` is not what the variables were made for."""
        if not x.ndim or x.shape[-1] != expected:
            raise ShapeError(
                f"{self._label}: expected an input whose last axis is {expected}, which the "
                f"variables were made for, got {x.type}; reshape it, or make a new layer."
            )

    def __repr__(self) -> str:
        inner = [(name, item) for name, item in self._own() if isinstance(item, Layer)]
        head = f"{type(self).__name__}({', '.join(self._arguments())})"
        if not inner:
            return head
        lines = [f"{name}: {item!r}".replace("\n", "\n  ") for name, item in inner]
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"

    def _arguments(self) -> Iterator[str]:
        """`name=value` of the arguments of __init__ that are attributes and no defaults."""
        for parameter in inspect.signature(type(self).__init__).parameters.values():
            value = vars(self).get(parameter.name)
            plain = isinstance(value, (bool, int, float, str, tuple)) or callable(value)
            if plain and value is not parameter.default and value != parameter.default:
                shown = getattr(value, "__name__", None) or repr(value)
                yield f"{parameter.name}={shown}"


_BOOKKEEPING = frozenset(["_frozen", "_penalties", "_extra"])


def _code(method: Callable[..., Any]) -> CodeType:
    code: CodeType = inspect.unwrap(method).__code__
    return code


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path and name else path or name


def _tracked(value: Any, path: str) -> Iterator[tuple[str, Layer | Variable]]:
    if isinstance(value, (Layer, Variable)):
        yield path, value
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _tracked(item, f"{path}/{number}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tracked(item, f"{path}/{key}")


def _walk(layer: Layer, path: str, found: dict[Layer | Variable, str]) -> None:
    for name, item in layer._own():
        if item not in found:
            found[item] = _join(path, name)
            if isinstance(item, Layer):
                _walk(item, found[item], found)


def _by_path(found: dict[Any, str], items: Sequence[Any]) -> dict[str, Any]:
    paths = {found[item]: item for item in items}
    if len(paths) != len(items):
        names = [found[item] for item in items]
        twice = next(name for name in names if names.count(name) > 1)
        raise FuseJitError(f"two variables or layers have the path {twice!r}; rename one.")
    return paths


def _shape(value: Any) -> Shape | None:
    """The shape of an array-like input; None for other arguments (states, flags, None)."""
    if isinstance(value, Operators) or hasattr(value, "shape"):
        return tuple(value.shape)
    if isinstance(value, list) or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return asarray(value).shape
    return None


def _types(result: Any) -> Iterator[str]:
    if isinstance(result, (Tensor, Variable)):
        yield str(result.type)
    elif isinstance(result, (list, tuple)):
        for item in result:
            yield from _types(item)
    elif isinstance(result, dict):
        for item in result.values():
            yield from _types(item)
