"""What the examples share: the command line, the bar, the picture, eager beside fused."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import fusejit as fj


class Options:
    """What the command line sets."""

    def __init__(self, steps: int, seed: int, picture: str, folder: str | None) -> None:
        self.steps = steps
        self.seed = seed
        self.picture = picture
        self.folder = folder


def start(
    main: Callable[[Options], Any], name: str, steps: int, arguments: Sequence[str] | None = None
) -> Any:
    """Parse the command line, seed, and run."""
    parser = argparse.ArgumentParser(prog=f"python -m fusejit.examples.{name}")
    parser.add_argument("--steps", type=int, default=steps, help="training steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default=f"{name}.png", help="a file; empty: none")
    parser.add_argument("--folder", help="a folder with MNIST's files, where digits are needed")
    options = Options(**vars(parser.parse_args(arguments)))
    fj.random.seed(options.seed)
    return main(options)


class Bar:
    """A tqdm bar over at most `steps` items; Ctrl-C ends the loop, not the program."""

    def __init__(self, items: Iterable[Any], steps: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(islice(items, steps), total=steps, unit="step")

    def __iter__(self) -> Iterator[Any]:
        with self.bar, fj.train.Interrupts() as interrupts:
            for item in self.bar:
                yield item
                if interrupts.arrived:
                    return

    def note(self, text: str) -> None:
        """What stands behind the bar."""
        self.bar.set_postfix_str(text, refresh=False)


def compare(step: fj.Function, *arguments: Any) -> None:
    """Print what fusing bought for a call with these arguments."""
    if fj.config.disable:
        return
    step.benchmark(*arguments)  # eager ops have kernels of their own once they have run for a while
    found = step.benchmark(*arguments)
    print(
        f"{step.__name__}: eager {_ms(found.eager)}, fused {_ms(found.fused)}: "
        f"{found.eager / found.fused:.1f} times as fast; {found.kernels_before} ops in "
        f"{found.kernels_after} kernels, recorded {step.num_traces} times"
    )


def _ms(seconds: float) -> str:
    """Three digits, without an exponent: 2040 ms."""
    return f"{float(f'{seconds * 1e3:.3g}'):g} ms"


@contextlib.contextmanager
def picture(options: Options, columns: int, rows: int = 1, inches: float = 4.0) -> Iterator[Any]:
    """Axes to draw on, [rows][columns]; saved at the end, if a picture is wanted."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("No picture: matplotlib is not installed (pip install 'fusejit[examples]').")
        raise SystemExit(0) from None
    figure = Figure(figsize=(inches * columns, inches * rows), layout="constrained")
    yield figure.subplots(rows, columns, squeeze=False)
    if options.picture:
        path = Path(options.picture)
        figure.savefig(path, dpi=110)
        print(f"Drew {path}.")


def digits(options: Options) -> fj.data.Split:
    """MNIST, if a folder was given, else the small digits that scikit-learn brings along."""
    return fj.data.mnist(options.folder) if options.folder else fj.data.digits()


def smooth(values: Sequence[float], share: float = 0.05) -> list[float]:
    """A running mean, in which the newest value counts `share`."""
    found: list[float] = []
    for value in values:
        found.append(value if not found else found[-1] + share * (value - found[-1]))
    return found
