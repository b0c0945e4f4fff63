"""Losses for sequences, on the CPU, for NumPy."""

from . import significance
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
from .evaluation import (
    ReliabilityBins,
    bits_per_byte,
    bits_per_token,
    expected_calibration_error,
    perplexity,
    reliability_bins,
    top_k_accuracy,
)
from .forecast import crps, interval_coverage, mase, rmse, rmsse, wape
from .gradient import value_and_grad
from .losses import cross_entropy_loss, ctc_loss, reinforce_loss
from .machine import get_num_threads, set_num_threads, show_config
from .metrics import Bleu, BleuScore, ErrorRate, ErrorRateScore, Rouge, RougeScore
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
from .text import bleu_loss, rouge_loss
from .windows import DocumentScores, SequenceWindows, WindowBatch, sequence_windows

__all__ = [
    "Alignment",
    "Bleu",
    "BleuScore",
    "DocumentScores",
    "ErrorRate",
    "ErrorRateScore",
    "Feasibility",
    "Hypothesis",
    "InternalError",
    "LabelPosteriors",
    "LossSum",
    "ReliabilityBins",
    "Rouge",
    "RougeScore",
    "SequenceWindows",
    "Span",
    "TokenLogProbs",
    "WindowBatch",
    "__version__",
    "bits_per_byte",
    "bits_per_token",
    "bleu_loss",
    "cross_entropy_loss",
    "crps",
    "ctc_align",
    "ctc_beam_decode",
    "ctc_feasible",
    "ctc_greedy_decode",
    "ctc_loss",
    "ctc_posteriors",
    "expected_calibration_error",
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
    "perplexity",
    "poisson_nll_loss",
    "policy_gradient_logits",
    "quantile_loss",
    "reinforce_loss",
    "reliability_bins",
    "rmse",
    "rmsse",
    "rouge_loss",
    "sequence_windows",
    "set_num_threads",
    "show_config",
    "significance",
    "smape_loss",
    "smooth_l1_loss",
    "token_log_probs",
    "top_k_accuracy",
    "value_and_grad",
    "wape",
]
