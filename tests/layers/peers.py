"""Layers against PyTorch's results, and against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.autodiff import trees

STEP = 1e-6


def perturb(layer: fj.layers.Layer, seed: int = 3) -> None:
    """Other values for all variables, so that no bias is 0 and no scale 1."""
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        noise = 0.3 * rng.uniform(-1, 1, variable.shape)
        variable.assign((variable.numpy() + np.abs(noise)).astype(variable.dtype))


def results(value: Any) -> list[Any]:
    """The Tensors, or PyTorch's, in what a layer returned."""
    return [leaf for leaf in trees.leaves(value) if leaf is not None]


def agrees(
    layer: fj.layers.Layer,
    theirs: Callable[..., Any],
    x: Any,
    *,
    tolerance: float = 1e-9,
    **kwargs: Any,
) -> None:
    """Outputs, and gradients of x and of all trainable variables, are PyTorch's.

    `theirs(x, *variables)` is given tensors of the layer's own layouts, in the order of
    `layer.variables`, so that its gradients have them too.
    """
    torch = pytest.importorskip("torch")
    layer(x, **kwargs)
    perturb(layer)
    variables = layer.variables
    inputs = [fj.asarray(x), *variables]
    tensors = [torch.tensor(np.array(each.numpy())) for each in inputs]
    wanted = [
        tensor.is_floating_point() and getattr(each, "trainable", True)
        for tensor, each in zip(tensors, inputs, strict=True)
    ]
    for tensor, want in zip(tensors, wanted, strict=True):
        tensor.requires_grad_(want)
    with fj.GradientTape() as tape:
        tape.watch(inputs[:1] if wanted[0] else [])
        ours = results(layer(inputs[0], **kwargs))
    expected = results(theirs(*tensors))
    weights = [np.random.default_rng(7).normal(size=y.shape) for y in ours]
    assert len(ours) == len(expected)
    for y, e in zip(ours, expected, strict=True):
        np.testing.assert_allclose(y.numpy(), e.detach().numpy(), rtol=tolerance, atol=tolerance)

    sources = [each for each, want in zip(inputs, wanted, strict=True) if want]
    weights = [w.astype(y.dtype) for w, y in zip(weights, ours, strict=True)]
    found = tape.gradient(ours, sources, weights)
    total = sum((e * torch.tensor(w)).sum() for e, w in zip(expected, weights, strict=True))
    gradients = torch.autograd.grad(
        total, [tensor for tensor, want in zip(tensors, wanted, strict=True) if want]
    )
    for f, g in zip(found, gradients, strict=True):
        np.testing.assert_allclose(f.numpy(), g.numpy(), rtol=tolerance, atol=10 * tolerance)


def check_numerically(network: fj.layers.Layer, x: Any, **kwargs: Any) -> None:
    """The gradient of a layer of float64 along a random direction is a difference quotient."""
    network(x, **kwargs)
    perturb(network)
    variables = network.trainable_variables
    rng = np.random.default_rng(11)
    steps = [rng.uniform(-1, 1, v.shape) for v in variables]
    x = fj.asarray(x)
    floating = x.dtype.kind == "f"
    step = rng.uniform(-1, 1, x.shape)

    def value(x: Any) -> Any:
        found = results(network(x, **kwargs))
        return sum(fj.sum(fj.sin(y)) for y in found)

    with fj.GradientTape() as tape:
        tape.watch([x] if floating else [])
        y = value(x)
    sources = [x, *variables] if floating else variables
    gradients = tape.gradient(y, sources)
    along = [step, *steps] if floating else steps
    analytic = sum(float(np.sum(g.numpy() * s)) for g, s in zip(gradients, along, strict=True))
    before = [v.numpy() for v in variables]
    sides = []
    for sign in (1, -1):
        for variable, old, s in zip(variables, before, steps, strict=True):
            variable.assign(old + sign * STEP * s)
        sides.append(float(value(x + sign * STEP * step if floating else x)))
    for variable, old in zip(variables, before, strict=True):
        variable.assign(old)
    numeric = (sides[0] - sides[1]) / (2 * STEP)
    assert abs(analytic) > 1e-6
    assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-7)
