"""`python -m fusejit demo` trains a small model; `python -m fusejit ops` prints the op table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import optable
from .demo import train


def parser() -> argparse.ArgumentParser:
    defaults = train.Options()
    top = argparse.ArgumentParser(prog="python -m fusejit", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train a character LSTM, sample from it, time it")
    demo.add_argument("--steps", type=_count, default=defaults.steps, help="training steps")
    demo.add_argument("--hidden", type=_count, default=defaults.hidden, help="units of the LSTM")
    demo.add_argument("--seed", type=int, default=defaults.seed)
    demo.add_argument("--eager", action="store_true", help="train without fusing anything")
    commands.add_parser("ops", help="print the table of ops, in Markdown")
    return top


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = vars(parser().parse_args(arguments))
    try:
        if options.pop("command") == "demo":
            train.run(train.Options(**options))
        else:
            print(optable.markdown())
    except KeyboardInterrupt:  # outside the training loop, which ends by itself
        sys.exit(130)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


if __name__ == "__main__":
    main()
