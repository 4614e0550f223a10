"""Neural-network functions: plain functions of ops, so they have no gradient rules of their own."""

from ..ops.creation import one_hot as one_hot
from .activations import dropout as dropout
from .activations import elu as elu
from .activations import gelu as gelu
from .activations import leaky_relu as leaky_relu
from .activations import log_softmax as log_softmax
from .activations import logsumexp as logsumexp
from .activations import relu as relu
from .activations import sigmoid as sigmoid
from .activations import silu as silu
from .activations import softmax as softmax
from .activations import softplus as softplus
from .activations import tanh as tanh
from .attention import attention as attention
from .convolution import average_pool as average_pool
from .convolution import convolution as convolution
from .convolution import max_pool as max_pool
from .ctc import ctc_loss as ctc_loss
from .losses import huber_loss as huber_loss
from .losses import kl_divergence as kl_divergence
from .losses import mean_absolute_error as mean_absolute_error
from .losses import mean_squared_error as mean_squared_error
from .losses import sigmoid_cross_entropy_with_logits as sigmoid_cross_entropy_with_logits
from .losses import softmax_cross_entropy_with_logits as softmax_cross_entropy_with_logits
from .losses import (
    sparse_softmax_cross_entropy_with_logits as sparse_softmax_cross_entropy_with_logits,
)
from .metrics import Accuracy as Accuracy
from .metrics import Mean as Mean
from .metrics import Metric as Metric
from .metrics import Perplexity as Perplexity
from .metrics import accuracy as accuracy
from .normalization import layer_norm as layer_norm
from .normalization import moments as moments
from .normalization import normalize as normalize
