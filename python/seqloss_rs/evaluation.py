"""What is asked of a model that predicts tokens: perplexity, bits, accuracy and calibration.

There is one form for all: the first argument is what :func:`seqloss_rs.token_log_probs` returns (so that logits are
read once for all of these), or an array of what the function is about, such as the log-probabilities that an API
returns, with `lengths` and `mask`. Sums are exact and rounded once, so that no result depends on an order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._steps import (
    MeanReduction,
    by_reduction,
    divide,
    exact_total,
    exp,
    mean_nats,
    read_booleans,
    read_byte_counts,
    read_rows,
    read_steps,
    shown,
    total_bits,
    whole_number,
)
from ._types import Floats, Integers, Lengths, Mask, Value
from .policy import TokenLogProbs

__all__ = [
    "ReliabilityBins",
    "bits_per_byte",
    "bits_per_token",
    "expected_calibration_error",
    "perplexity",
    "reliability_bins",
    "top_k_accuracy",
]

Binning: TypeAlias = Literal["width", "mass"]
"""Bins of one width, or of as many steps each."""


# ---------------------------------------------------------------------------------------------------------------------
# Perplexity and bits


def perplexity(
    log_probs: TokenLogProbs | Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    reduction: MeanReduction = "mean",
) -> Value:
    """Perplexity: exp(−(1/n) Σ log p), over the n valid steps.

    Parameters
    ----------
    log_probs : TokenLogProbs, or (T,), (N, T) or (N, K, T) floats, or a list of N arrays
        The log-probability (in nats) of each token, given those before it.
    lengths : (N,) or (N, K) integers, optional
        The valid steps of each sequence; what lies beyond is never read.
    mask : booleans of the shape of `log_probs`, optional
        The valid steps. Of a `TokenLogProbs` only those steps count that are valid in it.
    reduction : {"mean", "sequence_mean"}
        Over the steps of all sequences; or of each sequence.

    Returns
    -------
    float or (N,) float64 array
        At least 1 for probabilities; inf where one of them is 0; NaN where no step is valid. One sequence (T,) makes it
        a float; a group axis K follows N.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> log_probs = np.log([[0.5, 0.25, 0.5], [0.125, 0.0625, 1.0]])
    >>> round(seqloss_rs.perplexity(log_probs, lengths=[3, 2]), 6)
    4.594793
    >>> seqloss_rs.perplexity(log_probs, lengths=[3, 2], reduction="sequence_mean").round(6)
    array([ 2.519842, 11.313708])

    From logits:

    >>> scores = seqloss_rs.token_log_probs(np.zeros((2, 3, 50)), [[1, 2, 3], [4, 5, -100]])
    >>> round(seqloss_rs.perplexity(scores), 6)
    50.0

    References
    ----------
    Jelinek et al., 1977, https://doi.org/10.1121/1.2016299.
    """
    steps = read_steps("log_probs", log_probs, "log_probs", lengths, mask)
    return steps.value(exp(mean_nats(steps.sums(reduction))), reduction)


def bits_per_token(
    log_probs: TokenLogProbs | Floats,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    reduction: MeanReduction = "mean",
) -> Value:
    """Bits for each token: −(1/n) Σ log₂ p over the n valid steps, which is log₂ of the perplexity.

    Parameters
    ----------
    log_probs, lengths, mask, reduction
        As in :func:`perplexity`; log-probabilities are in nats.

    Returns
    -------
    float or (N,) float64 array
        As in :func:`perplexity`.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.bits_per_token(np.log([0.5, 0.25, 0.125]))
    2.0

    References
    ----------
    Shannon, 1951, https://doi.org/10.1002/j.1538-7305.1951.tb01366.x.
    """
    steps = read_steps("log_probs", log_probs, "log_probs", lengths, mask)
    return steps.value(mean_nats(steps.sums(reduction)) / math.log(2), reduction)


def bits_per_byte(
    log_probs: TokenLogProbs | Floats,
    byte_counts: Integers | int,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    reduction: MeanReduction = "mean",
) -> Value:
    """Bits for each byte of text: −Σ log₂ p over the number of bytes, comparable between tokenisers.

    Parameters
    ----------
    log_probs, lengths, mask
        As in :func:`perplexity`; log-probabilities are in nats.
    byte_counts : int, (N,) integers, or integers of the shape of `log_probs`
        The bytes (of UTF-8) of all texts together; of the text of each sequence; or of each token, of which only those
        of valid steps count.
    reduction : {"mean", "sequence_mean"}
        The bits of all sequences over all bytes; or of each sequence over its own.

    Returns
    -------
    float or (N,) float64 array
        NaN where there are neither tokens nor bytes. One sequence (T,) makes it a float.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> texts = ["naïve", "tea"]
    >>> log_probs = [np.log([0.25, 0.125, 0.5]), np.log([0.125])]
    >>> byte_counts = [len(text.encode()) for text in texts]
    >>> seqloss_rs.bits_per_byte(log_probs, byte_counts)
    1.0
    >>> seqloss_rs.bits_per_byte(log_probs, byte_counts, reduction="sequence_mean")
    array([1., 1.])

    References
    ----------
    Gao et al., 2020 (the Pile), section 3.1, https://arxiv.org/abs/2101.00027; ``bits_per_byte`` of
    lm-evaluation-harness: the sum of all bits over the sum of all bytes.
    """
    steps = read_steps("log_probs", log_probs, "log_probs", lengths, mask)
    bits = total_bits(steps.sums(reduction))
    return steps.value(divide(bits, read_byte_counts(byte_counts, steps.leading, reduction, steps)), reduction)


# ---------------------------------------------------------------------------------------------------------------------
# Accuracy


def top_k_accuracy(
    ranks: TokenLogProbs | Integers,
    k: int | Sequence[int] = 1,
    *,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    reduction: MeanReduction = "mean",
) -> Value:
    """Share of the valid steps whose target is among the k classes of the largest scores.

    Parameters
    ----------
    ranks : TokenLogProbs, or (T,), (N, T) or (N, K, T) integers, or a list of N arrays
        How many classes come before the target: 0 where it is the best. A step with a rank below 0 is not valid.
    k : int or sequence of K ints
        How many classes may be guessed, at least 1.
    lengths, mask, reduction
        As in :func:`perplexity`.

    Returns
    -------
    float or float64 array
        In [0, 1]; NaN where no step is valid, or where a `TokenLogProbs` has NaN in one that is. (N,) for
        "sequence_mean"; several k make a last axis K.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> logits = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    >>> scores = seqloss_rs.token_log_probs(logits, [0, 1, 1])
    >>> round(seqloss_rs.top_k_accuracy(scores), 6)
    0.333333
    >>> seqloss_rs.top_k_accuracy(scores, [1, 2]).round(6)
    array([0.333333, 1.      ])

    References
    ----------
    Krizhevsky et al., 2012, section 1,
    https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html; of equal scores the class of
    the lower index comes first, where ``sklearn.metrics.top_k_accuracy_score`` takes the higher one.
    """
    steps = read_steps("ranks", ranks, "rank", lengths, mask)
    most = np.asarray(k)
    if most.dtype.kind not in "iu" or most.ndim > 1 or (most < 1).any():
        message = f"k is {k!r}, expected a whole number of 1 or more, or a sequence of them"
        raise ValueError(message)
    rows = steps.valid()
    hits = [by_reduction([int(np.count_nonzero(row < one)) for row in rows], reduction) for one in most.flat]
    counts = np.array(by_reduction([len(row) for row in rows], reduction))
    shares = divide(np.array(hits).T, counts[:, None])
    if isinstance(ranks, TokenLogProbs):
        # A rank is a number even among logits that are NaN.
        log_probs, _ = read_rows("ranks.log_probs", ranks.log_probs, "f", "real numbers")
        pairs = zip(log_probs, steps.is_valid, strict=True)
        unknown = by_reduction([int(np.isnan(row[own]).sum()) for row, own in pairs], reduction)
        shares[np.array(unknown, bool)] = math.nan
    return steps.value(shares[:, 0] if most.ndim == 0 else shares, reduction)


# ---------------------------------------------------------------------------------------------------------------------
# Calibration


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Predictions in bins of confidence: what a reliability diagram draws.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> bins = seqloss_rs.reliability_bins(np.log([0.6, 0.7, 0.9, 0.9]), [True, False, True, True], bins=4)
    >>> bins.edges, bins.counts
    (array([0.  , 0.25, 0.5 , 0.75, 1.  ]), array([0, 0, 2, 2]))
    >>> bins.confidence.round(6), bins.accuracy
    (array([ nan,  nan, 0.65, 0.9 ]), array([nan, nan, 0.5, 1. ]))
    >>> round(bins.expected_error, 6), round(bins.maximum_error, 6)
    (0.125, 0.15)
    """

    edges: NDArray[np.float64]
    """(M + 1,): bin m holds the confidences above edge m, up to and with edge m + 1."""
    counts: NDArray[np.int64]
    """(M,): the predictions in each bin."""
    confidence: NDArray[np.float64]
    """(M,): their mean probability; NaN where there are none."""
    accuracy: NDArray[np.float64]
    """(M,): the share of them that is right; NaN where there are none."""

    @property
    def expected_error(self) -> float:
        """Σ (count / n) |accuracy − confidence|; NaN for no predictions."""
        used = self.counts > 0
        gaps = np.abs(self.accuracy - self.confidence)[used]
        return float(divide(math.fsum(self.counts[used] * gaps), self.counts.sum()))

    @property
    def maximum_error(self) -> float:
        """The largest |accuracy − confidence| of a bin; NaN for no predictions."""
        gaps = np.abs(self.accuracy - self.confidence)[self.counts > 0]
        return float(gaps.max()) if gaps.size else math.nan


