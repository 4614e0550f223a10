"""What to write instead of what cannot be replayed, by what the refusal says.

The reasons are made where they are found (`recorder`, `reach`, `record`, `purity`); some end with
the advice itself, after a semicolon.
"""

from __future__ import annotations

import re

_ADVICE = (
    (r"print, an effect", "print what the function returns, outside of it"),
    (r"it draws from the global generator", "draw with fj.random, whose state is a Variable"),
    (r"it calls ", "make that call outside, and pass what it gives as an argument"),
    (r"which it finds at run time", "reach it by name: a global, an argument or an attribute"),
    (
        r"a whole array reaches Python|Python reads ",
        "use ops of fusejit in place of NumPy's (fj.where for an if on elements), or return it",
    ),
    (
        r"ndarray (that is made during the call|inside of a list)",
        "make it a Tensor with fj.constant, or outside and pass it",
    ),
    (
        r"shape of .* depends on values",
        "keep the shape, with fj.where on a mask; or do this step outside",
    ),
    (r"outside of this call's reach", "pass that Tensor as an argument"),
    (r"which a replay cannot make anew", "return Tensors, numbers and str, in tuples or dicts"),
    (r"also kept elsewhere", "return a copy of it"),
    (r"it reaches over ", "pass the few values that it needs as arguments"),
    (r"subclass of ndarray", "make it a Tensor with fj.asarray"),
    (r"cached function", "call the function itself, and keep its result in a variable"),
    (r"computes its attributes", "read the attribute outside, and pass its value"),
    (
        r"cannot be watched|read arrays unseen|key of type",
        "pass what is read from it: a Tensor, number or list",
    ),
    (r"FUSEJIT_DISABLE", "unset FUSEJIT_DISABLE"),
    (r"is not installed", "pip install it"),
)
OTHERWISE = "leave that line out of the function, and decorate what is around it"


def instead_of(reason: str) -> str:
    """One line of advice for the reason of a refusal."""
    _, found, told = reason.partition("; ")
    if found:
        return told
    matching = (advice for phrase, advice in _ADVICE if re.search(phrase, reason))
    return next(matching, OTHERWISE)
