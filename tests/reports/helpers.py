"""Silent wrong answers that users of other systems reported, as situations of our own.

Each is run without a decorator, with `@fj.function` and with a decorator that is stale on purpose:
what it observes must be the same bits in the first two, and different in the third.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import fusejit as fj
from tests.capture.helpers import one_eager_warning, same

Decorator = Callable[[Callable[..., Any]], Any]
X = fj.constant([1.0, 2.0, -3.0])


def stale(body: Callable[..., Any]) -> Callable[..., Any]:
    """The first answer for each number of arguments, for ever: what the reports complain about."""
    answers: dict[int, Any] = {}

    def replay(*args: Any) -> Any:
        if len(args) not in answers:
            answers[len(args)] = body(*args)
        return answers[len(args)]

    return replay


def agrees(situation: Callable[[Decorator], Any], *traces: int, eager: str = "") -> None:
    """What `situation(decorator)` observes is what it would observe without a decorator.

    `traces`, where given: how often each function was recorded, in the order of their decoration;
    its other calls were replays. `eager`: part of the one warning, where the body runs each time.
    """
    expected = situation(lambda body: body)
    assert not same(situation(stale), expected), "a stale answer would not be noticed"
    made: list[Any] = []

    def function(body: Callable[..., Any]) -> Any:
        made.append(fj.function(body))
        return made[-1]

    with one_eager_warning() if eager else contextlib.nullcontext([eager]) as texts:
        found = situation(function)
    assert same(found, expected), (found, expected)
    assert eager in texts[0], texts
    assert not traces or [f.num_traces for f in made] == list(traces), made
    with fj.config.override(disable=True):
        assert same(situation(fj.function), expected)