def reliability_bins(
    max_log_probs: TokenLogProbs | Floats,
    correct: Mask | None = None,
    *,
    bins: int = 15,
    binning: Binning = "width",
    lengths: Lengths | None = None,
    mask: Mask | None = None,
) -> ReliabilityBins:
    """Put predictions into bins of confidence: how sure they are on the average, and how often right.

    Parameters
    ----------
    max_log_probs : TokenLogProbs, or (T,), (N, T) or (N, K, T) floats, or a list of N arrays
        The log-probability of what is predicted: of the class that has the largest one.
    correct : booleans of the shape of `max_log_probs`, optional
        Whether the prediction is right. A `TokenLogProbs` knows it.
    bins : int
        M, the number of bins.
    binning : {"width", "mass"}
        "width": bin m holds the confidences in ((m − 1) / M, m / M]. "mass": edges are the quantiles m / M of the
        confidences, so that bins hold about as many each; equal confidences are never parted, so a bin may be empty.
    lengths, mask
        As in :func:`perplexity`.

    Returns
    -------
    ReliabilityBins
        Edges, counts, confidence and accuracy of the bins. A NaN falls into the last bin and makes its confidence NaN.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> log_probs, correct = np.log([0.5, 0.6, 0.8, 0.9]), [False, True, True, True]
    >>> seqloss_rs.reliability_bins(log_probs, correct, bins=2, binning="mass").counts
    array([2, 2])

    References
    ----------
    Guo et al., 2017, section 2, https://arxiv.org/abs/1706.04599; bins of equal mass: Nguyen & O'Connor, 2015,
    https://arxiv.org/abs/1508.05154.
    """
    count = whole_number("bins", bins, 1)
    if binning not in ("width", "mass"):
        message = f'binning is {shown(binning)}, expected one of "width", "mass"'
        raise ValueError(message)
    steps = read_steps("max_log_probs", max_log_probs, "max_log_probs", lengths, mask)
    if isinstance(max_log_probs, TokenLogProbs):
        if correct is not None:
            message = "correct goes with an array of log-probabilities; a TokenLogProbs has ranks, which tell it"
            raise TypeError(message)
        right = [row == 0 for row in read_rows("max_log_probs.rank", max_log_probs.rank, "iu", "integers")[0]]
    elif correct is None:
        message = "correct is missing, expected booleans of the shape of max_log_probs"
        raise TypeError(message)
    else:
        right = read_booleans("correct", correct, steps)
    confidences = np.exp(np.concatenate([np.zeros(0), *(row.astype(np.float64) for row in steps.valid())]))
    hits = np.concatenate([np.zeros(0, bool), *(row[own] for row, own in zip(right, steps.is_valid, strict=True))])
    # What float32 and an API's rounding leave above 1 is 1.
    above = np.flatnonzero(confidences > 1 + 1e-3)
    if above.size:
        message = f"max_log_probs has {math.log(confidences[above[0]]):g}, which is not the logarithm of a probability"
        raise ValueError(message)
    confidences = np.minimum(confidences, 1.0)
    edges = np.arange(count + 1) / count
    if binning == "mass" and confidences.size:
        # The least confidence that at least m / M of them do not exceed.
        places = -(-np.arange(1, count) * confidences.size // count) - 1
        edges[1:-1] = np.sort(confidences)[places]
    own = np.searchsorted(edges[1:-1], confidences, side="left")
    counts = np.bincount(own, minlength=count)
    sums = [exact_total([confidences], [own == place]).value for place in range(count)]
    return ReliabilityBins(
        edges, counts, divide(sums, counts), divide(np.bincount(own, weights=hits, minlength=count), counts)
    )


def expected_calibration_error(
    max_log_probs: TokenLogProbs | Floats,
    correct: Mask | None = None,
    *,
    bins: int = 15,
    binning: Binning = "width",
    lengths: Lengths | None = None,
    mask: Mask | None = None,
) -> float:
    """Return the expected calibration error: Σₘ (nₘ / n) |accuracyₘ − confidenceₘ| over bins of confidence.

    Parameters
    ----------
    max_log_probs, correct, bins, binning, lengths, mask
        As in :func:`reliability_bins`.

    Returns
    -------
    float
        In [0, 1]: 0 where a share p of the predictions of probability p is right. NaN where no step is valid.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> round(seqloss_rs.expected_calibration_error(np.log([0.8] * 5), [True, True, True, False, False]), 6)
    0.2

    From logits, of the class of the largest one:

    >>> logits = np.log([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]])
    >>> scores = seqloss_rs.token_log_probs(logits, [0, 1, 1])
    >>> round(seqloss_rs.expected_calibration_error(scores), 6)
    0.333333

    References
    ----------
    Guo et al., 2017, equation 3, https://arxiv.org/abs/1706.04599.
    """
    found = reliability_bins(max_log_probs, correct, bins=bins, binning=binning, lengths=lengths, mask=mask)
    return found.expected_error
