"""Each layer against PyTorch's own: outputs, and gradients of the input and of every variable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.layers.networks import IDS, IMAGES, LENGTHS, ROWS, SEQUENCES
from tests.layers.peers import agrees

torch = pytest.importorskip("torch")
functional = torch.nn.functional
F64 = "float64"


def test_dense() -> None:
    for x in (ROWS, SEQUENCES):
        agrees(fj.layers.Dense(5, "tanh", dtype=F64), lambda x, k, b: torch.tanh(x @ k + b), x)


def test_dense_in_single_precision() -> None:
    layer = fj.layers.Dense(5)
    x = ROWS.astype(np.float32)
    agrees(layer, lambda x, k, b: functional.linear(x, k.T, b), x, tolerance=1e-5)


def test_embedding() -> None:
    agrees(fj.layers.Embedding(7, 5, dtype=F64), lambda x, t: functional.embedding(x, t), IDS)


@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_layer_norm(axis: Any) -> None:
    shape = SEQUENCES.shape[1:] if axis != -1 else SEQUENCES.shape[-1:]
    agrees(
        fj.layers.LayerNorm(axis, dtype=F64),
        lambda x, s, b: functional.layer_norm(x, shape, s, b),
        SEQUENCES,
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("x", [ROWS, IMAGES], ids=["rows", "images"])
def test_batch_norm(x: Any, training: bool) -> None:
    def theirs(x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
        order = (0, x.ndim - 1, *range(1, x.ndim - 1))
        y = functional.batch_norm(
            x.permute(order), mean.clone(), variance.clone(), scale, bias, training
        )
        return y.movedim(1, -1)

    agrees(fj.layers.BatchNorm(dtype=F64), theirs, x, training=training)


def test_batch_norm_keeps_the_same_averages() -> None:
    layer, module = fj.layers.BatchNorm(dtype=F64), torch.nn.BatchNorm1d(6, dtype=torch.float64)
    for x in (ROWS, 2 * ROWS + 1):
        layer(x, training=True)
        module(torch.tensor(x))
    np.testing.assert_allclose(layer.moving_mean.numpy(), module.running_mean, rtol=1e-12)
    np.testing.assert_allclose(layer.moving_variance.numpy(), module.running_var, rtol=1e-12)


CONVOLUTIONS: list[dict[str, Any]] = [
    {},
    {"strides": 2},
    {"padding": 1},
    {"padding": (2, 1), "strides": (1, 3)},
    {"dilations": 2, "kernel_size": (2, 3)},
    {"kernel_size": (1, 5)},
    {"padding": "same"},
    {"padding": "same", "dilations": (1, 2)},
]


def conv2d(options: dict[str, Any]) -> Callable[..., Any]:
    names = {"strides": "stride", "dilations": "dilation"}
    given = {names.get(n, n): value for n, value in options.items() if n != "kernel_size"}

    def theirs(x: Any, kernel: Any, bias: Any) -> Any:
        x, kernel = x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, bias, **given).permute(0, 2, 3, 1)

    return theirs


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_convolution_of_images(options: dict[str, Any]) -> None:
    options = {"kernel_size": 3, **options}
    layer = fj.layers.Conv2D(4, dtype=F64, **options)
    agrees(layer, conv2d(options), IMAGES)


@pytest.mark.parametrize(("channels", "filters", "groups"), [(4, 6, 2), (3, 3, 3), (3, 6, 3)])
def test_convolution_in_groups(channels: int, filters: int, groups: int) -> None:
    x = np.random.default_rng(4).normal(size=(2, 6, 6, channels))
    layer = fj.layers.Conv2D(filters, 3, groups=groups, dtype=F64)
    agrees(layer, conv2d({"groups": groups}), x)


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_of_sequences(stride: int) -> None:
    def theirs(x: Any, kernel: Any, bias: Any) -> Any:
        x = functional.pad(x.permute(0, 2, 1), (2, 0))
        y = functional.conv1d(x, kernel.permute(2, 1, 0), bias, stride=stride)
        return y.permute(0, 2, 1)

    layer = fj.layers.Conv1D(4, 3, padding="causal", strides=stride, dtype=F64)
    agrees(layer, theirs, SEQUENCES)


def pooled(function: Any, **options: Any) -> Callable[..., Any]:
    return lambda x: function(x.permute(0, 3, 1, 2), **options).permute(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"kernel_size": 2}),
        ({"pool_size": 3, "strides": 2}, {"kernel_size": 3, "stride": 2}),
        (
            {"pool_size": (3, 2), "strides": 1, "padding": 1},
            {"kernel_size": (3, 2), "stride": 1, "padding": 1},
        ),
    ],
)
def test_pooling(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    agrees(fj.layers.MaxPool(**ours), pooled(functional.max_pool2d, **theirs), IMAGES)
    average = pooled(functional.avg_pool2d, count_include_pad=False, **theirs)
    agrees(fj.layers.AveragePool(**ours), average, IMAGES)


def test_the_gradient_of_a_maximum_that_is_there_twice_goes_to_the_first() -> None:
    x = np.ones((1, 4, 4, 1))
    agrees(fj.layers.MaxPool(2), pooled(functional.max_pool2d, kernel_size=2), x)


def module_call(module: Any, values: dict[str, Any], *inputs: Any) -> Any:
    return torch.func.functional_call(module, values, inputs)


def of_cell(
    kernel: Any, recurrent: Any, bias: Any, hidden_bias: Any, suffix: str
) -> dict[str, Any]:
    """PyTorch's names of what a cell has; its matrices are transposed, and it has two biases."""
    return {
        f"weight_ih{suffix}": kernel.T,
        f"weight_hh{suffix}": recurrent.T,
        f"bias_ih{suffix}": bias,
        f"bias_hh{suffix}": hidden_bias,
    }


