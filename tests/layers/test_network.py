"""Networks: what is tracked, under which names, when variables are made, what errors say."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.testing import assert_max_traces

Dense = fj.layers.Dense


class MNISTModel(fj.Network):
    """The model of the post that started this, as it stands there."""

    def __init__(self) -> None:
        super(MNISTModel, self).__init__()  # noqa: UP008
        self.layer1 = self.track_layer(fj.layers.Dense(units=10))
        self.layer2 = self.track_layer(fj.layers.Dense(units=10))

    def call(self, input: Any) -> Any:
        """Actually runs the model."""
        result = self.layer1(input)
        result = self.layer2(result)
        return result  # noqa: RET504


NAMES = ["layer1/kernel", "layer1/bias", "layer2/kernel", "layer2/bias"]


def test_the_model_of_the_post() -> None:
    model = MNISTModel()
    batch = fj.zeros([1, 1, 784])
    result = model(batch)
    assert (result.shape, result.dtype) == ((1, 1, 10), np.float32)
    assert not result.numpy().any()
    assert list(model.named_variables()) == NAMES == [v.name for v in model.variables]
    assert [v.shape for v in model.variables] == [(784, 10), (10,), (10, 10), (10,)]


def test_it_is_trained_as_in_the_post(rng: np.random.Generator) -> None:
    model = MNISTModel()
    x = rng.normal(size=(32, 784)).astype(np.float32)
    y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 32)]

    def loss_function(model: Any, x: Any, y: Any) -> Any:
        y_ = model(x)
        return fj.mean(fj.nn.softmax_cross_entropy_with_logits(labels=y, logits=y_))

    losses = []
    for _ in range(10):
        grads = fj.implicit_gradients(loss_function)(model, x, y)
        assert [variable.name for _, variable in grads] == NAMES
        for gradient, variable in grads:
            variable.assign_sub(0.05 * gradient)
        losses.append(float(loss_function(model, x, y)))
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.7 * losses[0]


class Block(fj.Network):
    def __init__(self, units: int) -> None:
        self.norm = fj.layers.LayerNorm()  # without super().__init__(), which has nothing to do
        self.steps = [Dense(units), (Dense(units, use_bias=False),)]

    def call(self, x: Any) -> Any:
        return self.steps[1][0](self.steps[0](self.norm(x)))  # type: ignore[index,operator]


class Model(fj.Network):
    def __init__(self) -> None:
        self.blocks = {"low": Block(3), "high": Block(3)}
        self.gain = fj.Variable(1.0)
        self.shared = self.blocks["low"].norm
        self.track_layer(Dense(2))

    def call(self, x: Any) -> Any:
        (judge,) = [layer for path, layer in self.named_layers().items() if path == "dense_0"]
        for block in self.blocks.values():
            x = block(x) * self.gain
        return judge(x)


MODEL_NAMES = [
    "blocks/low/norm/scale",
    "blocks/low/norm/bias",
    "blocks/low/steps/0/kernel",
    "blocks/low/steps/0/bias",
    "blocks/low/steps/1/0/kernel",
    "blocks/high/norm/scale",
    "blocks/high/norm/bias",
    "blocks/high/steps/0/kernel",
    "blocks/high/steps/0/bias",
    "blocks/high/steps/1/0/kernel",
    "gain",
    "dense_0/kernel",
    "dense_0/bias",
]


def test_names_are_paths_in_the_order_of_attributes() -> None:
    model = Model()
    assert model.named_variables() == {"gain": model.gain}
    model(fj.ones((2, 3)))
    assert list(model.named_variables()) == MODEL_NAMES
    assert [variable.name for variable in model.variables] == MODEL_NAMES
    low = model.blocks["low"]
    assert list(low.named_variables()) == [n[11:] for n in MODEL_NAMES if "low" in n]
    assert low.variables[0].name == "blocks/low/norm/scale"
    assert low.steps[0]._label == "Dense blocks/low/steps/0"  # type: ignore[union-attr]


def test_a_network_takes_a_network_that_has_been_called() -> None:
    inner = Block(3)
    inner(fj.ones((1, 3)))
    assert inner.variables[0].name == "norm/scale"
    outer = fj.Sequential([inner])
    assert next(iter(outer.named_variables())) == "layers/0/norm/scale"
    assert inner.variables[0].name == "layers/0/norm/scale"


def test_a_layer_that_is_added_later() -> None:
    model = fj.Sequential([Dense(3)])
    model(fj.ones((1, 2)))
    model.add(Dense(4))
    assert model(fj.ones((1, 2))).shape == (1, 4)
    assert list(model.named_variables())[-1] == "layers/1/bias" == model.variables[-1].name


def test_two_things_of_one_path() -> None:
    model = fj.Network()
    model.parts = {0: fj.Variable(1.0), "0": fj.Variable(2.0)}  # type: ignore[attr-defined]
    with pytest.raises(fj.FuseJitError, match="'parts/0'"):
        model.named_variables()


def test_variables_are_made_once_and_by_whoever_comes_first() -> None:
    layer = Dense(2)
    assert not layer.built and layer.variables == []
    layer.build((None, 3))
    kernel = layer.kernel
    layer.build((None, 3))
    layer(fj.ones((5, 3)))
    assert layer.built and layer.kernel is kernel and len(layer.variables) == 2
    model = Model()
    model.build((2, 3))
    first = model.variables
    model(fj.ones((2, 3)))
    assert all(a is b for a, b in zip(first, model.variables, strict=True))
    assert [variable.name for variable in first] == MODEL_NAMES


def test_a_network_is_built_from_arrays_where_zeros_do_not_do() -> None:
    model = fj.Sequential([fj.layers.Embedding(5, 3), Dense(2)])
    model.build(fj.zeros((1, 2), dtype="int64"))
    assert [variable.shape for variable in model.variables] == [(5, 3), (3, 2), (2,)]


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (fj.layers.LSTM(4, num_layers=2), (None, 5, 3), 6),
        (fj.layers.RNN(fj.layers.GRUCell(4)), (None, 5, 3), 4),
        (fj.layers.MultiHeadAttention(2), (None, 5, 4), 8),
        (fj.layers.Conv2D(2, 3), (None, 8, 8, 3), 2),
    ],
)
def test_layers_are_built_without_a_call(layer: Any, shape: Any, count: int) -> None:
    layer.trainable = False
    layer.build(shape)
    assert len(layer.variables) == count and layer.trainable_variables == []
    before = layer.variables
    layer(fj.ones([n or 2 for n in shape]))
    assert all(a is b for a, b in zip(before, layer.variables, strict=True))


def test_a_layer_of_ones_own() -> None:
    class Bilinear(fj.layers.Layer):
        def make_variables(self, left: Any, right: Any) -> None:
            self.add_variable("matrix", (left[-1], right[-1]), regularizer=fj.layers.L1(2.0))

        def call(self, left: Any, right: Any, scale: float = 1.0) -> Any:
            return fj.sum((left @ self.matrix) * right, axis=-1) * scale

    layer = Bilinear(dtype="float64")
    assert layer(scale=2.0, right=np.ones((2, 4)), left=np.ones((2, 3))).dtype == np.float64
    assert layer.matrix.shape == (3, 4) and layer.matrix.name == "matrix"
    penalty = 2.0 * np.abs(layer.matrix.numpy()).sum()
    assert float(layer.regularization_loss()) == pytest.approx(penalty)
    with pytest.raises(fj.FuseJitError, match="Own: define `make_variables"):

        class Own(fj.layers.Layer):
            def build(self, shape: Any) -> None: ...


def test_only_who_takes_training_gets_it() -> None:
    class Plain(fj.Network):
        def call(self, x: Any) -> Any:
            return x + 1.0

    model = fj.Sequential([Plain(), fj.nn.relu, fj.layers.Dropout(0.5)])
    x = fj.ones((4, 100))
    assert set(model(x).numpy().flat) == {2.0}
    assert set(model(x, training=True).numpy().flat) == {0.0, 4.0}
    assert set(model(x, training=False).numpy().flat) == {2.0}


def test_freezing_and_thawing() -> None:
    model = fj.Sequential([Dense(3), fj.layers.BatchNorm(), Dense(2)])
    model.layers[0].trainable = False  # before it has variables
    model(fj.ones((2, 4)))
    names = [variable.name for variable in model.trainable_variables]
    assert names == ["layers/1/scale", "layers/1/bias", "layers/2/kernel", "layers/2/bias"]
    model.trainable = False
    assert model.trainable_variables == [] and not model.layers[2].trainable
    model.layers[2].trainable = True
    assert [v.name for v in model.trainable_variables] == ["layers/2/kernel", "layers/2/bias"]
    model.trainable = True
    trainable = [variable.name for variable in model.trainable_variables]
    assert len(trainable) == 6 and "layers/1/moving_mean" not in trainable
    own = fj.Network()
    own.fixed = fj.Variable(1.0, trainable=False)  # type: ignore[attr-defined]
    own.trainable = False
    own.trainable = True
    assert own.trainable_variables == []


def test_a_frozen_layer_gets_no_gradient() -> None:
    model = fj.Sequential([Dense(3), Dense(2)])
    model(fj.ones((2, 4)))
    model.layers[0].trainable = False
    pairs = fj.implicit_gradients(lambda x: fj.sum(model(x)))(fj.ones((2, 4)))
    assert [variable.name for _, variable in pairs] == ["layers/1/kernel", "layers/1/bias"]


def test_a_variable_list_in_a_decorated_step() -> None:
    model = fj.Sequential([Dense(3, "relu"), Dense(2)])
    model(fj.ones((2, 4)))

    @fj.function
    def step(x: Any) -> Any:
        with fj.GradientTape() as tape:
            loss = fj.mean(fj.square(model(x))) + model.regularization_loss()
        for variable, gradient in zip(
            model.trainable_variables,
            tape.gradient(loss, model.trainable_variables),
            strict=True,
        ):
            variable.assign_sub(0.1 * gradient)
        return loss

    with assert_max_traces(step, 1):
        losses = [float(step(fj.ones((2, 4)))) for _ in range(4)]
    assert losses[-1] < losses[0]


def test_regularizers() -> None:
    layer = Dense(
        2,
        kernel_initializer="ones",
        bias_initializer=fj.layers.Constant(2.0),
        kernel_regularizer=fj.layers.L2(0.5),
        bias_regularizer=fj.layers.L1(0.1),
    )
    model = fj.Sequential([layer, Dense(1)])
    assert float(model.regularization_loss()) == 0.0
    model(fj.ones((1, 3)))
    assert float(model.regularization_loss()) == pytest.approx(0.5 * 6 + 0.1 * 4)


def test_summary() -> None:
    model = fj.Sequential([Dense(3), fj.layers.BatchNorm(), fj.nn.relu, Dense(2, dtype="float64")])
    assert "not called yet" in str(model.summary())
    model.build((8, 4))
    table = model.summary()
    assert (table.parameters, table.trainable) == (15 + 12 + 8, 15 + 6 + 8)
    assert [(row.path, row.kind, row.output, row.parameters, row.dtype) for row in table.rows] == [
        ("layers/0", "Dense", "f32[8,3]", "15", "float32"),
        ("layers/1", "BatchNorm", "f32[8,3]", "12", "float32"),
        ("layers/3", "Dense", "f64[8,2]", "8", "float64"),
        ("(whole)", "Sequential", "f64[8,2]", "", ""),
    ]
    assert str(table).endswith("\n35 parameters, 6 of them not trainable") and repr(table) == str(
        table
    )


def test_repr() -> None:
    assert repr(MNISTModel()) == (
        "MNISTModel(\n  layer1: Dense(units=10)\n  layer2: Dense(units=10)\n)"
    )
    model = fj.Sequential([fj.Sequential([Dense(3, activation="relu", use_bias=False)])])
    assert repr(model) == (
        "Sequential(\n  layers/0: Sequential(\n"
        "    layers/0: Dense(units=3, activation=relu, use_bias=False)\n  )\n)"
    )
    assert repr(fj.layers.Conv2D(4, (3, 3), padding="same")) == (
        "Conv2D(filters=4, kernel_size=(3, 3), padding='same')"
    )


def test_weights_go_into_a_file_and_back(tmp_path: Path) -> None:
    one, other = MNISTModel(), MNISTModel()
    one.build((1, 6))
    other.build((1, 6))
    one.save_weights(tmp_path / "model.safetensors")
    other.load_weights(tmp_path / "model.safetensors")
    for a, b in zip(one.variables, other.variables, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())


def test_a_network_can_be_copied() -> None:
    model = fj.Sequential([Dense(2)])
    model.build((1, 3))
    twin = copy.deepcopy(model)
    twin.variables[1].assign([5.0, 5.0])
    assert model.variables[1].tolist() == [0.0, 0.0]
    assert list(twin.named_variables()) == list(model.named_variables())
    assert pickle.loads(pickle.dumps(Dense(3))).units == 3


X = fj.ones((2, 3))
ROW = fj.ones((2, 4, 3))


@pytest.mark.parametrize(
    ("layer", "inputs", "message"),
    [
        (Dense(2), (X, fj.ones((2, 5))),
         r"Dense: expected an input whose last axis is 3.*got f32\[2,5\]; reshape it, or make a"),
        (Dense(2), (fj.constant(1.0),), "Dense: expected an input with an axis of features"),
        (fj.layers.LayerNorm(), (X, fj.ones((2, 5))), r"LayerNorm: .*last axes are \[3\]"),
        (fj.layers.LayerNorm((1, 2)), (ROW, fj.ones((2, 3, 3))), r"last axes are \[4, 3\].*got f"),
        (fj.layers.LayerNorm(1), (ROW, fj.ones((2, 3, 3))), r"last axes are \[4, 'any'\].*got f"),
        (fj.layers.BatchNorm(), (X, fj.ones((2, 5))), "BatchNorm: .*last axis is 3"),
        (fj.layers.Conv2D(4, 3), (ROW,), r"Conv2D: expected an input of 4 axes, got f32\[2,4,3\]"),
        (fj.layers.Conv2D(4, (3, 3, 3)), (fj.ones((1, 4, 4, 1)),), "kernel_size of 2 numbers"),
        (fj.layers.Conv2D(4, 3, groups=2), (fj.ones((1, 4, 4, 3)),), "3 channels cannot be cut"),
        (fj.layers.Conv1D(4, 9), (ROW,), "window over .9. places does not fit into .4."),
        (fj.layers.Conv1D(4, 2, padding="some"), (ROW,), "'valid', 'same', 'causal' or numbers"),
        (fj.layers.Conv1D(4, 2, strides=0), (ROW,), "expected strides for 1 axes, at least 1"),
        (fj.layers.MaxPool(2), (X,), r"MaxPool: expected floats \[batch, .*got f32\[2,3\]"),
        (fj.layers.AveragePool((2, 2)), (ROW,), "expected window for 1 axes"),
        (fj.layers.Flatten(), (1.0,), "Flatten: expected a batch"),
        (fj.layers.LSTM(4), (X,), r"LSTM: expected an input of 3 axes, got f32\[2,3\]"),
        (fj.layers.GRU(4), (ROW, fj.ones((2, 4, 5))), "GRUCell .*cell: .*last axis is 3"),
        (fj.layers.RNN(fj.layers.RNNCell(4)), (fj.ones((2, 0, 3)),), "at least one step in time"),
        (fj.layers.MultiHeadAttention(2), (ROW,), "3 units cannot be cut into 2 equal heads"),
    ],
)  # fmt: skip
def test_errors_name_the_layer(layer: Any, inputs: Any, message: str) -> None:
    with pytest.raises(fj.ShapeError, match=message):
        for each in inputs:
            layer(each)


def test_errors_name_the_place_in_the_network() -> None:
    model = Model()
    model(fj.ones((2, 3)))
    with pytest.raises(fj.ShapeError, match="LayerNorm blocks/low/norm: expected"):
        model(fj.ones((2, 7)))


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda: fj.layers.Embedding(3, 2)([0.5]), fj.DTypeError, "Embedding: expected integers"),
        (lambda: Dense(2)(fj.ones((1, 2), dtype="complex64")), fj.DTypeError, "expected real"),
        (lambda: Dense(2, activation="rellu"), fj.FuseJitError, "no activation 'rellu'; there are"),
        (lambda: Dense(2, kernel_initializer="x")(X), fj.FuseJitError, "no initializer 'x'"),
        (lambda: fj.Network()(X), fj.FuseJitError, "Network does not define `call`"),
        (lambda: fj.Network().track_layer(3), fj.FuseJitError, "expected a layer, got int"),
        (lambda: fj.layers.Dropout(1.0), fj.ShapeError, "expected 0 <= rate < 1"),
        (lambda: fj.layers.Conv2D(3, 3, groups=2), fj.ShapeError, "3 filters cannot be cut"),
        (lambda: fj.layers.LSTM(2)(ROW, mask=fj.ones((2, 4))), fj.ShapeError, "mask bool.2,4."),
        (lambda: fj.layers.LSTM(2)(ROW, lengths=[1]), fj.ShapeError, r"lengths i64\[2\], got"),
        (lambda: fj.layers.LSTMCell(2)(X, (X, X)), fj.ShapeError, r"states \[2,2\], got f32"),
        (lambda: fj.layers.GRUCell(3)(X, fj.ones((1, 3))), fj.ShapeError, r"states \[2,3\], got"),
        (lambda: fj.layers.MultiHeadAttention(1)(ROW, mask=[True]), fj.ShapeError, "a mask"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(run: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        run()


def test_inputs_are_cast_to_the_dtype_of_the_layer() -> None:
    assert Dense(2)(np.ones((1, 3))).dtype == np.float32
    assert Dense(2)(np.ones((1, 3), np.int64)).dtype == np.float32
    assert Dense(2, dtype="float64")(fj.ones((1, 3))).dtype == np.float64
    with fj.config.override(default_float="float64"):
        assert Dense(2)(fj.ones((1, 3))).dtype == np.float64
    assert fj.layers.Flatten()(np.ones((1, 3, 2), np.uint8)).dtype == np.uint8
