"""What the demo shows at its end: generated text, the loss, and what fusing bought."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

import fusejit as fj
from fusejit.data import Alphabet

from .model import CharLSTM, lstm_cell

SAMPLE_LENGTH = 400
TEMPERATURE = 0.7  # below 1 prefers what the model thinks likely
RECENT = 50  # steps whose mean is the final loss


def sample(model: CharLSTM, alphabet: Alphabet, seed: int) -> None:
    """Print text that the model makes up, one character at a time."""
    generator = np.random.default_rng(seed)
    state = model.initial_state(1)
    ids = alphabet.encode("\n")
    written = []
    for _ in range(SAMPLE_LENGTH):
        state = model.read(fj.asarray(ids), state)
        logits = model.logits(state[0]).numpy()[0].astype(float) / TEMPERATURE
        # The largest of logits plus Gumbel noise is a draw from their softmax.
        ids = np.array([np.argmax(logits + generator.gumbel(size=logits.shape))])
        written.append(ids[0])
    lines = alphabet.decode(np.array(written)).splitlines()
    print("\nIt now writes:\n")
    print("\n".join(f"    {line}" for line in lines))


def losses(history: Sequence[float], unigram: float, seconds: float) -> None:
    """Print where training got to, beside what counting characters alone would reach."""
    if history:
        final = float(np.mean(history[-RECENT:]))
        print(f"\nBits per character: {final:.2f} after {len(history)} steps ({seconds:.0f} s),")
        print(f"{unigram:.2f} from the frequencies of the characters alone.")


def speed(model: CharLSTM, step: fj.Function, lanes: int, length: int) -> None:
    """Print eager beside fused, for the cell alone and for the whole training step."""
    ids = fj.zeros((length, lanes), dtype="int64")
    state = model.initial_state(lanes)
    x = fj.zeros((lanes, model.alphabet_size))
    weights = (model.input_weights, model.state_weights, model.bias)
    rows = [
        ("LSTM cell", lstm_cell.benchmark(x, *state, *weights)),
        ("training step", step.benchmark(ids, ids, *state)),
    ]
    print(f"\n{'':15}{'eager':>11}{'fused':>11}{'ratio':>8}{'kernels':>16}{'compile':>11}")
    for name, result in rows:
        kernels = f"{result.kernels_before} -> {result.kernels_after}"
        print(
            f"{name:15}{_time(result.eager):>11}{_time(result.fused):>11}"
            f"{result.eager / result.fused:>7.1f}x{kernels:>16}"
            f"{_time(result.compile):>11}"
        )


def _time(seconds: float) -> str:
    """Three digits and a unit: 12.3 ms."""
    seconds = float(f"{max(seconds, 1e-9):.3g}")  # so that 0.9999 is 1 s, not 1e+03 ms
    power = min(0, 3 * math.floor(math.log10(seconds) / 3))
    unit = {0: "s", -3: "ms", -6: "us", -9: "ns"}[power]
    return f"{seconds / 10**power:.3g} {unit}"
