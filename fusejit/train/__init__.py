"""Training: optimizers, learning rates that change, clipping, averages of weights, the loop."""

from .accumulation import Accumulated as Accumulated
from .adaptive import AdagradOptimizer as AdagradOptimizer
from .adaptive import AdamOptimizer as AdamOptimizer
from .adaptive import AdamWOptimizer as AdamWOptimizer
from .adaptive import RMSPropOptimizer as RMSPropOptimizer
from .averaging import MovingAverage as MovingAverage
from .checkpoint import Checkpoint as Checkpoint
from .clipping import clip_by_global_norm as clip_by_global_norm
from .clipping import global_norm as global_norm
from .descent import GradientDescentOptimizer as GradientDescentOptimizer
from .descent import LionOptimizer as LionOptimizer
from .descent import MomentumOptimizer as MomentumOptimizer
from .loop import evaluate as evaluate
from .loop import fit as fit
from .loop import testing_step as testing_step
from .loop import training_step as training_step
from .optimizer import Optimizer as Optimizer
from .progress import Progress as Progress
from .schedules import Constant as Constant
from .schedules import CosineDecay as CosineDecay
from .schedules import ExponentialDecay as ExponentialDecay
from .schedules import Piecewise as Piecewise
from .schedules import Schedule as Schedule
from .schedules import StepDecay as StepDecay
from .schedules import WarmUp as WarmUp
from .tensorboard import TensorBoard as TensorBoard
