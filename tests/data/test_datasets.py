"""Datasets: what they give, in which order, and that they go on exactly where they stood."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fusejit as fj
from fusejit.data import Dataset


def numbers(n: int = 10) -> Dataset:
    return Dataset.from_tensor_slices(np.arange(n))


def generated(n: int = 10) -> Dataset:
    return Dataset.from_generator(lambda: iter(range(n)))


def values(dataset: Iterable[Any]) -> list[Any]:
    """Elements as plain Python."""
    return [_plain(element) for element in dataset]


def _plain(element: Any) -> Any:
    if isinstance(element, tuple):
        return tuple(map(_plain, element))
    if isinstance(element, dict):
        return {key: _plain(value) for key, value in element.items()}
    return element.tolist()


class Pair(NamedTuple):
    x: Any
    y: Any


# ---- elements


def test_elements_are_tensors_in_the_structure_of_the_arrays() -> None:
    x, y = np.ones((4, 3), np.float32), np.arange(4)
    for given in ((x, y), Pair(x, y), {"x": x, "y": y}, ((x, {"y": y}), y)):
        first, *_ = Dataset.from_tensor_slices(given).batch(2)
        assert type(first) is type(given)
    pair = next(iter(Dataset.from_tensor_slices(Pair(x, y)).batch(2)))
    assert isinstance(pair.x, fj.Tensor) and pair.x.shape == (2, 3) and pair.y.tolist() == [0, 1]
    assert pair.x.dtype == np.float32 and pair.y.dtype == np.int64


def test_python_numbers_become_what_fusejit_makes_of_them() -> None:
    dataset = Dataset.from_generator(lambda: [(1.5, 2), (2.5, 3)])
    assert [x.dtype.name for x in next(iter(dataset))] == ["float32", "int64"]
    assert [x.dtype.name for x in next(iter(dataset.batch(2)))] == ["float32", "int64"]


def test_rows_of_tensors_and_lists() -> None:
    assert values(Dataset.from_tensor_slices(fj.arange(3))) == [0, 1, 2]
    assert values(Dataset.from_tensor_slices([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]


def test_text_stays_text() -> None:
    dataset = Dataset.from_tensor_slices((np.array(["a", "b"]), np.arange(2)))
    assert [str(word) for word, _ in dataset] == ["a", "b"]


def test_first_axes_must_agree() -> None:
    with pytest.raises(fj.ShapeError, match=r"axes of one length; got \[3\] \[2, 2\]"):
        Dataset.from_tensor_slices((np.ones(3), np.ones((2, 2))))
    with pytest.raises(fj.ShapeError, match="from_tensor_slices"):
        Dataset.from_tensor_slices(np.float32(1))


def test_a_map_cannot_write_into_the_arrays_of_the_user() -> None:
    x = np.ones((4, 2))

    def halve(a: Any) -> Any:
        a /= 2
        return a

    with pytest.raises(ValueError, match="read-only"):
        values(Dataset.from_tensor_slices(x).batch(2).map(halve))
    assert x.sum() == 8 and x.flags.writeable


def test_batches_share_no_memory_with_the_arrays() -> None:
    x = np.zeros((4, 2), np.float32)
    first = next(iter(Dataset.from_tensor_slices(x).batch(2)))
    x += 1
    assert not first.numpy().any()


# ---- transformations


@pytest.mark.parametrize("make", [numbers, generated])
def test_transformations(make: Callable[..., Dataset]) -> None:
    assert values(make(5).batch(2)) == [[0, 1], [2, 3], [4]]
    assert values(make(5).batch(2, drop_remainder=True)) == [[0, 1], [2, 3]]
    assert values(make(3).repeat(2)) == [0, 1, 2, 0, 1, 2]
    assert values(make(3).repeat(3).batch(4)) == [[0, 1, 2, 0], [1, 2, 0, 1], [2]]
    assert values(make(3).repeat().take(7)) == [0, 1, 2, 0, 1, 2, 0]
    assert values(make(5).take(2)) == [0, 1] and values(make(5).skip(3)) == [3, 4]
    assert values(make(5).take(2).batch(8)) == [[0, 1]] and values(make(5).skip(3).batch(1)) == [
        [3],
        [4],
    ]
    assert values(make(2).take(9)) == [0, 1] and values(make(2).skip(9)) == []
    assert values(make(3).map(lambda n: n * n)) == [0, 1, 4]
    assert values(Dataset.zip(make(3), make(2).map(lambda n: -n))) == [(0, 0), (1, -1)]
    assert values(Dataset.zip(make(4), make(3)).batch(2)) == [([0, 1], [0, 1]), ([2], [2])]
    assert values(make(4).cache().repeat(2).batch(3)) == [[0, 1, 2], [3, 0, 1], [2, 3]]
    assert values(make(4).prefetch(2)) == [0, 1, 2, 3]
    assert values(make(0)) == [] and values(make(0).batch(2)) == []
    assert values(make(0).repeat()) == [] and values(make(0).shuffle(3)) == []
    assert values(make(5).skip(1).take(3).shuffle(1)) == [1, 2, 3]


def test_a_map_gets_the_parts_of_a_tuple() -> None:
    x = np.arange(3.0)
    dataset = Dataset.from_tensor_slices((x, x)).map(lambda a, b: {"sum": a + b})
    assert values(dataset) == [{"sum": 0.0}, {"sum": 2.0}, {"sum": 4.0}]


def test_a_map_may_use_ops_and_return_tensors() -> None:
    dataset = numbers(4).batch(2).map(lambda n: fj.exp(n * 0.0))
    assert values(dataset.prefetch()) == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("make", [numbers, generated])
@pytest.mark.parametrize("buffer", [1, 3, 10, 50])
def test_shuffling_loses_nothing(make: Callable[..., Dataset], buffer: int) -> None:
    dataset = make(10).shuffle(buffer, seed=3)
    first, second = values(dataset), values(dataset)
    assert sorted(first) == sorted(second) == list(range(10))
    assert (first == list(range(10))) == (buffer == 1)
    assert (first != second) == (buffer > 1)  # each pass is shuffled anew
    same = make(10).shuffle(buffer, seed=3)
    assert (values(same), values(same)) == (first, second)
    batches = [n for batch in values(make(10).shuffle(buffer, seed=3).batch(4)) for n in batch]
    assert batches == first
    for place, n in enumerate(first):
        assert n < place + buffer  # none comes before it can have been in the buffer


def test_shuffled_orders_are_equally_likely() -> None:
    for make in (numbers, generated):
        dataset = make(3).shuffle(3, seed=0)
        counts = Counter(tuple(values(dataset)) for _ in range(600))
        assert len(counts) == 6 and min(counts.values()) > 60


def test_the_seed_of_fusejit_is_that_of_shuffling() -> None:
    orders = []
    for _ in range(2):
        fj.random.seed(5)
        orders.append(values(numbers(20).shuffle(20)))
    assert orders[0] == orders[1]


def test_repeated_passes_are_shuffled_anew() -> None:
    found = values(numbers(8).shuffle(8, seed=0).repeat(3).batch(8))
    assert all(sorted(batch) == list(range(8)) for batch in found)
    assert len({tuple(batch) for batch in found}) == 3
    endless = numbers(8).shuffle(8, seed=0).repeat().batch(8).take(2)
    assert values(endless) == found[:2] and values(endless) != found[:2]


def test_padding() -> None:
    words = Dataset.from_generator(lambda: [([1, 2, 3], 3), ([4], 1), ([5, 6], 2)])
    assert values(words.padded_batch(2)) == [
        ([[1, 2, 3], [4, 0, 0]], [3, 1]),
        ([[5, 6]], [2]),
    ]
    assert values(words.padded_batch(2, value=-1, multiple_of=4, drop_remainder=True)) == [
        ([[1, 2, 3, -1], [4, -1, -1, -1]], [3, 1])
    ]


def test_a_cache_reads_once() -> None:
    passes = []

    def read() -> Iterable[int]:
        passes.append(1)
        yield from range(4)

    dataset = Dataset.from_generator(read).cache().map(lambda n: n + 1)
    assert values(dataset.take(2)) == [1, 2]  # an incomplete pass is not kept
    assert [values(dataset) for _ in range(3)] == [[1, 2, 3, 4]] * 3
    assert len(passes) == 2


def test_memory_maps(tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(6, 2)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.arange(6))
    dataset = Dataset.from_memmap((tmp_path / "x.npy", str(tmp_path / "y.npy")))
    assert values(dataset.skip(4).batch(2)) == [([[8.0, 9.0], [10.0, 11.0]], [4, 5])]
    raw = np.memmap(tmp_path / "raw", np.float32, "w+", shape=(3, 2))
    assert len(Dataset.from_tensor_slices(raw)) == 3
    (tmp_path / "no.npy").write_bytes(b"something else")
    with pytest.raises(fj.FileError, match=r"no\.npy cannot be mapped"):
        Dataset.from_memmap(tmp_path / "no.npy")
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(content[:-8])
    with pytest.raises(fj.FileError, match=r"short\.npy cannot be mapped"):
        Dataset.from_memmap(tmp_path / "short.npy")


@pytest.mark.parametrize(
    ("dataset", "size"),
    [
        (numbers(10).batch(3), 4),
        (numbers(10).batch(3, drop_remainder=True), 3),
        (numbers(10).shuffle(2).map(abs).cache().prefetch(), 10),
        (numbers(10).repeat(2).skip(5), 15),
        (numbers(10).repeat().take(25), 25),
        (Dataset.zip(numbers(10), numbers(4), numbers(1).repeat()), 4),
    ],
)
def test_the_number_of_elements(dataset: Dataset, size: int) -> None:
    assert len(dataset) == size == len(values(dataset))
    assert f": {size} elements" in repr(dataset)


def test_an_unknown_number_of_elements() -> None:
    with pytest.raises(TypeError, match=r"generator\.batch\(2\) is not known"):
        len(generated().batch(2))
    with pytest.raises(TypeError, match="is endless"):
        len(numbers().repeat())
    assert bool(generated()) and repr(generated()) == "<Dataset generator: some elements>"


@pytest.mark.parametrize("name", ["batch", "shuffle", "repeat", "prefetch", "padded_batch"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(fj.FuseJitError, match=rf"Dataset\.{name}: expected \w+ >= 1, got 0"):
        getattr(numbers(), name)(0)


# ---- resuming


def _labelled() -> Dataset:
    return Dataset.from_tensor_slices((np.arange(20.0).reshape(10, 2), np.arange(10)))


PIPELINES: dict[str, Callable[[], Dataset]] = {
    "slices": numbers,
    "generator": generated,
    "labelled": lambda: _labelled().shuffle(10).batch(3).map(lambda x, y: (x * 2, y)),
    "buffered": lambda: numbers().shuffle(4).batch(3),
    "buffered generator": lambda: generated().shuffle(4).batch(3).prefetch(2),
    "twice shuffled": lambda: numbers().shuffle(4).map(lambda n: n + 1).shuffle(3).batch(2),
    "repeated": lambda: numbers().shuffle(10).repeat(3).batch(4),
    "shuffled repetition": lambda: generated(5).repeat(3).shuffle(6).batch(4),
    "cached": lambda: generated().cache().shuffle(4).repeat(2).batch(3),
    "zipped": lambda: Dataset.zip(numbers().shuffle(10), generated(9).shuffle(2)).batch(2),
    "taken": lambda: generated(20).skip(3).take(9).batch(2),
    "prefetched twice": lambda: numbers(20).shuffle(5).prefetch(3).batch(3).prefetch(2),
    "padded": lambda: generated().map(lambda n: [n] * (n + 1)).padded_batch(3),
    "endless": lambda: numbers(7).shuffle(7).repeat().batch(3).take(8),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_to_resume_is_exact_in_the_middle_of_any_pass(name: str) -> None:
    dataset = PIPELINES[name]()
    whole = fj.Iterator(dataset)
    expected, states = [], [whole.state()]
    for element in whole:
        expected.append(_plain(element))
        states.append(whole.state())
    whole.restart()
    following = values(whole)
    for place, state in enumerate(states):
        saved = json.loads(json.dumps(state))
        # Other seeds, as in a new process: the state must bring them along.
        with fj.Iterator(PIPELINES[name]()) as other:
            for _ in zip(range(place // 2), other, strict=False):
                pass
            other.restore(saved)
            assert values(other) == expected[place:]
            assert other.state() == states[-1]
            other.restart()
            assert values(other) == following


def test_a_state_is_small_whatever_the_buffer() -> None:
    iterator = iter(numbers(5000).shuffle(4000).batch(10))
    next(iterator)
    assert len(json.dumps(iterator.state())) < 300


def test_a_state_of_another_dataset_is_refused() -> None:
    state = iter(numbers().batch(2)).state()
    with pytest.raises(
        fj.FuseJitError, match=r"the state is of slices\[10\]\.batch\(2\), and this"
    ):
        iter(numbers().batch(3)).restore(state)


def test_an_iterator_says_where_it_stands() -> None:
    iterator = iter(numbers(4))
    next(iterator)
    assert repr(iterator) == "<Iterator over slices[4]: 1 taken of pass 0>"
