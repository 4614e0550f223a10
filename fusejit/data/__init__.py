"""Data: datasets that are read in order, shuffled, in batches; and readers of known ones."""

from .dataset import Dataset as Dataset
from .idx import read_idx as read_idx
from .idx import write_idx as write_idx
from .images import Labelled as Labelled
from .images import Split as Split
from .images import digits as digits
from .images import mnist as mnist
from .iterator import Iterator as Iterator
from .text import Alphabet as Alphabet
from .text import text as text
from .text import windows as windows
