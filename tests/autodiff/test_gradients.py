"""Functions of functions: gradients by argument and by Variable."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import numpy as np
import pytest

import fusejit as fj


def f(a: Any, b: Any, c: Any = 1.0) -> Any:
    """A documented function."""
    return a * b + b * c


def numbers(gradients: list[Any]) -> list[float]:
    return [float(g) for g in gradients]


def test_all_positional_arguments_by_default() -> None:
    assert numbers(fj.gradients_function(f)(2.0, 3.0)) == [3.0, 3.0]
    assert numbers(fj.gradients_function(f)(2.0, 3.0, 4.0)) == [3.0, 6.0, 3.0]
    assert numbers(fj.gradients_function(f)(2.0, 3.0, c=4.0)) == [3.0, 6.0]


@pytest.mark.parametrize(
    ("params", "expected"),
    [(["b"], [6.0]), ([1], [6.0]), ("b", [6.0]), (-2, [6.0]), (["c", 0], [3.0, 3.0])],
)
def test_arguments_by_name_and_position(params: Any, expected: list[float]) -> None:
    assert numbers(fj.gradients_function(f, params)(2.0, 3.0, 4.0)) == expected


def test_an_argument_passed_by_name() -> None:
    assert numbers(fj.gradients_function(f, ["c", "a"])(2.0, b=3.0, c=4.0)) == [3.0, 3.0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("d", "there is no argument 'd'; its arguments are a, b, c"),
        ("c", "argument 'c' was not passed"),
        (2, "argument 2 was not passed"),
        (["a", 0], "an argument twice"),
    ],
)
def test_wrong_arguments_are_explained(params: Any, message: str) -> None:
    with pytest.raises(fj.GradientError, match=message):
        fj.gradients_function(f, params)(2.0, 3.0)


def test_only_floats_are_differentiated() -> None:
    def power(x: Any, n: int, label: str, mask: Any) -> Any:
        assert (type(n), label, mask.dtype) == (int, "cube", bool)
        for _ in range(n - 1):
            x = x * 2.0
        return x

    found = fj.gradients_function(power)(1.0, 3, "cube", np.array([True]))
    assert float(found[0]) == 4.0
    assert found[1:] == [None, None, None]


def test_an_int_is_no_float() -> None:
    with pytest.raises(fj.GradientError, match="expected a float, got int 3"):
        fj.gradients_function(fj.square)(3)
    with pytest.raises(fj.GradientError, match="argument 1 holds no floats; got int 3"):
        fj.gradients_function(f, 1)(2.0, 3)


@pytest.mark.parametrize(
    "value",
    [3.0, np.float32(3.0), fj.constant(3.0), fj.Variable(3.0), np.array(3.0, np.float32)],
    ids=["float", "generic", "Tensor", "Variable", "ndarray"],
)
def test_kinds_of_arguments(value: Any) -> None:
    (found,) = fj.gradients_function(lambda x: x * x)(value)
    assert (float(found), found.dtype) == (6.0, np.float32)


def test_a_list_of_numbers_is_an_array() -> None:
    (found,) = fj.gradients_function(lambda x: fj.matmul(x, x))([[1.0, 2.0], [3.0, 4.0]])
    assert found.tolist() == [[7.0, 11.0], [9.0, 13.0]]


class Layer(NamedTuple):
    weight: Any
    bias: Any


def test_gradients_nest_as_arguments_do() -> None:
    def loss(params: dict[str, Any], x: Any) -> Any:
        (layer,) = params["layers"]
        return fj.sum(x * layer.weight + layer.bias) * params["scale"]

    params = {"layers": [Layer(fj.ones((2,)), fj.Variable([0.0, 0.0]))], "scale": 2.0, "n": 3}
    found = fj.gradients_function(loss, "params")(params, [1.0, 2.0])[0]
    assert found["layers"][0].weight.tolist() == [2.0, 4.0]
    assert found["layers"][0].bias.tolist() == [2.0, 2.0]
    assert float(found["scale"]) == 3.0
    assert found["n"] is None


def test_the_gradient_is_of_the_sum_of_the_results() -> None:
    def several(x: Any) -> Any:
        return {"a": x * 2.0, "b": (x * x, fj.astype(x, "int64"))}

    assert fj.gradients_function(several)([1.0, 2.0])[0].tolist() == [4.0, 6.0]


def test_an_argument_that_does_not_matter_has_zeros() -> None:
    found = fj.gradients_function(lambda x, y: x)(1.0, np.ones((2, 3)))[1]
    assert (found.shape, found.dtype) == ((2, 3), np.float64)
    assert not found.numpy().any()


@pytest.mark.parametrize("lost", [float, lambda x: x.numpy(), lambda x: x > 0.0, lambda x: None])
def test_a_result_that_lost_its_gradient_is_an_error(lost: Any) -> None:
    with pytest.raises(fj.GradientError, match="must return a floating Tensor"):
        fj.gradients_function(lambda x: lost(x * x))(1.0)


def test_one_tensor_passed_twice_has_two_gradients() -> None:
    x = fj.constant(3.0)
    assert numbers(fj.gradients_function(lambda a, b: a * a * b)(x, x)) == [18.0, 9.0]


def test_what_is_reached_otherwise_is_constant() -> None:
    x, v = fj.constant(3.0), fj.Variable(3.0)
    assert numbers(fj.gradients_function(lambda a: a * x)(x)) == [3.0]
    assert numbers(fj.gradients_function(lambda a: a * v)(v)) == [3.0]


def test_gradients_of_gradients() -> None:
    def fourth(x: Any) -> Any:
        return x * x * x * x

    first = fj.gradients_function(fourth)
    second = fj.gradients_function(lambda x: first(x)[0])
    third = fj.gradients_function(lambda x: second(x)[0])
    assert numbers([g(2.0)[0] for g in (first, second, third)]) == [32.0, 48.0, 48.0]
    assert numbers(fj.gradients_function(first)(2.0)) == [48.0]


def test_mixed_derivatives() -> None:
    inner = fj.gradients_function(lambda x, y: x * x * y, "x")
    assert numbers(fj.gradients_function(lambda x, y: inner(x, y)[0], "y")(3.0, 5.0)) == [6.0]


def test_value_and_gradients() -> None:
    value, gradients = fj.value_and_gradients_function(f, ["a"])(2.0, 3.0)
    assert (float(value), numbers(gradients)) == (9.0, [3.0])


def test_ops_are_functions_too() -> None:
    assert numbers(fj.gradients_function(fj.multiply)(2.0, 3.0)) == [3.0, 2.0]
    with pytest.raises(fj.GradientError, match="no argument 'x'"):
        fj.gradients_function(fj.multiply, "x")(2.0, 3.0)


def test_implicit_gradients() -> None:
    w, b, unused = fj.Variable([1.0, 2.0], name="w"), fj.Variable(0.5), fj.Variable(1.0)
    frozen = fj.Variable(3.0, trainable=False)

    def loss(x: Any) -> Any:
        unused.read()
        return fj.sum(w * x) * frozen + b

    value, pairs = fj.implicit_value_and_gradients(loss)([3.0, 4.0])
    assert float(value) == 33.5
    assert [v for _, v in pairs] == [unused, w, b]
    assert [g.tolist() for g, _ in pairs] == [0.0, [9.0, 12.0], 1.0]
    assert [g.tolist() for g, _ in fj.implicit_gradients(loss)([3.0, 4.0])] == [
        0.0,
        [9.0, 12.0],
        1.0,
    ]


def test_implicit_gradients_need_a_variable() -> None:
    with pytest.raises(fj.GradientError, match="read no trainable Variable"):
        fj.implicit_gradients(lambda x: x)(fj.constant(1.0))


def test_a_gradient_penalty() -> None:
    """Implicit gradients of a function that takes a gradient itself."""
    w = fj.Variable(3.0)

    def penalty(x: Any) -> Any:
        (slope,) = fj.gradients_function(lambda a: w * a * a)(x)
        return slope * slope  # (2 w x)^2

    assert float(fj.implicit_gradients(penalty)(5.0)[0][0]) == 8 * 3.0 * 25.0


@pytest.mark.parametrize(
    "make",
    [
        fj.gradients_function,
        fj.value_and_gradients_function,
        fj.implicit_gradients,
        fj.implicit_value_and_gradients,
    ],
)
def test_metadata(make: Any) -> None:
    made = make(f)
    assert made.__name__ == f"{make.__name__}(f)"
    assert made.__doc__ == "A documented function."
    assert list(inspect.signature(made).parameters) == ["a", "b", "c"]
