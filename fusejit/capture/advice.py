"""What to write instead of what cannot be replayed, by what the refusal says.

The reasons are made where they are found (`recorder`, `reach`, `record`, `purity`); some end with
the advice itself, after a semicolon.
"""

from __future__ import annotations

import re

_ADVICE = (
    (r"print, an effect", "print what the function returns, outside of it"),
    (
        r"it draws from the global generator|it calls (Random|RandomState|Generator)\.",
        "draw with fj.random, whose state is a Variable",
    ),
    (r"it could not be compiled", "decorate its parts one by one, to find which of them it is"),
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


def said(reason: str, where: str) -> str:
    """What a warning says: the reason, the line, and what to write instead."""
    advice = "" if "; " in reason else f" Instead: {instead_of(reason)}."
    return f"{reason} ({where}).{advice}"


def many_branches(name: str, count: int, where: str) -> str:
    """What a warning says of a function that has as many branches as are kept."""
    return (
        f"{name} has {count} branches that depend on values, most of them at {where}; calls that "
        "need another run eagerly. Instead: keep the value in Tensors there (fj.where), or "
        "decorate what lies between such lines."
    )


def rounded_otherwise(name: str, stop: object) -> str:
    """What a warning says of a guard that a recording does not help."""
    return (
        f"{name} runs eagerly where no known path goes on: {stop}, and eager execution rounds it "
        "otherwise, as the sums of products may be. Instead: keep the value in Tensors there "
        "(fj.where), or decorate what lies before and behind that line."
    )


def instead_of(reason: str) -> str:
    """One line of advice for the reason of a refusal."""
    _, found, told = reason.partition("; ")
    if found:
        return told
    matching = (advice for phrase, advice in _ADVICE if re.search(phrase, reason))
    return next(matching, OTHERWISE)
