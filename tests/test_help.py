"""What `help` and `inspect` say of the ops that users call: read off the records, and true."""

from __future__ import annotations

import doctest
import inspect
import pydoc
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.op import OPS, Elementwise, Op

PUBLIC: dict[str, Op] = {
    name: op for name, op in vars(fj).items() if isinstance(op, Op) and name[0] != "_"
}
ELEMENTWISE = [op for op in PUBLIC.values() if isinstance(op, Elementwise)]


def test_there_are_public_ops() -> None:
    assert len(PUBLIC) > 60 and all(op.name == name for name, op in PUBLIC.items())


@pytest.mark.parametrize("op", OPS.values(), ids=list(OPS))
def test_an_op_has_a_signature_and_says_what_it_does(op: Op) -> None:
    signature = inspect.signature(op)
    first, empty, what = inspect.getdoc(op).splitlines()[:3]  # type: ignore[union-attr]
    assert first == f"{op.name}{signature}" and not empty and what == op.doc
    assert [p.name for p in signature.parameters.values() if p.kind != p.KEYWORD_ONLY] == list(
        op.inputs
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_help_shows_the_op_and_not_its_class(name: str) -> None:
    page = pydoc.render_doc(getattr(fj, name), renderer=pydoc.plaintext)
    assert f"{name}(" in page and PUBLIC[name].doc in page
    assert "Everything here fuses" not in page and "domain" not in page
    assert max(map(len, page.splitlines())) <= 100


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_the_example_of_an_op_runs(op: Elementwise) -> None:
    examples = doctest.DocTestFinder(recurse=False).find(op, op.name, module=False)
    runner = doctest.DocTestRunner(verbose=False)
    assert examples[0].examples[1].want not in ("nan\n", "inf\n", "-inf\n")
    results = [runner.run(example) for example in examples]
    assert [(r.failed, r.attempted) for r in results] == [(0, 2)]


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_the_errors_of_an_op_are_those_that_it_names(op: Elementwise) -> None:
    page, count = str(op.__doc__), len(op.inputs)
    assert ("DTypeError:" in page) == any(_refuses(op, kind) for kind in (bool, int, complex))
    assert ("ShapeError:" in page) == (count > 1)
    if count > 1:
        with pytest.raises(fj.ShapeError):
            op(*[np.ones(n + 2, np.int64) for n in range(count)])


def _refuses(op: Elementwise, kind: Any) -> bool:
    try:
        op(*[fj.asarray(kind(1))] * len(op.inputs))
    except fj.DTypeError:
        return True
    return False


def test_the_whole_page_of_an_op() -> None:
    assert inspect.getdoc(fj.atan2) == (
        "atan2(a, b, /)\n\n"
        "The angle, from -pi to pi, of the point with x-coordinate b and y-coordinate a.\n\n"
        "Args:\n"
        "    a, b: Tensors, Variables, ndarrays, lists or numbers; float; int as float64.\n"
        "Returns:\n"
        "    A Tensor of the shape to which they broadcast.\n"
        "Raises:\n"
        "    ShapeError: the operands do not broadcast.\n"
        "    DTypeError: an operand is of another dtype.\n"
        "Example:\n"
        "    >>> import fusejit as fj\n"
        "    >>> round(fj.atan2(2.5, 3.0).item(), 4)\n"
        "    0.6947"
    )


def test_kinds_of_op_keep_their_own_help() -> None:
    assert str(Elementwise.__doc__).startswith("One output element from the elements")
    assert "scalar" in inspect.signature(Elementwise).parameters
