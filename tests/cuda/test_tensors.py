"""Tensors on a GPU: where they are made, how they move, what meets what, what reaches Python."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import fusejit as fj

pytestmark = pytest.mark.usefixtures("gpus")
GPU = "/gpu:0"
NAMES = ("/gpu:0", "gpu", "gpu:0", "cuda:0", "GPU", "/device:gpu:0")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_devices(name: str) -> None:
    with fj.device(name):
        assert fj.constant(1.0).device == GPU
    assert fj.constant([1.0]).to(name).device == GPU


def test_what_is_made_in_a_block_is_on_its_device() -> None:
    with fj.device("gpu"):
        made = [
            fj.constant(2),
            fj.asarray(np.ones(3)),
            fj.Tensor([[1.0]]),
            fj.zeros((2, 2)),
            fj.full(3, 7),
            fj.arange(5),
            fj.linspace(0, 1, 3),
            fj.eye(3),
            fj.iota((2, 3), 1),
            fj.random.normal((3,)),
            fj.random.permutation(4),
            fj.add(1.0, [2.0, 3.0]),
            fj.Variable([1.0, 2.0]).read(),
            fj.stack([fj.constant(1.0), 2.0]),
        ]
        with fj.device("cpu"):
            assert fj.constant(2.0).device == "/cpu:0"
        assert fj.constant(2.0).device == GPU
    assert {x.device for x in made} == {GPU}
    assert fj.constant(2.0).device == "/cpu:0"


def test_a_tensor_moves_and_keeps_its_value() -> None:
    for value in (np.arange(6.0).reshape(2, 3), np.float32(2), np.zeros((0, 3)), np.array([True])):
        x = fj.asarray(value)
        there = x.to("gpu")
        assert (there.device, there.type) == (GPU, x.type)
        assert there.to("gpu") is there and x.to("cpu") is x
        back = there.to("cpu")
        assert back.device == "/cpu:0"
        assert np.array_equal(back.numpy(), value) and np.array_equal(there.numpy(), value)


def test_a_tensor_on_a_gpu_reaches_python() -> None:
    x = fj.constant([[1.0, 2.0], [3.0, 4.0]]).to("gpu")
    assert str(x) == "[[1. 2.]\n [3. 4.]]"
    assert repr(x).endswith("shape=(2, 2), dtype=float32, device=/gpu:0)")
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert float(x[1, 1]) == 4.0 and x[0, 0].item() == 1.0 and bool(fj.all(x > 0))
    assert np.asarray(x).sum() == 10.0 and not x.numpy().flags.writeable
    assert np.from_dlpack(x)[1, 0] == 3.0
    assert len(x) == 2 and [row.device for row in x] == [GPU, GPU]
    assert copy.deepcopy(x) is x
    assert pickle.loads(pickle.dumps(x)).device == "/cpu:0"
    assert f"{fj.sum(x):.2f}" == "10.00"


def test_operands_on_different_devices_are_refused() -> None:
    here, there = fj.ones(3), fj.ones(3).to("gpu")
    with pytest.raises(fj.DeviceError, match="add: operand 0 is on /gpu:0, operand 1 is on /cpu"):
        there + here
    with pytest.raises(fj.DeviceError, match=r"x\.to\('/gpu:0'\).*made at test_tensors\.py"):
        fj.concat([here, there])
    with pytest.raises(fj.DeviceError, match="assign to w: it is on /cpu:0, the value on /gpu:0"):
        fj.Variable(here, name="w").assign(there)
    with pytest.raises(fj.DeviceError, match="multiply"):
        here * fj.sum(there)  # one number on a GPU does not move by itself


def test_numbers_and_python_data_go_along() -> None:
    x = fj.constant([1.0, 2.0, 3.0]).to("gpu")
    for result in (
        x + 1,
        2.0 * x,
        fj.add(x, [1.0, 2.0, 3.0]),
        np.ones(3, np.float32) * x,
        x * fj.constant(2.0),
        fj.where(x > 1, x, 0.0),
        x[[2, 0]],
        x[np.array([True, False, True])],
        fj.take(x, [1]),
        fj.maximum(x, fj.Variable(2.0)),
    ):
        assert result.device == GPU, result
    w = fj.Variable(x)
    w.assign([3.0, 2.0, 1.0])
    w.assign_sub(fj.constant(1.0))
    assert w.device == GPU and w.tolist() == [2.0, 1.0, 0.0]


def test_what_goes_with_a_tensor_is_made_beside_it() -> None:
    x = fj.constant([[1.0, 2.0], [3.0, 4.0]]).to("gpu")
    assert fj.tril(x).tolist() == [[1.0, 0.0], [3.0, 4.0]]
    assert fj.one_hot(fj.constant([1, 0]).to("gpu"), 2).device == GPU
    assert fj.zeros_like(x).device == fj.imag(x).device == GPU
    assert fj.repeat(x, [1, 2], axis=0).shape == (3, 2)
    order = fj.argsort(x, descending=True)
    assert fj.take_along_axis(x, order).tolist() == [[2.0, 1.0], [4.0, 3.0]]
    assert fj.cumulative_sum(x[0], include_initial=True).tolist() == [0.0, 1.0, 3.0]
    assert fj.random.permutation(x).device == GPU
    assert fj.linalg.inv(x).device == fj.einsum("ij,jk->ik", x, x).device == GPU


def test_a_copy_is_differentiated_by_copying_back() -> None:
    x = fj.constant([1.0, 2.0])
    (g,) = fj.gradients_function(lambda x: fj.sum(x.to("gpu") * [3.0, 4.0]))(x)
    assert (g.device, g.tolist()) == ("/cpu:0", [3.0, 4.0])
    scale = fj.Variable(2.0, name="scale")
    y = x.to("gpu")
    ((gradient, _),) = fj.implicit_gradients(lambda: fj.sum(y * scale))()
    assert (gradient.device, float(gradient)) == ("/cpu:0", 3.0)


def test_random_numbers_are_those_of_the_cpu_in_any_order_of_devices() -> None:
    def draws(devices: list[str]) -> list[Any]:
        fj.random.seed(11)
        found = []
        for name in devices:
            with fj.device(name):
                found += [fj.random.uniform((5,)), fj.random.normal((2, 3)), fj.random.randint(9)]
        return [x.numpy() for x in found]

    for one, other in zip(draws(["cpu"] * 3), draws(["gpu", "cpu", "gpu"]), strict=True):
        assert one.tobytes() == other.tobytes()


def test_complex_numbers_and_halves_are_numpys() -> None:
    x = fj.constant([1 + 2j, 3j]).to("gpu")
    assert (x * 2).tolist() == [2 + 4j, 6j] and fj.real(x).device == GPU
    h = fj.constant([1.5, 2.5], dtype="float16").to("gpu")
    assert fj.exp(h).numpy().tobytes() == fj.exp(h.to("cpu")).numpy().tobytes()


def test_threads_have_devices_of_their_own_and_share_tensors() -> None:
    with fj.device("gpu"):
        x = fj.arange(64, dtype="float32")
    f = fj.function(lambda x, k: fj.tanh(x) * k + fj.ones(64))
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            assert fj.ones(2).device == "/cpu:0"
            with fj.device("gpu"):
                for k in range(10):
                    found, expected = f(x, k % 3), f.eager(x, k % 3)
                    assert found.device == GPU
                    assert (found.numpy() == expected.numpy()).all()
            assert fj.ones(2).device == "/cpu:0"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def test_nans_are_found() -> None:
    with fj.config.override(debug_nans=True), pytest.raises(fj.NonFiniteError, match="log"):
        fj.log(fj.constant([1.0, 0.0]).to("gpu"))
