"""What is asked of a model that predicts tokens: perplexity, bits, accuracy, calibration, and windows over documents.

There is one form for all: the first argument is what :func:`seqloss_rs.token_log_probs` returns (so that logits are
read once for all of these), or an array of what the function is about, such as the log-probabilities that an API
returns, with `lengths` and `mask`. Sums are exact and rounded once, so that no result depends on an order.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._types import Array, Floats, Integers, Lengths, Mask, Value
from .policy import TokenLogProbs
from .sums import LossSum

__all__ = [
    "DocumentScores",
    "ReliabilityBins",
    "SequenceWindows",
    "WindowBatch",
    "bits_per_byte",
    "bits_per_token",
    "expected_calibration_error",
    "perplexity",
    "reliability_bins",
    "sequence_windows",
    "top_k_accuracy",
]

MeanReduction: TypeAlias = Literal["mean", "sequence_mean"]
"""One number over all valid steps, or one for each sequence over its own."""

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
    steps = _read("log_probs", log_probs, "log_probs", lengths, mask)
    return steps.value(_exp(_nats(steps.sums(reduction))), reduction)


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
    steps = _read("log_probs", log_probs, "log_probs", lengths, mask)
    return steps.value(_nats(steps.sums(reduction)) / math.log(2), reduction)


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
    steps = _read("log_probs", log_probs, "log_probs", lengths, mask)
    bits = _bits(steps.sums(reduction))
    return steps.value(_divide(bits, _bytes(byte_counts, steps.leading, reduction, steps)), reduction)


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
        In [0, 1]; NaN where no step is valid. (N,) for "sequence_mean"; several k make a last axis K.

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
    steps = _read("ranks", ranks, "rank", lengths, mask)
    most = np.asarray(k)
    if most.dtype.kind not in "iu" or most.ndim > 1 or (most < 1).any():
        message = f"k is {k!r}, expected a whole number of 1 or more, or a sequence of them"
        raise ValueError(message)
    rows = steps.valid()
    hits = [_groups([int(np.count_nonzero(row < one)) for row in rows], reduction) for one in most.flat]
    counts = np.array(_groups([len(row) for row in rows], reduction))
    shares = _divide(np.array(hits).T, counts[:, None])
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
        return float(_divide(math.fsum(self.counts[used] * gaps), self.counts.sum()))

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
    count = _whole("bins", bins, 1)
    if binning not in ("width", "mass"):
        message = f'binning is {_shown(binning)}, expected one of "width", "mass"'
        raise ValueError(message)
    steps = _read("max_log_probs", max_log_probs, "max_log_probs", lengths, mask)
    if isinstance(max_log_probs, TokenLogProbs):
        if correct is not None:
            message = "correct goes with an array of log-probabilities; a TokenLogProbs has ranks, which tell it"
            raise TypeError(message)
        right = [row == 0 for row in _rows("max_log_probs.rank", max_log_probs.rank, "iu", "integers")[0]]
    elif correct is None:
        message = "correct is missing, expected booleans of the shape of max_log_probs"
        raise TypeError(message)
    else:
        right = _alike("correct", correct, steps)
    confidences = np.exp(np.concatenate([np.zeros(0), *(row.astype(np.float64) for row in steps.valid())]))
    hits = np.concatenate([np.zeros(0, bool), *(row[own] for row, own in zip(right, steps.is_valid, strict=True))])
    # What float32 and an API's rounding leave above 1 is 1.
    above = np.flatnonzero(confidences > 1 + 1e-3)
    if above.size:
        message = f"max_log_probs has {math.log(confidences[above[0]]):g}, which is not the logarithm of a probability"
        raise ValueError(message)
    edges = np.arange(count + 1) / count
    if binning == "mass" and confidences.size:
        # The least confidence that at least m / M of them do not exceed.
        places = -(-np.arange(1, count) * confidences.size // count) - 1
        edges[1:-1] = np.sort(confidences)[places]
    own = np.searchsorted(edges[1:-1], confidences, side="left")
    counts = np.bincount(own, minlength=count)
    sums = [_total([confidences], [own == place]).value for place in range(count)]
    return ReliabilityBins(
        edges, counts, _divide(sums, counts), _divide(np.bincount(own, weights=hits, minlength=count), counts)
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


# ---------------------------------------------------------------------------------------------------------------------
# Windows over documents


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """B windows, padded on the right to the longest of them, T steps.

    ``cross_entropy_loss(logits, batch.targets, lengths=batch.lengths)`` and ``token_log_probs`` take it as it is.

    Examples
    --------
    >>> import seqloss_rs
    >>> (batch,) = seqloss_rs.sequence_windows([[5, 6, 7, 8], [9, 5]], 2).batches(3)
    >>> batch.inputs.tolist(), batch.targets.tolist(), batch.lengths.tolist()
    ([[5, 6], [6, 7], [9, 0]], [[6, 7], [-100, 8], [5, -100]], [2, 2, 1])
    >>> batch.documents, batch.offsets
    (array([0, 0, 1]), array([1, 2, 1]))
    """

    inputs: NDArray[np.int64]
    """(B, T): the tokens that a model is given."""
    targets: NDArray[np.int64]
    """(B, T): the token behind each of them where it counts in this window, elsewhere `ignore_index`."""
    mask: NDArray[np.bool_]
    """(B, T): where it counts."""
    lengths: NDArray[np.int64]
    """(B,): the steps of each window; behind them is padding."""
    documents: NDArray[np.int64]
    """(B,): the document of each window."""
    offsets: NDArray[np.int64]
    """(B,): the target of step t is token ``offsets + t`` of its document."""


@dataclass(frozen=True, eq=False)
class SequenceWindows:
    """What :func:`sequence_windows` returns: where windows lie in documents. Tokens are copied batch by batch.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> windows = seqloss_rs.sequence_windows([np.arange(10), np.arange(3)], 4, context=2)
    >>> len(windows), windows.documents, windows.starts, windows.lengths
    (4, array([0, 0, 0, 1]), array([0, 3, 5, 0]), array([4, 4, 4, 2]))
    >>> windows.first_counted  # the last window of the first document begins earlier than it must
    array([0, 1, 2, 0])
    >>> windows.token_counts
    array([9, 2])
    """

    tokens: Sequence[Array]
    """Those of each of the D documents."""
    documents: NDArray[np.int64]
    """(W,): the document of each window."""
    starts: NDArray[np.int64]
    """(W,): how many inputs of its document come before the window; a token for the beginning is an input."""
    lengths: NDArray[np.int64]
    """(W,): its steps."""
    first_counted: NDArray[np.int64]
    """(W,): the first of its steps whose target counts; those before it are context."""
    begin_token: int | None
    ignore_index: int
    pad_token: int

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def token_counts(self) -> NDArray[np.int64]:
        """(D,): how many tokens of each document count."""
        result = np.zeros(len(self.tokens), np.int64)
        np.add.at(result, self.documents, self.lengths - self.first_counted)
        return result

    def batches(self, batch_size: int) -> Iterator[WindowBatch]:
        """Yield the windows in their order, at most `batch_size` at a time."""
        size = _whole("batch_size", batch_size, 1)
        return (self._batch(slice(first, first + size)) for first in range(0, len(self), size))

    def _batch(self, own: slice) -> WindowBatch:
        lengths, starts, documents = self.lengths[own], self.starts[own], self.documents[own]
        shape = len(lengths), int(lengths.max())
        inputs, targets = np.full(shape, self.pad_token, np.int64), np.full(shape, self.ignore_index, np.int64)
        steps = np.arange(shape[1])
        mask = (steps >= self.first_counted[own, None]) & (steps < lengths[:, None])
        # Input i is followed by token i + 1, or by token i where a beginning has been put before them.
        offsets = starts + (self.begin_token is None)
        for row, (document, first, length) in enumerate(zip(documents, offsets, lengths, strict=True)):
            read = self.tokens[document][max(first - 1, 0) : first + length]
            if read.min() < 0:
                place = max(first - 1, 0) + int(np.argmin(read))
                message = f"documents[{document}][{place}] is {read.min()}, which is not a token (0 or more)"
                raise ValueError(message)
            np.copyto(targets[row, :length], read[-length:], where=mask[row, :length])
            inputs[row, length - len(read) + 1 : length] = read[:-1]
            if first == 0 and self.begin_token is not None:
                inputs[row, 0] = self.begin_token
        return WindowBatch(inputs, targets, mask, lengths, documents, offsets)


def sequence_windows(
    documents: Integers,
    window: int,
    *,
    context: int = 1,
    begin_token: int | None = None,
    last: Literal["full", "short"] = "full",
    lengths: Lengths | None = None,
    ignore_index: int = -100,
    pad_token: int = 0,
) -> SequenceWindows:
    """Lay windows over long documents so that each token counts once, with context before it.

    A window is what a model is given at once. The first of a document counts all of its targets; each one after it
    moves on by window − context + 1 tokens and counts those that are new.

    Parameters
    ----------
    documents : list of D integer arrays, (D, T) or (T,) integers
        The tokens of each document, 0 or more. Arrays are kept, not copied; they may be memory-mapped.
    window : int
        The most inputs that a model is given.
    context : int
        From 1 to `window`: how many inputs at least there are up to a target, except at the beginning of a document.
        1 makes windows that do not overlap; `window` makes one for each token.
    begin_token : int, optional
        Is put before each document, so that its first token counts too. Without it the first token is only context,
        and a document of one token has no window.
    last : {"full", "short"}
        Where the last window of a long document begins: as early as `window` lets it, with more context; or where its
        place among the others is.
    lengths : (D,) integers, optional
        The tokens of each document; what lies beyond is never read.
    ignore_index : int
        The target of what does not count, below 0.
    pad_token : int
        The input that stands behind the end of shorter windows.

    Returns
    -------
    SequenceWindows
        Their places; ``.batches(batch_size)`` yields inputs, targets, lengths and a mask.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    A toy model, which is rather sure that each token is followed by the next one, and the perplexity of documents that
    are longer than it can read:

    >>> import numpy as np, seqloss_rs
    >>> def model(inputs):  # (B, T) tokens, (B, T, C) logits
    ...     return 3.0 * np.eye(5)[(inputs + 1) % 5]
    >>> documents = [np.arange(1000) % 5, np.array([0, 1, 3, 4])]
    >>> scores = seqloss_rs.DocumentScores()
    >>> for batch in seqloss_rs.sequence_windows(documents, 64, context=32).batches(8):
    ...     found = seqloss_rs.token_log_probs(model(batch.inputs), batch.targets, lengths=batch.lengths)
    ...     scores.update(found, batch.documents)
    >>> scores.token_counts
    array([999,   3])
    >>> scores.perplexity(reduction="sequence_mean").round(3)
    array([1.199, 3.26 ])
    >>> round(scores.perplexity(), 3)
    1.203

    References
    ----------
    ``get_rolling_token_windows(tokens, prefix_token, max_seq_len, context_len)`` of lm-evaluation-harness: the same
    windows for `window`, `context` and `begin_token`; its disjoint windows are those of ``context=1``. The recipe
    "Perplexity of fixed-length models" of Hugging Face, https://huggingface.co/docs/transformers/perplexity: the same
    for ``window=max_length - 1``, ``context=max_length - stride`` and ``last="short"``, except that it weighs each
    window but the first by one token less than it counts, and loses one where stride is max_length.
    """
    most = _whole("window", window, 1)
    least = _whole("context", context, 1)
    if least > most:
        message = f"context is {least}, expected 1 to {most}, which is window"
        raise ValueError(message)
    begin = None if begin_token is None else _whole("begin_token", begin_token, 0)
    if _whole("ignore_index", ignore_index, None) >= 0:
        message = f"ignore_index is {ignore_index}, expected a number below 0: others are tokens"
        raise ValueError(message)
    if last not in ("full", "short"):
        message = f'last is {_shown(last)}, expected one of "full", "short"'
        raise ValueError(message)
    texts, leading = _rows("documents", documents, "iu", "integers")
    if lengths is not None:
        texts = [text[:length] for text, length in zip(texts, _lengths(lengths, texts, leading), strict=True)]
    # Targets of each document, and windows: one, and others for what that leaves.
    targets = np.maximum(np.array([len(text) for text in texts], np.int64) - (begin is None), 0)
    stride = most - least + 1
    counts = np.where(targets > 0, 1 + -(np.minimum(most - targets, 0) // stride), 0)
    own = np.repeat(np.arange(len(texts)), counts)
    place = np.arange(len(own)) - np.repeat(np.cumsum(counts) - counts, counts)
    counted = np.where(place > 0, most + (place - 1) * stride, 0)
    ends = np.minimum(most + place * stride, targets[own])
    starts = np.where(place > 0, ends - most if last == "full" else counted + 1 - least, 0)
    return SequenceWindows(
        texts, own, starts, ends - starts, counted - starts, begin, ignore_index, _whole("pad_token", pad_token, None)
    )


class DocumentScores:
    """Log-probabilities of documents, gathered over their windows: perplexity and bits of each, and of all.

    Sums are exact: the same bits for any order of windows, any batch size, and however work is split and merged.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> scores, others = seqloss_rs.DocumentScores(), seqloss_rs.DocumentScores()
    >>> scores.update(np.log([[0.5, 0.25], [0.125, 1.0]]), [0, 1], mask=[[True, True], [True, False]])
    >>> others.update(np.log([[0.5]]), [1])  # the rest of the second document, from another process
    >>> scores.merge(others)
    >>> scores.token_counts, scores.log_probs.round(6)
    (array([2, 2]), array([-2.079442, -2.772589]))
    >>> scores.bits_per_byte([3, 4], reduction="sequence_mean")
    array([1., 1.])
    """

    def __init__(self) -> None:
        self._sums: list[LossSum] = []

    def update(
        self,
        log_probs: TokenLogProbs | Floats,
        documents: Integers | int,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
    ) -> None:
        """Add windows.

        Parameters
        ----------
        log_probs, lengths, mask
            As in :func:`perplexity`; steps that are not valid are context or padding.
        documents : (B,) integers, or one for one sequence
            The document of each window, from 0.
        """
        steps = _read("log_probs", log_probs, "log_probs", lengths, mask)
        places = np.asarray(documents)
        if places.dtype.kind not in "iu" and places.size:
            message = f"documents has dtype {places.dtype}, expected integers"
            raise TypeError(message)
        if places.shape not in (steps.leading, steps.leading or (1,)):
            message = f"documents has shape {places.shape}, expected {steps.leading or (1,)}"
            raise ValueError(message)
        if places.size and places.min() < 0:
            message = f"documents has {places.min()}, expected numbers from 0"
            raise ValueError(message)
        for place, row, own in zip(places.reshape(-1).tolist(), steps.rows, steps.is_valid, strict=True):
            self._sum(place).update(row, mask=own)

    def merge(self, other: "DocumentScores") -> None:
        """Add what another one has gathered of the same documents; ``a + b`` is a new one."""
        for place, own in enumerate(other._sums):
            self._sum(place).merge(own)

    def __add__(self, other: "DocumentScores") -> "DocumentScores":
        if not isinstance(other, DocumentScores):
            return NotImplemented
        both = DocumentScores()
        both.merge(self)
        both.merge(other)
        return both

    def _sum(self, place: int) -> LossSum:
        self._sums.extend(LossSum() for _ in range(place + 1 - len(self._sums)))
        return self._sums[place]

    def _totals(self, reduction: MeanReduction) -> list[LossSum]:
        _check(reduction)
        return [sum(self._sums, LossSum())] if reduction == "mean" else self._sums

    @property
    def token_counts(self) -> NDArray[np.int64]:
        """(D,): the tokens of each document that have been counted."""
        return np.array([own.count for own in self._sums], np.int64)

    @property
    def log_probs(self) -> NDArray[np.float64]:
        """(D,): the log-probability of each document, its exact sum rounded once."""
        return np.array([own.value for own in self._sums], np.float64)

    def perplexity(self, *, reduction: MeanReduction = "mean") -> Value:
        """Return exp(−(1/n) Σ log p): of all documents together, or (D,) of each ("sequence_mean")."""
        return _value(_exp(_nats(self._totals(reduction))), reduction)

    def bits_per_token(self, *, reduction: MeanReduction = "mean") -> Value:
        """Return −(1/n) Σ log₂ p: of all documents together, or (D,) of each ("sequence_mean")."""
        return _value(_nats(self._totals(reduction)) / math.log(2), reduction)

    def bits_per_byte(self, byte_counts: Integers | int, *, reduction: MeanReduction = "mean") -> Value:
        """Return −Σ log₂ p over the bytes: of all documents, or (D,) of each ("sequence_mean").

        Parameters
        ----------
        byte_counts : (D,) integers, or int
            The bytes (of UTF-8) of each document, or of all together.
        reduction : {"mean", "sequence_mean"}
            The bits of all over all bytes, or of each document over its own.
        """
        bits = _bits(self._totals(reduction))
        return _value(_divide(bits, _bytes(byte_counts, (len(self._sums),), reduction)), reduction)


# ---------------------------------------------------------------------------------------------------------------------
# Steps of sequences


@dataclass(frozen=True)
class _Steps:
    """Numbers of sequences, and which of them are valid."""

    rows: list[Array]
    is_valid: list[NDArray[np.bool_]]
    # The axes before that of the steps: none for one sequence (T,), whose results are single numbers.
    leading: tuple[int, ...]

    def valid(self) -> list[Array]:
        return [row[own] for row, own in zip(self.rows, self.is_valid, strict=True)]

    def sums(self, reduction: MeanReduction) -> list[LossSum]:
        """Return the sum over the valid steps of all sequences, or of each."""
        _check(reduction)
        if reduction == "mean":
            return [_total(self.rows, self.is_valid)]
        return [_total([row], [own]) for row, own in zip(self.rows, self.is_valid, strict=True)]

    def value(self, results: Array, reduction: MeanReduction) -> Value:
        if reduction == "sequence_mean" and self.leading:
            return results.reshape(self.leading + results.shape[1:])
        return _value(results, "mean")


def _value(results: Array, reduction: MeanReduction) -> Value:
    """Give the results of all steps together, or of each sequence, the form in which they are returned."""
    if reduction == "sequence_mean":
        return results
    return float(results[0]) if results.ndim == 1 else results[0]


def _read(name: str, given: TokenLogProbs | Any, about: str, lengths: Lengths | None, mask: Mask | None) -> _Steps:
    """Return the numbers that are asked for, and which are valid: by their ranks, within `lengths`, in `mask`."""
    is_rank = about == "rank"
    own_ranks: list[Array] | None = None
    if isinstance(given, TokenLogProbs):
        own_ranks = _rows(f"{name}.rank", given.rank, "iu", "integers")[0]
        name, given = f"{name}.{about}", getattr(given, about)
    kinds, expected = ("iu", "integers") if is_rank else ("fiu", "real numbers")
    rows, leading = _rows(name, given, kinds, expected)
    ranks = rows if is_rank else own_ranks
    is_valid = [np.ones(len(row), bool) for row in rows] if ranks is None else [row >= 0 for row in ranks]
    if lengths is not None:
        for own, length in zip(is_valid, _lengths(lengths, rows, leading), strict=True):
            own[length:] = False
    steps = _Steps(rows, is_valid, leading)
    if mask is None:
        return steps
    pairs = zip(is_valid, _alike("mask", mask, steps), strict=True)
    return _Steps(rows, [own & allowed for own, allowed in pairs], leading)


def _rows(name: str, given: Any, kinds: str, expected: str) -> tuple[list[Array], tuple[int, ...]]:
    """Return the sequences of an array or a list, and the axes of the array before the one of the steps."""
    leading: tuple[int, ...]
    if isinstance(given, (list, tuple)):
        rows = [np.asarray(_unmasked(f"{name}[{index}]", item)) for index, item in enumerate(given)]
        if rows and all(row.ndim == 0 for row in rows):
            return _rows(name, np.asarray(given), kinds, expected)
        leading, named = (len(rows),), [f"{name}[{index}]" for index in range(len(rows))]
        for own, row in zip(named, rows, strict=True):
            if row.ndim != 1:
                message = f"{own} has shape {row.shape}, expected one axis"
                raise ValueError(message)
    else:
        array = np.asarray(_unmasked(name, given))
        if not 1 <= array.ndim <= 3:
            message = f"{name} has shape {array.shape}, expected 1 to 3 axes"
            raise ValueError(message)
        leading = array.shape[:-1]
        rows = list(array.reshape(math.prod(leading), array.shape[-1]))
        named = [name] * len(rows)
    for own, row in zip(named, rows, strict=True):
        # Types of other packages, such as bfloat16, call themselves void.
        is_float = "f" in kinds and row.dtype.kind == "V" and np.can_cast(row.dtype, np.float64)
        # What is empty has no type of its own.
        if row.size and row.dtype.kind not in kinds and not is_float:
            message = f"{own} has dtype {row.dtype}, expected {expected}"
            raise TypeError(message)
    if "f" in kinds:
        rows = [row.astype(np.float64) if row.dtype.kind in "iu" else row for row in rows]
    return rows, leading


def _unmasked(name: str, given: Any) -> Any:
    if isinstance(given, np.ma.MaskedArray):
        message = f"{name} is a MaskedArray, whose mask would be lost: pass {name}.data and mask="
        raise TypeError(message)
    return given


def _alike(name: str, given: Mask, steps: _Steps) -> list[NDArray[np.bool_]]:
    """Return booleans of the shape of the steps."""
    rows, leading = _rows(name, given, "b", "bool")
    shape, expected = _shape(rows, leading), _shape(steps.rows, steps.leading)
    if shape != expected:
        message = f"{name} has shape {shape}, expected {expected}"
        raise ValueError(message)
    return [row.astype(bool, copy=False) for row in rows]


def _shape(rows: Sequence[Array], leading: tuple[int, ...]) -> str:
    sizes = [len(row) for row in rows]
    if len(set(sizes)) < 2:
        return str(leading + tuple(sizes[:1]))
    shown = [f"({size},)" for size in sizes[:10]]
    return f"[{', '.join(shown)}{', …' if len(sizes) > 10 else ''}]"


def _lengths(given: Lengths, rows: Sequence[Array], leading: tuple[int, ...]) -> list[int]:
    array = np.asarray(given)
    if array.dtype.kind not in "iu" and array.size:
        message = f"lengths has dtype {array.dtype}, expected integers"
        raise TypeError(message)
    if array.shape not in (leading, leading or (1,)):
        message = f"lengths has shape {array.shape}, expected {leading or (1,)}"
        raise ValueError(message)
    lengths: list[int] = array.reshape(-1).tolist()
    for index, (length, row) in enumerate(zip(lengths, rows, strict=True)):
        if not 0 <= length <= len(row):
            place = list(map(int, np.unravel_index(index, leading))) if leading else ""
            message = f"lengths{place} is {length}, which is not a length in 0..={len(row)}"
            raise ValueError(message)
    return lengths


def _bytes(
    given: Integers | int, leading: tuple[int, ...], reduction: MeanReduction, steps: _Steps | None = None
) -> list[int]:
    """Return the bytes of all, or of each sequence, from those of all, of each, or of each token (of `steps`)."""
    sizes = given if isinstance(given, (list, tuple)) else np.asarray(_unmasked("byte_counts", given))
    if isinstance(sizes, np.ndarray) and sizes.ndim == 0:
        if reduction == "sequence_mean" and leading:
            message = "byte_counts is one number, expected one for each sequence, because each has a result"
            raise ValueError(message)
        return [_whole("byte_counts", sizes.item(), 0)]
    rows, axes = _rows("byte_counts", sizes, "iu", "integers")
    for row in rows:
        if row.size and row.min() < 0:
            message = f"byte_counts has {row.min()}, expected numbers of 0 or more"
            raise ValueError(message)
    shape, expected = _shape(rows, axes), [str(leading or (1,))]
    if steps is not None:
        by_token = _shape(steps.rows, steps.leading)
        if shape == by_token:
            return _groups([int(row[own].sum()) for row, own in zip(rows, steps.is_valid, strict=True)], reduction)
        expected.append(by_token)
    if shape != expected[0]:
        message = f"byte_counts has shape {shape}, expected {' or '.join(expected)}"
        raise ValueError(message)
    return _groups([int(size) for row in rows for size in row], reduction)


# ---------------------------------------------------------------------------------------------------------------------
# Exact sums


def _groups(values: list[int], reduction: MeanReduction) -> list[int]:
    """Return whole numbers of sequences: of all of them together, or of each."""
    _check(reduction)
    return [sum(values)] if reduction == "mean" else values


def _total(rows: Sequence[Array], masks: Sequence[NDArray[np.bool_]]) -> LossSum:
    total = LossSum()
    for row, mask in zip(rows, masks, strict=True):
        total.update(row, mask=mask)
    return total


def _nats(sums: Sequence[LossSum]) -> NDArray[np.float64]:
    """Return the mean of minus each."""
    # 0 less the sum: that of nothing but certainty is 0, not −0.
    return _divide([0.0 - own.value for own in sums], [own.count for own in sums])


def _bits(sums: Sequence[LossSum]) -> NDArray[np.float64]:
    return np.array([0.0 - own.value for own in sums], np.float64) / math.log(2)


def _divide(numerator: Any, denominator: Any) -> NDArray[np.float64]:
    """Return a quotient in which 0 / 0 is NaN rather than an exception."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))


def _exp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return np.exp(values)


def _check(reduction: str) -> None:
    if reduction not in ("mean", "sequence_mean"):
        message = f'reduction is {_shown(reduction)}, expected one of "mean", "sequence_mean"'
        raise ValueError(message)


def _shown(word: object) -> str:
    return f'"{word}"' if isinstance(word, str) else repr(word)


def _whole(name: str, given: Any, least: int | None) -> int:
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)):
        message = f"{name} is {_shown(given)}, expected a whole number"
        raise TypeError(message)
    if least is not None and given < least:
        message = f"{name} is {given}, expected {least} or more"
        raise ValueError(message)
    return int(given)
