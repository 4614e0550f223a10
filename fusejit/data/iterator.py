"""Iterator: one pass over a dataset, as Tensors, which can be saved and resumed."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import FuseJitError
from .source import State
from .structure import Element, as_tensor, map_leaves

if TYPE_CHECKING:
    from .dataset import Dataset


class Iterator:
    """Gives the elements of a dataset as Tensors.

    `state()` says in a few numbers where it stands, as JSON; `restore(state)` on an iterator over a
    dataset made alike, in another process too, goes on with the very next element.

    Attributes:
        dataset: what it goes over.
        taken: how many elements it has given in this pass.
    Example:
        >>> import fusejit as fj
        >>> dataset = fj.data.Dataset.from_tensor_slices(fj.arange(4)).shuffle(4, seed=1)
        >>> iterator = fj.Iterator(dataset)
        >>> first = next(iterator)
        >>> saved = iterator.state()
        >>> rest = [int(n) for n in iterator]
        >>> iterator.restore(saved)
        >>> rest == [int(n) for n in iterator]
        True
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._number, self._source = dataset.begin()
        self.taken = 0

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Element:
        element = next(self._source)
        self.taken += 1
        return map_leaves(as_tensor, element)

    def restart(self) -> None:
        """Begin another pass: shuffled anew."""
        self._source.close()
        self._number, self._source = self.dataset.begin()
        self.taken = 0

    def state(self) -> State:
        """Where it stands, as JSON values."""
        return {
            "dataset": self.dataset.name,
            "pass": self._number,
            "taken": self.taken,
            "source": self._source.state(),
        }

    def restore(self, state: State) -> None:
        """Go to where `state` was taken.

        Raises:
            FuseJitError: the state is of a dataset that was made otherwise.
        """
        if state.get("dataset") != self.dataset.name:
            raise FuseJitError(
                f"Iterator.restore: the state is of {state.get('dataset')}, and this dataset is "
                f"{self.dataset.name}; they must be made alike."
            )
        self._source.close()
        self._number, self._source = self.dataset.begin(state["pass"])
        self._source.restore(state["source"])
        self.taken = state["taken"]

    def close(self) -> None:
        """End the threads of `prefetch` now; they also end when the iterator is collected."""
        self._source.close()

    def __enter__(self) -> Iterator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Iterator over {self.dataset.name}: {self.taken} taken of pass {self._number}>"
