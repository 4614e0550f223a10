"""Objects with habits of their own: arrays written early, odd comparisons, equal dataclasses."""

from __future__ import annotations

import dataclasses
import types
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.capture import calls
from tests.capture.helpers import same
from tests.reports.helpers import Decorator, X, agrees


def test_an_ndarray_changes_before_its_plan_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "ahead", lambda *later: None)
    a = np.ones(3, np.float32)
    f = fj.function(lambda x: x * a)
    assert same(f(X), X * 1.0)
    a[:] = 7.0
    assert same(f(X), X * 7.0) and same(f(X), X * 7.0)
    a[:] = 1.0
    assert same(f(X), X * 1.0)
    assert f.num_traces == 2


class Odd:
    """Compares with nothing, and is neither hashed, measured nor shown."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def refuse(self, *_: object) -> Any:
        raise TypeError("not with me")

    __eq__ = __hash__ = __bool__ = __len__ = __repr__ = refuse


def test_an_object_that_cannot_be_compared_is_not_compared() -> None:
    def situation(function: Decorator) -> Any:
        odd, seen = Odd(2.0), []
        f, g = function(lambda x: x * odd.scale), function(lambda x, o: x * o.scale)
        for scale in (2.0, 2.0, 3.0):
            odd.scale = scale
            seen += [f(X), g(X, odd), g(X, Odd(scale))]
        return seen

    agrees(situation, 2, 2)


class Proud(type):
    """A metaclass whose classes may not be compared."""

    def __eq__(cls, other: object) -> bool:
        raise TypeError("not with me")

    __hash__ = type.__hash__


def test_a_class_that_cannot_be_compared_is_not_compared() -> None:
    class Scale(metaclass=Proud):
        def __init__(self, by: float) -> None:
            self.by = by

    def situation(function: Decorator) -> Any:
        kind, seen = types.SimpleNamespace(by=2.0), []
        f = function(lambda x: x * Scale(kind.by).by)
        for by in (2.0, 2.0, 3.0):
            kind.by = by
            seen.append(f(X))
        return seen

    agrees(situation, 2)


def test_classes_are_told_apart_whatever_their_metaclass_says() -> None:
    class Alike(type):
        def __eq__(cls, other: object) -> bool:
            return True

        def __hash__(cls) -> int:
            return 1

    kinds = [Alike("Scale", (), {"by": by}) for by in (2.0, 3.0, 2.0)]

    def situation(function: Decorator) -> Any:
        f = function(lambda x, kind: x * kind.by)
        return [f(X, kind) for kind in (*kinds, *kinds)]

    agrees(situation, 3)


@dataclasses.dataclass(frozen=True)
class Frozen:
    scale: float
    parts: tuple[float, ...] = ()


@dataclasses.dataclass(slots=True)
class Slots:
    scale: Any
    parts: Any = None


@pytest.mark.parametrize("kind", [Frozen, Slots])
def test_an_equal_dataclass_does_for_another(kind: Any) -> None:
    def body(x: Any, o: Any) -> Any:
        return x * o.scale - len(o.parts)

    def situation(function: Decorator) -> Any:
        f, seen = function(body), []
        for number in range(12):
            seen.append(f(X, kind(2.0 + number // 6, (1.0,))))
        return seen

    agrees(situation, 2)


def test_fields_of_a_dataclass_are_inputs() -> None:
    def situation(function: Decorator) -> Any:
        f = function(lambda p: p.scale * p.parts[0])
        return [f(Slots(X, (X + number,))) for number in range(5)]

    agrees(situation, 1)


def test_many_tensors_and_a_comparison_by_identity() -> None:
    tensors, mode = [fj.constant(float(n)) for n in range(300)], "sum"

    def body(x: Any) -> Any:
        if mode in ("sum", "product") and tensors[0] is not tensors[1]:
            for each in tensors:
                x = x + each
        return x

    def situation(function: Decorator) -> Any:
        f, kept = function(body), tensors[1]
        seen = [f(X), f(X), f(X)]
        tensors[1] = tensors[0]
        seen += [f(X), f(X)]
        tensors[1] = kept
        return [*seen, f(X)]

    agrees(situation, 2)
