"""Losses for sequences, on the CPU, for NumPy."""

from . import rewards, significance
from ._metric import PreparedReferences
from ._native import InternalError, __version__
from .advantages import MovingAverage, gae, group_advantages, mixer_mask, whiten
from .answers import AnswerScore, ExactMatch, TokenF1
from .corpora import DistinctNgrams, cider_d, distinct_ngrams, self_bleu
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
from .error_rate import AlignmentChunk, ErrorRate, ErrorRateAlignment, ErrorRateScore
from .evaluation import (
    ReliabilityBins,
    bits_per_byte,
    bits_per_token,
    expected_calibration_error,
    perplexity,
    reliability_bins,
    top_k_accuracy,
)
from .expected import eisl_loss, expected_bleu_loss, expected_rouge_loss, soft_rouge_l_loss
from .forecast import crps, interval_coverage, mase, rmse, rmsse, wape
from .gleu import Gleu, GleuScore, NltkBleu, NltkBleuScore
from .gradient import value_and_grad
from .losses import cross_entropy_loss, ctc_loss, reinforce_loss
from .machine import get_num_threads, set_num_threads, show_config
from .mbr import MbrChoice, mbr
from .metrics import Bleu, BleuScore, Chrf, ChrfScore, Ter, TerScore
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
from .policy_losses import dpo_loss, grpo_loss, mrt_loss, mwer_loss, ppo_loss, value_loss
from .rouge import Rouge, RougeScore, rouge_scores
from .sums import LossSum
from .text import bleu_loss, rouge_loss
from .windows import DocumentScores, SequenceWindows, WindowBatch, sequence_windows

__all__ = [
    "Alignment",
    "AlignmentChunk",
    "AnswerScore",
    "Bleu",
    "BleuScore",
    "Chrf",
    "ChrfScore",
    "DistinctNgrams",
    "DocumentScores",
    "ErrorRate",
    "ErrorRateAlignment",
    "ErrorRateScore",
    "ExactMatch",
    "Feasibility",
    "Gleu",
    "GleuScore",
    "Hypothesis",
    "InternalError",
    "LabelPosteriors",
    "LossSum",
    "MbrChoice",
    "MovingAverage",
    "NltkBleu",
    "NltkBleuScore",
    "PreparedReferences",
    "ReliabilityBins",
    "Rouge",
    "RougeScore",
    "SequenceWindows",
    "Span",
    "Ter",
    "TerScore",
    "TokenF1",
    "TokenLogProbs",
    "WindowBatch",
    "__version__",
    "bits_per_byte",
    "bits_per_token",
    "bleu_loss",
    "cider_d",
    "cross_entropy_loss",
    "crps",
    "ctc_align",
    "ctc_beam_decode",
    "ctc_feasible",
    "ctc_greedy_decode",
    "ctc_loss",
    "ctc_posteriors",
    "distinct_ngrams",
    "dpo_loss",
    "eisl_loss",
    "expected_bleu_loss",
    "expected_calibration_error",
    "expected_rouge_loss",
    "gae",
    "gaussian_nll_loss",
    "get_num_threads",
    "group_advantages",
    "grpo_loss",
    "huber_loss",
    "interval_coverage",
    "log_cosh_loss",
    "mae_loss",
    "mape_loss",
    "mase",
    "mbr",
    "mixer_mask",
    "mrt_loss",
    "mse_loss",
    "msle_loss",
    "mwer_loss",
    "perplexity",
    "poisson_nll_loss",
    "policy_gradient_logits",
    "ppo_loss",
    "quantile_loss",
    "reinforce_loss",
    "reliability_bins",
    "rewards",
    "rmse",
    "rmsse",
    "rouge_loss",
    "rouge_scores",
    "self_bleu",
    "sequence_windows",
    "set_num_threads",
    "show_config",
    "significance",
    "smape_loss",
    "smooth_l1_loss",
    "soft_rouge_l_loss",
    "token_log_probs",
    "top_k_accuracy",
    "value_and_grad",
    "value_loss",
    "wape",
    "whiten",
]