def of_gru(kernel: Any, recurrent: Any, bias: Any, candidate: Any, suffix: str) -> dict[str, Any]:
    hidden_bias = torch.cat([torch.zeros(2 * len(candidate), dtype=candidate.dtype), candidate])
    return of_cell(kernel, recurrent, bias, hidden_bias, suffix)


def of_lstm(kernel: Any, recurrent: Any, bias: Any, suffix: str) -> dict[str, Any]:
    return of_cell(kernel, recurrent, bias, torch.zeros_like(bias), suffix)


def test_rnn_cell() -> None:
    module = torch.nn.RNNCell(6, 4, dtype=torch.float64)
    layer = fj.layers.RNNCell(4, dtype=F64)

    def theirs(x: Any, *variables: Any) -> Any:
        h = module_call(module, of_lstm(*variables, ""), x)
        return h, h

    agrees(layer, theirs, ROWS)


def test_lstm_cell_with_a_state() -> None:
    module = torch.nn.LSTMCell(6, 4, dtype=torch.float64)
    state = tuple(np.random.default_rng(i).normal(size=(4, 4)) for i in (5, 6))

    def theirs(x: Any, *variables: Any) -> Any:
        h, c = module_call(module, of_lstm(*variables, ""), x, tuple(map(torch.tensor, state)))
        return h, (h, c)

    agrees(fj.layers.LSTMCell(4, dtype=F64), theirs, ROWS, state=state)


def test_gru_cell() -> None:
    module = torch.nn.GRUCell(6, 4, dtype=torch.float64)

    def theirs(x: Any, *variables: Any) -> Any:
        h = module_call(module, of_gru(*variables, ""), x)
        return h, h

    agrees(fj.layers.GRUCell(4, dtype=F64), theirs, ROWS)


