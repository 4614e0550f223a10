"""Layers: networks are made of them. Each is a callable whose variables are made when it is first
called, from the shape of what it gets."""

from .attention import MultiHeadAttention as MultiHeadAttention
from .cells import Cell as Cell
from .cells import GRUCell as GRUCell
from .cells import LayerNormLSTMCell as LayerNormLSTMCell
from .cells import LSTMCell as LSTMCell
from .cells import RNNCell as RNNCell
from .convolution import AveragePool as AveragePool
from .convolution import Conv1D as Conv1D
from .convolution import Conv2D as Conv2D
from .convolution import Flatten as Flatten
from .convolution import MaxPool as MaxPool
from .dense import Dense as Dense
from .dropout import Dropout as Dropout
from .embedding import Embedding as Embedding
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
from .normalization import BatchNorm as BatchNorm
from .normalization import LayerNorm as LayerNorm
from .recurrent import GRU as GRU
from .recurrent import LSTM as LSTM
from .recurrent import RNN as RNN
from .regularizers import L1 as L1
from .regularizers import L2 as L2
from .regularizers import Regularizer as Regularizer
from .sequential import Sequential as Sequential
