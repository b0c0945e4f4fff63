"""Losses for sequences, on the CPU, for NumPy."""

from ._native import InternalError, __version__
from .losses import mae_loss, mse_loss, value_and_grad
from .machine import get_num_threads, set_num_threads, show_config

__all__ = [
    "InternalError",
    "__version__",
    "get_num_threads",
    "mae_loss",
    "mse_loss",
    "set_num_threads",
    "show_config",
    "value_and_grad",
]
