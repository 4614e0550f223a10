"""Data: datasets that are read in order, shuffled, in batches; and readers of known ones."""

from .dataset import Dataset as Dataset
from .iterator import Iterator as Iterator
