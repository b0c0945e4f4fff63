"""Losses for sequences, on the CPU, for NumPy."""

from ._native import InternalError, __version__
from .decoding import (
    Alignment,
    Feasibility,
    Hypothesis,
    LabelPosteriors,
    Span,
    ctc_align,
    ctc_beam_decode,
    ctc_feasible,
    ctc_greedy_decode,
    ctc_posteriors,
)
from .gradient import value_and_grad
from .losses import cross_entropy_loss, ctc_loss, reinforce_loss
from .machine import get_num_threads, set_num_threads, show_config
from .pointwise import mae_loss, mse_loss
from .text import Bleu, BleuScore, ErrorRate, ErrorRateScore, Rouge, RougeScore, bleu_loss, rouge_loss

__all__ = [
    "Alignment",
    "Bleu",
    "BleuScore",
    "ErrorRate",
    "ErrorRateScore",
    "Feasibility",
    "Hypothesis",
    "InternalError",
    "LabelPosteriors",
    "Rouge",
    "RougeScore",
    "Span",
    "__version__",
    "bleu_loss",
    "cross_entropy_loss",
    "ctc_align",
    "ctc_beam_decode",
    "ctc_feasible",
    "ctc_greedy_decode",
    "ctc_loss",
    "ctc_posteriors",
    "get_num_threads",
    "mae_loss",
    "mse_loss",
    "reinforce_loss",
    "rouge_loss",
    "set_num_threads",
    "show_config",
    "value_and_grad",
]
