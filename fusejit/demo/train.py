"""The training loop: one decorated function is the whole step, from text to new weights."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice

from tqdm import tqdm

import fusejit as fj
from fusejit.train import AdamOptimizer

from . import report, text
from .model import CharLSTM, State

LANES = 32
LENGTH = 32
LEARNING_RATE = 3e-3
MAX_NORM = 1.0
SMOOTHING = 0.05  # how much the newest step counts in the loss that the bar shows


@dataclass(frozen=True)
class Options:
    """What the command line sets."""

    steps: int = 4000
    hidden: int = 128
    seed: int = 0
    device: str = "cpu"
    eager: bool = False


def make_step(model: CharLSTM, optimizer: AdamOptimizer) -> fj.Function:
    """The training step of `model`: forward, backward, clipping and Adam, decorated as a whole."""

    @fj.function
    def step(
        inputs: fj.Tensor, targets: fj.Tensor, h: fj.Tensor, c: fj.Tensor
    ) -> tuple[fj.Tensor, State]:
        with fj.GradientTape() as tape:
            loss, state = model.loss(inputs, targets, (h, c))
        gradients = tape.gradient(loss, model.variables)
        optimizer.apply_gradients(zip(gradients, model.variables, strict=True))
        return loss, state

    return step


def run(options: Options) -> None:
    """The demo: train, sample, report. Ctrl-C ends the training early, not the demo."""
    disable = options.eager or fj.config.disable
    with fj.device(options.device), fj.config.override(disable=disable):
        started = time.perf_counter()
        fj.random.seed(options.seed)
        corpus = fj.data.text()
        alphabet = fj.data.Alphabet(corpus)
        model = CharLSTM(len(alphabet), options.hidden)
        step = make_step(model, AdamOptimizer(LEARNING_RATE, clip_norm=MAX_NORM))
        print(
            f"{len(corpus):,} characters of Python's own documentation; "
            f"an LSTM of {options.hidden} units reads {LANES} x {LENGTH} of them a step."
        )
        history = train(model, step, alphabet.encode(corpus), options.steps)
        report.sample(model, alphabet, options.seed)
        report.losses(history, text.unigram_entropy(corpus), time.perf_counter() - started)
        if not fj.config.disable:
            report.speed(model, step, LANES, LENGTH)


def train(model: CharLSTM, step: fj.Function, ids: text.Ids, steps: int) -> list[float]:
    """Train for `steps` steps, or until Ctrl-C; return the loss of each."""
    history: list[float] = []
    smooth = None
    source = islice(text.batches(ids, LANES, LENGTH), steps)
    bar = tqdm(source, total=steps, unit="step")
    try:
        for inputs, targets, restart in bar:
            if restart:
                state = model.initial_state(LANES)
            loss, state = step(fj.asarray(inputs), fj.asarray(targets), *state)
            history.append(float(loss))
            smooth = history[-1] if smooth is None else smooth + SMOOTHING * (history[-1] - smooth)
            bar.set_postfix_str(f"{smooth:.2f} bits per character", refresh=False)
    except KeyboardInterrupt:
        bar.close()
        print(f"Stopped after {len(history)} steps.")
    return history
