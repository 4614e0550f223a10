"""Reports of lost effects and of reused memory: objects that change, results that must stay."""

from __future__ import annotations

from typing import Any

import numpy as np

import fusejit as fj
from tests.reports.helpers import Decorator, X, agrees


def test_a_counter_on_an_argument_counts_each_call() -> None:
    """tensorflow/tensorflow#31362: Python code that changes an object runs at each call."""

    class Counter:
        value = 0

    def situation(function: Decorator) -> Any:
        @function
        def f(x: Any, counter: Any) -> Any:
            counter.value += 1
            return fj.exp(x)

        counter, seen = Counter(), []
        for _ in range(5):
            seen += [counter.value, f(X, counter)]
        return [*seen, counter.value]

    agrees(situation, eager="the call changes counter.value")


class Model:
    items: list[Any] = []  # noqa: RUF012, a list on the class is what the report is about

    def forward(self, x: Any) -> Any:
        Model.items.append(x)
        return fj.exp(x)


def test_a_list_on_the_class_gets_every_item() -> None:
    """pytorch/pytorch#169253: appending to a list that the class owns is not dropped."""

    def situation(function: Decorator) -> Any:
        Model.items.clear()
        model: Any = Model()
        forward = model.forward
        model.forward = function(lambda x: forward(x))
        seen = [model.forward(X * float(n)) for n in range(4)]
        return [*seen, *Model.items]

    agrees(situation, eager="items")


def test_two_arguments_overlap_only_later() -> None:
    """pytorch/pytorch#139789: one argument is written; later the other is the same memory."""

    def situation(function: Decorator) -> Any:
        @function
        def write_and_read(a: Any, b: Any) -> Any:
            a.assign(a * 2.0)
            return fj.exp(b * 0.125) + a

        a, b = fj.Variable(fj.ones(3)), fj.Variable(fj.ones(3))
        seen = []
        for pair in ((a, b), (a, b), (a, a), (a, a), (b, a), (b, b), (a, b)):
            seen += [write_and_read(*pair), a.read(), b.read()]
        return seen

    agrees(situation, 4)


def test_two_ndarrays_overlap_only_later() -> None:
    """pytorch/pytorch#139789, with views of one ndarray, which Python writes."""

    def situation(function: Decorator) -> Any:
        @function
        def write_and_read(a: Any, b: Any) -> Any:
            a[1:] = 5.0
            return fj.exp(b)

        base, seen = np.arange(6, dtype="float32"), []
        for a, b in ((base[:3].copy(), base[3:].copy()), (base[:-1], base[1:])):
            for _ in range(3):
                seen.append(write_and_read(a, b))
                a *= 0.5
        return [*seen, fj.constant(base)]

    agrees(situation, eager="ndarray")


def test_an_earlier_result_is_kept() -> None:
    """pytorch/pytorch#170604: a second call does not write into the result of the first."""

    def situation(function: Decorator) -> Any:
        @function
        def product(x: Any) -> Any:
            return fj.matmul(x, x)

        values = [fj.constant(np.full((300, 300), n, np.float32)) for n in (1.0, 2.0, 3.0)]
        first = [product(x) for x in values]
        views = [y.numpy() for y in first]
        second = [product(product(x)) for x in reversed(values)]
        return [first, second, *(fj.constant(view) for view in views)]

    agrees(situation, 1)


def test_two_results_of_one_function_are_compared() -> None:
    """tinygrad/tinygrad#7020: f(a) == f(b) compares two results, not one buffer with itself."""

    def situation(function: Decorator) -> Any:
        @function
        def f(x: Any) -> Any:
            return x + 1.0

        a, b = fj.constant([1.1]), fj.constant([1.2])
        return [(f(a) == f(b), f(a) == f(a), f(b) - f(a), f(a), f(b)) for _ in range(3)]

    agrees(situation, 1)


def test_tensors_in_a_list_are_arguments() -> None:
    """tinygrad/tinygrad#10850: a new Tensor in a list, or deeper, is an input of that call."""

    def situation(function: Decorator) -> Any:
        @function
        def f(tensors: Any) -> Any:
            return tensors[0] + 1.0 + tensors[1]["bias"][0]

        seen = []
        for i in range(5):
            values = [fj.constant([float(i)]), {"bias": (fj.constant([float(i * i)]),)}]
            seen.append(f(values))
            values[0] = fj.constant([float(-i)])
            seen.append(f(values))
        return seen

    agrees(situation, 1)


def test_a_result_becomes_the_next_argument() -> None:
    """tinygrad/tinygrad#13364: state that is an input and an output, shifted through a buffer."""

    def situation(function: Decorator) -> Any:
        window = fj.Variable(fj.zeros(1 << 17))

        @function
        def shift(buffer: Any, new: Any) -> Any:
            half = buffer.shape[0] // 2
            before = window.read()
            window.assign(fj.concat([window[half:], new]))
            return fj.concat([buffer[half:], new]), buffer, before

        buffer, kept = fj.zeros(1 << 17), []
        for i in range(6):
            buffer, same_buffer, before = shift(buffer, fj.ones(1 << 16) * float(i))
            kept.append((buffer, same_buffer, before, window.read()))
        return kept

    agrees(situation, 1)
