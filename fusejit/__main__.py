"""`fusejit demo` trains a small model, `fusejit ops` prints the op table, and `fusejit cache` says
what compiled code is kept on disk or removes it. `python -m fusejit` does the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import optable
from .backends import objects
from .demo import train
from .errors import DeviceError


def parser() -> argparse.ArgumentParser:
    defaults = train.Options()
    top = argparse.ArgumentParser(prog="fusejit", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train a character LSTM, sample from it, time it")
    demo.add_argument("--steps", type=_count, default=defaults.steps, help="training steps")
    demo.add_argument("--hidden", type=_count, default=defaults.hidden, help="units of the LSTM")
    demo.add_argument("--seed", type=int, default=defaults.seed)
    demo.add_argument("--device", default=defaults.device, help="cpu, gpu, gpu:1, ...")
    demo.add_argument("--eager", action="store_true", help="train without fusing anything")
    commands.add_parser("ops", help="print the table of ops, in Markdown")
    cache = commands.add_parser("cache", help="the compiled code that is kept on disk")
    cache.add_argument("action", choices=("info", "clear"), help="how much there is; remove it")
    return top


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = vars(parser().parse_args(arguments))
    try:
        command = options.pop("command")
        if command == "demo":
            train.run(train.Options(**options))
        elif command == "cache":
            print(_cleared() if options["action"] == "clear" else _kept())
        else:
            print(optable.markdown())
    except DeviceError as error:
        sys.exit(f"fusejit: {error}")
    except KeyboardInterrupt:  # outside the training loop, which ends by itself
        sys.exit(130)


def _kept() -> str:
    usage = objects.usage()
    if not usage.path:
        return "no cache (FUSEJIT_CACHE_DIR is empty)"
    size, limit = usage.bytes / 2**20, objects.LIMIT >> 20
    return f"{usage.path}: {usage.files} objects, {size:.1f} MiB of at most {limit}"


def _cleared() -> str:
    return f"{objects.usage().path}: removed {objects.clear()} objects"


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {value}")
    return value


if __name__ == "__main__":
    main()
