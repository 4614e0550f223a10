"""save_weights and load_weights: what fits, and one error that names all that does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import fusejit as fj
from fusejit.weights import load_weights, save_weights


class Model:
    def __init__(self, **variables: fj.Variable) -> None:
        self.variables = variables

    def named_variables(self) -> Mapping[str, fj.Variable]:
        return self.variables


def test_weights_come_back(tmp_path: Path) -> None:
    fj.random.seed(0)
    kinds = ("float16", "bfloat16", "float32", "float64", "int32", "bool", "complex128")
    model = Model(**{k: fj.Variable(fj.random.normal((3, 2)), dtype=k) for k in kinds})
    save_weights(model, tmp_path / "w")
    other = Model(**{k: fj.Variable(fj.zeros((3, 2)), dtype=k) for k in kinds})
    load_weights(other, tmp_path / "w")
    for name, variable in model.variables.items():
        found = other.variables[name]
        assert found.dtype == variable.dtype
        assert found.numpy().tobytes() == variable.numpy().tobytes(), name


@pytest.mark.parametrize("wide", ["float32", "float64"])
@pytest.mark.parametrize("narrow", ["float16", "bfloat16"])
def test_floats_are_cast(wide: str, narrow: str, tmp_path: Path) -> None:
    values = [0.1, -3.0, 1e4]
    save_weights(Model(w=fj.Variable(values, dtype=wide)), tmp_path / "w")
    model = Model(w=fj.Variable([0.0] * 3, dtype=narrow))
    load_weights(model, tmp_path / "w")
    assert model.variables["w"].dtype == fj.asarray(values, dtype=narrow).dtype
    assert model.variables["w"].tolist() == fj.asarray(values, dtype=narrow).tolist()
    save_weights(model, tmp_path / "w")
    back = Model(w=fj.Variable([0.0] * 3, dtype=wide))
    load_weights(back, tmp_path / "w")
    assert back.variables["w"].tolist() == model.variables["w"].tolist()


def test_one_error_names_all_that_does_not_fit(tmp_path: Path) -> None:
    stored = Model(
        a=fj.Variable([1.0]), b=fj.Variable([1.0]), c=fj.Variable([[1.0]]), d=fj.Variable([1])
    )
    save_weights(stored, tmp_path / "w")
    model = Model(
        b=fj.Variable([0.0]), c=fj.Variable([0.0]), d=fj.Variable([0.0]), e=fj.Variable([0.0])
    )
    with pytest.raises(fj.FileError) as caught:
        load_weights(model, tmp_path / "w")
    text = str(caught.value)
    assert "does not fit the Model; nothing was changed" in text
    assert "missing in the file: e;" in text
    assert "unexpected in the file: a;" in text
    assert "c (f32[1,1] in the file, f32[1] here), d (i64[1] in the file, f32[1] here)" in text
    assert "call the network once" in text
    assert all(v.tolist() == [0.0] for v in model.variables.values())


def test_many_names_are_cut_short(tmp_path: Path) -> None:
    save_weights(Model(**{f"w{i:02}": fj.Variable(1.0) for i in range(20)}), tmp_path / "w")
    with pytest.raises(fj.FileError, match="w06, w07 and 12 more"):
        load_weights(Model(), tmp_path / "w")


def test_nothing_to_save_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(fj.FileError, match="no Variables yet"):
        save_weights(Model(), tmp_path / "w")


def test_a_network_saves_and_loads(tmp_path: Path) -> None:
    first, second = (
        fj.Sequential([fj.layers.Dense(3, activation="tanh"), fj.layers.Dense(2)]) for _ in range(2)
    )
    x = fj.ones((4, 5))
    expected = first(x)
    first.save_weights(tmp_path / "net.safetensors")
    with pytest.raises(fj.FileError, match="call the network once"):
        second.load_weights(tmp_path / "net.safetensors")
    second(x)
    second.load_weights(tmp_path / "net.safetensors")
    assert bool(fj.all(second(x) == expected))
