"""Automatic differentiation: the tape, functions that differentiate functions, custom gradients."""

from .custom import custom_gradient as custom_gradient
from .gradients import gradients_function as gradients_function
from .gradients import implicit_gradients as implicit_gradients
from .gradients import implicit_value_and_gradients as implicit_value_and_gradients
from .gradients import value_and_gradients_function as value_and_gradients_function
from .tape import GradientTape as GradientTape
