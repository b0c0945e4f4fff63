"""Windows over documents that are longer than a model reads, and the log-probabilities gathered over them.

:func:`sequence_windows` says what a model is given and what counts, :class:`DocumentScores` adds up what it answers;
the sums are exact, so that no result depends on how windows are batched or work is split.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ._steps import (
    MeanReduction,
    as_value,
    check_reduction,
    divide,
    exp,
    mean_nats,
    read_byte_counts,
    read_lengths,
    read_rows,
    read_steps,
    shown,
    total_bits,
    whole_number,
)
from ._types import Array, Floats, Integers, Lengths, Mask, Value
from .policy import TokenLogProbs
from .sums import LossSum

__all__ = ["DocumentScores", "SequenceWindows", "WindowBatch", "sequence_windows"]


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
        size = whole_number("batch_size", batch_size, 1)
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
            if read.max() > np.iinfo(np.int64).max:
                place = max(first - 1, 0) + int(np.argmax(read))
                message = f"documents[{document}][{place}] is {read.max()}, which is not a token (below 2**63)"
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
    most = whole_number("window", window, 1)
    least = whole_number("context", context, 1)
    if least > most:
        message = f"context is {least}, expected 1 to {most}, which is window"
        raise ValueError(message)
    begin = None if begin_token is None else whole_number("begin_token", begin_token, 0)
    if whole_number("ignore_index", ignore_index, None) >= 0:
        message = f"ignore_index is {ignore_index}, expected a number below 0: others are tokens"
        raise ValueError(message)
    if last not in ("full", "short"):
        message = f'last is {shown(last)}, expected one of "full", "short"'
        raise ValueError(message)
    texts, leading = read_rows("documents", documents, "iu", "integers")
    if lengths is not None:
        texts = [text[:length] for text, length in zip(texts, read_lengths(lengths, texts, leading), strict=True)]
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
        texts,
        own,
        starts,
        ends - starts,
        counted - starts,
        begin,
        ignore_index,
        whole_number("pad_token", pad_token, None),
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
        steps = read_steps("log_probs", log_probs, "log_probs", lengths, mask)
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
        if not isinstance(other, DocumentScores):
            message = f"other is {other!r}, expected DocumentScores"
            raise TypeError(message)
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
        check_reduction(reduction)
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
        return as_value(exp(mean_nats(self._totals(reduction))), reduction)

    def bits_per_token(self, *, reduction: MeanReduction = "mean") -> Value:
        """Return −(1/n) Σ log₂ p: of all documents together, or (D,) of each ("sequence_mean")."""
        return as_value(mean_nats(self._totals(reduction)) / math.log(2), reduction)

    def bits_per_byte(self, byte_counts: Integers | int, *, reduction: MeanReduction = "mean") -> Value:
        """Return −Σ log₂ p over the bytes: of all documents, or (D,) of each ("sequence_mean").

        Parameters
        ----------
        byte_counts : (D,) integers, or int
            The bytes (of UTF-8) of each document, or of all together.
        reduction : {"mean", "sequence_mean"}
            The bits of all over all bytes, or of each document over its own.
        """
        bits = total_bits(self._totals(reduction))
        return as_value(divide(bits, read_byte_counts(byte_counts, (len(self._sums),), reduction)), reduction)