def test_layer_norm_lstm_cell() -> None:
    """PyTorch has none: the equations of the paper, in its functions."""
    state = tuple(np.random.default_rng(i).normal(size=(4, 4)) for i in (5, 6))

    def theirs(x: Any, k: Any, r: Any, b: Any, si: Any, sr: Any, sm: Any, bm: Any) -> Any:
        h, c = map(torch.tensor, state)
        gates = functional.layer_norm(x @ k, (16,), si) + functional.layer_norm(h @ r, (16,), sr)
        i, f, g, o = (gates + b).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(functional.layer_norm(c, (4,), sm, bm))
        return h, (h, c)

    agrees(fj.layers.LayerNormLSTMCell(4, dtype=F64), theirs, ROWS, state=state)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_over_time(kind: str, lengths: Any, levels: int, bidirectional: bool) -> None:
    module = getattr(torch.nn, kind)(
        3, 4, levels, batch_first=True, bidirectional=bidirectional, dtype=torch.float64
    )
    each, named = (3, of_lstm) if kind == "LSTM" else (4, of_gru)

    def theirs(x: Any, *variables: Any) -> Any:
        values: dict[str, Any] = {}
        parts = [variables[i : i + each] for i in range(0, len(variables), each)]
        ways = ["", "_reverse"] if bidirectional else [""]
        suffixes = [f"_l{level}{way}" for level in range(levels) for way in ways]
        for part, suffix in zip(parts, suffixes, strict=True):
            values |= named(*part, suffix)
        if lengths is None:
            outputs, state = module_call(module, values, x)
        else:
            pack = torch.nn.utils.rnn
            packed = pack.pack_padded_sequence(
                x, lengths.tolist(), batch_first=True, enforce_sorted=False
            )
            outputs, state = module_call(module, values, packed)
            outputs, _ = pack.pad_packed_sequence(outputs, batch_first=True)
        return outputs, flattened(state)

    def flattened(state: Any) -> Any:
        """PyTorch stacks h of all levels and ways, and c likewise; ours go level by level."""
        stacked = state if isinstance(state, tuple) else (state,)
        return [part[i] for i in range(stacked[0].shape[0]) for part in stacked]

    layer = getattr(fj.layers, kind)(
        4, num_layers=levels, bidirectional=bidirectional, return_state=True, dtype=F64
    )
    agrees(layer, theirs, SEQUENCES, lengths=lengths)


MASK = np.random.default_rng(0).uniform(size=(4, 5, 5)) < 0.7
MASK[:, :, 0] = True  # PyTorch has NaN where nothing may be seen


@pytest.mark.parametrize("options", [{}, {"mask": MASK[0]}, {"mask": MASK}, {"causal": True}])
def test_attention(options: dict[str, Any]) -> None:
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    x = np.random.default_rng(0).normal(size=(4, 5, 8))
    seen = options.get("mask", np.tril(np.ones((5, 5), bool)) if options else None)

    def theirs(x: Any, *variables: Any) -> Any:
        q, bq, k, bk, v, bv, o, bo = variables
        values = {
            "in_proj_weight": torch.cat([q.T, k.T, v.T]),
            "in_proj_bias": torch.cat([bq, bk, bv]),
            "out_proj.weight": o.T,
            "out_proj.bias": bo,
        }
        hidden = None if seen is None else torch.tensor(~seen)
        if hidden is not None and hidden.ndim == 3:
            hidden = hidden.repeat_interleave(2, dim=0)
        inputs = {"need_weights": False, "attn_mask": hidden}
        return torch.func.functional_call(module, values, (x, x, x), inputs)[0]

    agrees(fj.layers.MultiHeadAttention(2, dtype=F64), theirs, x, **options)


def test_dropout_keeps_the_mean_and_scales_the_gradient() -> None:
    layer = fj.layers.Dropout(0.25)
    fj.random.seed(0)
    grad = fj.gradients_function(lambda x: fj.sum(layer(x, training=True)))(fj.ones(40_000))[0]
    assert set(np.unique(grad.numpy()).tolist()) == {0.0, np.float32(1 / 0.75)}
    assert float(fj.mean(grad)) == pytest.approx(1.0, abs=0.02)
