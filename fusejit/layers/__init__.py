"""Layers: networks are made of them. Each is a callable whose variables are made when it is first
called, from the shape of what it gets."""

from .dense import Dense as Dense
from .dropout import Dropout as Dropout
from .initializers import INITIALIZERS as INITIALIZERS
from .initializers import Constant as Constant
from .initializers import Identity as Identity
from .initializers import Initializer as Initializer
from .initializers import Normal as Normal
from .initializers import Orthogonal as Orthogonal
from .initializers import Scaled as Scaled
from .initializers import Uniform as Uniform
from .initializers import get_initializer as get_initializer
from .layer import Layer as Layer
from .network import Network as Network
from .regularizers import L1 as L1
from .regularizers import L2 as L2
from .regularizers import Regularizer as Regularizer
from .sequential import Sequential as Sequential
