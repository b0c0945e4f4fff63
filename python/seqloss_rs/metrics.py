"""Metrics of text: the classes that give scores and statistics.

Defaults and words live here; checks, tokenizers and numbers in the native module.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._texts import Layout, Measure, References, Smoothing, Texts, Tokenize, Unit, Variant
from ._types import Integers

__all__ = ["Bleu", "BleuScore", "ErrorRate", "ErrorRateScore", "Rouge", "RougeScore"]


@dataclass(frozen=True)
class BleuScore:
    """BLEU of a corpus and what it is made of.

    Attributes
    ----------
    score : float
        In [0, 100].
    precisions : tuple of float
        Of n-grams of order 1, 2, …, smoothed, in [0, 100].
    brevity_penalty : float
        In [0, 1].
    hypothesis_length, reference_length : int
        In tokens; of several references the one whose length is closest.
    counts, totals : tuple of int
        The n-grams of each order that match, and all of the hypotheses.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.Bleu().corpus(["a b c d e"], ["a b c d f"]).counts
    (4, 3, 2, 1)
    """

    score: float
    precisions: tuple[float, ...]
    brevity_penalty: float
    hypothesis_length: int
    reference_length: int
    counts: tuple[int, ...]
    totals: tuple[int, ...]


@dataclass(frozen=True)
class RougeScore:
    """ROUGE of a corpus: means over its pairs, in [0, 1].

    Attributes
    ----------
    score : float
        The measure that was asked for.
    precision, recall, f : float
        All three of them.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.Rouge(variant="rouge1").corpus(["the cat"], ["the cat sat on"]).recall
    0.5
    """

    score: float
    precision: float
    recall: float
    f: float


@dataclass(frozen=True)
class ErrorRateScore:
    """The error rate of a corpus and what it is made of.

    Attributes
    ----------
    score : float
        (substitutions + deletions + insertions) / (hits + substitutions + deletions); it can exceed 1. Where all
        references are empty it is the number of insertions.
    hits, substitutions, deletions, insertions : int
        Of the alignments of least cost that rapidfuzz finds.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.ErrorRate().corpus(["a x c d"], ["a b c"])
    ErrorRateScore(score=0.6666666666666666, hits=2, substitutions=1, deletions=0, insertions=1)
    """

    score: float
    hits: int
    substitutions: int
    deletions: int
    insertions: int


Score = TypeVar("Score")


class _Metric(Generic[Score]):
    """What the metrics have in common."""

    def __post_init__(self) -> None:
        self._metric()

    def _metric(self) -> Any:
        """Return the native metric; it checks the options."""
        raise NotImplementedError

    def _score(self, parts: tuple[Any, ...]) -> Score:
        """Put the parts of the corpus score together."""
        raise NotImplementedError

    def corpus(self, hypotheses: Texts, references: References, **layout: Unpack[Layout]) -> Score:
        """Score all pairs together.

        Parameters
        ----------
        hypotheses : list of N strings, list of N lists of tokens, or token ids
            What is scored. Token ids of any integer type (below 2**63 - 1) are (N, T), (N, K, T) with K hypotheses for
            each item of the references, a list of N arrays, or flat with ``offsets``.
        references : list of N texts, or list of N lists of texts
            ``references[i]`` is what ``hypotheses[i]`` is compared with: one text or several; None in a list of several
            is a missing one. Token ids may be (N, R), and several of them (N, M, R).
        **layout
            lengths, reference_lengths, offsets, reference_offsets, eos_id, pad_id, rollouts, as :class:`Layout` tells.
        """
        return self._score(self._metric().corpus(hypotheses, references, layout))

    def sentences(self, hypotheses: Texts, references: References, **layout: Unpack[Layout]) -> NDArray[np.float64]:
        """Score each pair: (N,), or (N, K) for K hypotheses for each item of the references.

        Parameters
        ----------
        hypotheses, references, **layout
            As in :meth:`corpus`.
        """
        scores: NDArray[np.float64] = self._metric().sentences(hypotheses, references, layout)
        return scores

    def statistics(self, hypotheses: Texts, references: References, **layout: Unpack[Layout]) -> NDArray[np.int64]:
        """Count each pair: (N, k) or (N, K, k), rows that can be kept, added and scored later.

        Parameters
        ----------
        hypotheses, references, **layout
            As in :meth:`corpus`.
        """
        rows: NDArray[np.int64] = self._metric().statistics(hypotheses, references, layout)
        return rows

    def from_statistics(self, rows: Integers) -> Score:
        """Score rows of :meth:`statistics`: (N, k), or one row (k,) that may be the sum of many."""
        return self._score(self._metric().score_statistics(rows))


@dataclass(frozen=True, kw_only=True)
class Bleu(_Metric[BleuScore]):
    """BLEU on sacrebleu's scale of 100.

    A row of :meth:`statistics` is sacrebleu's: the length of the hypothesis, that of the reference, the matches of
    orders 1 to n, the n-grams of the hypothesis of orders 1 to n.

    Parameters
    ----------
    max_order, smoothing, effective_order, tokenize, lowercase
        As in :func:`bleu_loss`.

    Examples
    --------
    >>> import seqloss_rs
    >>> bleu = seqloss_rs.Bleu(max_order=2)
    >>> hypotheses, references = ["the cat sat", "a dog"], ["the cat sat down", "the dog"]
    >>> round(bleu.corpus(hypotheses, references).score, 4)
    59.7916
    >>> bleu.statistics(hypotheses, references)
    array([[3, 4, 3, 2, 3, 2],
           [2, 2, 1, 0, 2, 1]])
    >>> bleu.from_statistics([5, 6, 4, 2, 5, 3]) == bleu.corpus(hypotheses, references)
    True
    """

    max_order: int = 4
    smoothing: Smoothing = "exp"
    effective_order: bool | None = None
    tokenize: Tokenize = "13a"
    lowercase: bool = False

    def _metric(self) -> Any:
        return _native.bleu(self.max_order, self.smoothing, self.effective_order, self.tokenize, self.lowercase)

    def _score(self, parts: tuple[Any, ...]) -> BleuScore:
        score, precisions, brevity_penalty, row = parts
        middle = 2 + self.max_order
        return BleuScore(score, precisions, brevity_penalty, row[0], row[1], row[2:middle], row[middle:])


@dataclass(frozen=True, kw_only=True)
class Rouge(_Metric[RougeScore]):
    """ROUGE, as ratios.

    A row of :meth:`statistics` is hits, the count of the hypothesis, the count of the reference (tokens, or n-grams).
    The score of a corpus is the mean over its pairs, so rows must not be added.

    Parameters
    ----------
    variant, measure, stem
        As in :func:`rouge_loss`.

    Examples
    --------
    >>> import seqloss_rs
    >>> rouge = seqloss_rs.Rouge(variant="rougeL")
    >>> rouge.sentences(["the cat", "a dog"], ["the cat", "one dog"])
    array([1. , 0.5])
    >>> rouge.corpus(["the cat", "a dog"], ["the cat", "one dog"])
    RougeScore(score=0.75, precision=0.75, recall=0.75, f=0.75)
    """

    variant: Variant = "rougeL"
    measure: Measure = "f"
    stem: bool = False

    def _metric(self) -> Any:
        return _native.rouge(self.variant, self.measure, self.stem)

    def _score(self, parts: tuple[Any, ...]) -> RougeScore:
        return RougeScore(*parts)


@dataclass(frozen=True, kw_only=True)
class ErrorRate(_Metric[ErrorRateScore]):
    """Word or character error rate, as a ratio.

    A row of :meth:`statistics` is hits, substitutions, deletions, insertions. Of several references the one with the
    lowest rate counts.

    Parameters
    ----------
    unit : {"word", "char"}
        What is aligned: what spaces separate, or every character. Token ids are units already.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.ErrorRate(unit="char").sentences(["kitten"], ["sitting"])
    array([0.42857143])
    """

    unit: Unit = "word"

    def _metric(self) -> Any:
        return _native.error_rate(self.unit)

    def _score(self, parts: tuple[Any, ...]) -> ErrorRateScore:
        score, row = parts
        return ErrorRateScore(score, *row)
