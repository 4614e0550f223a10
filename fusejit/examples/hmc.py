"""Hamiltonian Monte Carlo: draws from a density that is only known up to a factor.

256 chains move along trajectories whose force is the gradient of the density's logarithm (Neal,
2011, https://arxiv.org/abs/1206.1901). One call is a whole trajectory: draws, leapfrog steps,
gradients and the decision; nothing is learned.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fusejit as fj

from .common import Bar, Options, compare, picture, start

CHAINS, LEAPS, STEP = 256, 20, 0.1


def energy(q: Any) -> Any:
    """-log of the density, [chains]: a ring of radius 2, heavier where sin(3 angle) is large."""
    x, y = q[:, 0], q[:, 1]
    radius = fj.sqrt(x * x + y * y + 1e-9)
    return fj.square(radius - 2.0) / 0.18 - fj.sin(3.0 * fj.atan2(y, x))


force = fj.gradients_function(lambda q: -energy(q))


@fj.function
def trajectory(q: Any) -> tuple[Any, Any]:
    """(positions [chains, 2] after one trajectory, which of them were accepted)."""
    start_q, p = q, fj.random.normal(q.shape)
    before = energy(q) + 0.5 * fj.sum(p * p, axis=1)
    p = p + 0.5 * STEP * force(q)[0]
    for leap in range(LEAPS):
        q = q + STEP * p
        p = p + (STEP if leap < LEAPS - 1 else 0.5 * STEP) * force(q)[0]
    after = energy(q) + 0.5 * fj.sum(p * p, axis=1)
    accepted = fj.random.uniform((q.shape[0],)) < fj.exp(before - after)
    return fj.where(accepted[:, None], q, start_q), accepted


def main(options: Options) -> float:
    q = fj.random.normal((CHAINS, 2))
    drawn, share = [], 0.0
    for n in Bar(range(options.steps), options.steps):
        q, accepted = trajectory(q)
        share += float(fj.mean(accepted)) / options.steps
        if n >= options.steps // 10:  # before, they may still be on their way
            drawn.append(q.numpy())
    samples = np.concatenate(drawn)
    error = draw(samples, options)
    print(f"{len(samples):,} draws, {share:.1%} of the trajectories accepted; the shares of the ")
    print(f"cells of a grid differ from the density's by {error:.1%} in sum.")
    compare(trajectory, q)
    return error


def draw(samples: Any, options: Options) -> float:
    """The draws beside the density; half the sum of absolute differences over a grid."""
    edges = np.linspace(-4, 4, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    points = np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2)
    density = np.exp(-energy(points).numpy()).reshape(40, 40)
    density /= density.sum()
    counts, *_ = np.histogram2d(samples[:, 1], samples[:, 0], [edges, edges])
    with picture(options, 2) as ((left, right),):
        for ax, shown, title in ((left, density, "density"), (right, counts, "draws")):
            ax.imshow(shown, origin="lower", extent=(-4, 4, -4, 4), cmap="magma")
            ax.set_title(title)
    return float(np.abs(counts / counts.sum() - density).sum() / 2)


if __name__ == "__main__":
    start(main, "hmc", steps=1000)
