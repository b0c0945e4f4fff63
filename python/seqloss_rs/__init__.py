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
from .forecast import crps, interval_coverage, mase, rmse, rmsse, wape
from .gradient import value_and_grad
from .losses import cross_entropy_loss, ctc_loss, reinforce_loss
from .machine import get_num_threads, set_num_threads, show_config
from .pointwise import (
    gaussian_nll_loss,
    huber_loss,
    log_cosh_loss,
    mae_loss,
    mape_loss,
    mse_loss,
    msle_loss,
    poisson_nll_loss,
    quantile_loss,
    smape_loss,
    smooth_l1_loss,
)
from .policy import TokenLogProbs, policy_gradient_logits, token_log_probs
from .sums import LossSum
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
    "LossSum",
    "Rouge",
    "RougeScore",
    "Span",
    "TokenLogProbs",
    "__version__",
    "bleu_loss",
    "cross_entropy_loss",
    "crps",
    "ctc_align",
    "ctc_beam_decode",
    "ctc_feasible",
    "ctc_greedy_decode",
    "ctc_loss",
    "ctc_posteriors",
    "gaussian_nll_loss",
    "get_num_threads",
    "huber_loss",
    "interval_coverage",
    "log_cosh_loss",
    "mae_loss",
    "mape_loss",
    "mase",
    "mse_loss",
    "msle_loss",
    "poisson_nll_loss",
    "quantile_loss",
    "policy_gradient_logits",
    "reinforce_loss",
    "rmse",
    "rmsse",
    "rouge_loss",
    "set_num_threads",
    "show_config",
    "smape_loss",
    "smooth_l1_loss",
    "token_log_probs",
    "value_and_grad",
    "wape",
]
