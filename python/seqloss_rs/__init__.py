"""Losses for sequences, on the CPU, for NumPy."""

from ._native import InternalError, __version__
from .decoding import ctc_greedy_decode
from .losses import cross_entropy_loss, ctc_loss, mae_loss, mse_loss, reinforce_loss, value_and_grad
from .machine import get_num_threads, set_num_threads, show_config

__all__ = [
    "InternalError",
    "__version__",
    "cross_entropy_loss",
    "ctc_greedy_decode",
    "ctc_loss",
    "get_num_threads",
    "mae_loss",
    "mse_loss",
    "reinforce_loss",
    "set_num_threads",
    "show_config",
    "value_and_grad",
]
