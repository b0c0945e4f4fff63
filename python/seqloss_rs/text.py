"""Text: BLEU and ROUGE as losses, and the classes that give scores and statistics.

Defaults and words live here; checks, tokenizers and numbers in the native module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._types import Integers, Lengths, Value

__all__ = [
    "Bleu",
    "BleuScore",
    "ErrorRate",
    "ErrorRateScore",
    "Rouge",
    "RougeScore",
    "bleu_loss",
    "rouge_loss",
]

Texts: TypeAlias = Sequence[str] | Integers
"""N strings, or N texts of token ids: an (N, T) array or a list of N arrays."""

References: TypeAlias = Sequence[str] | Sequence[Sequence[str]] | Integers
"""What each of N texts is compared with: one text, or a list of them."""

Smoothing: TypeAlias = Literal["none", "floor", "add-k", "exp"]
Tokenize: TypeAlias = Literal["13a", "none", "char"]
Measure: TypeAlias = Literal["f", "precision", "recall"]
Variant: TypeAlias = Literal[
    "rouge1", "rouge2", "rouge3", "rouge4", "rouge5", "rouge6", "rouge7", "rouge8", "rouge9", "rougeL", "rougeLsum"
]
Unit: TypeAlias = Literal["word", "char"]
TextReduction: TypeAlias = (
    Literal["none", "sequence", "sequence_mean", "sum", "mean", "batch_mean", "corpus"] | _native.LossSum
)


def bleu_loss(
    hypotheses: Texts,
    references: References,
    *,
    max_order: int = 4,
    smoothing: Smoothing = "exp",
    effective_order: bool | None = None,
    tokenize: Tokenize = "13a",
    lowercase: bool = False,
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    reduction: TextReduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """1 − BLEU/100, in [0, 1]; a perfect match is exactly 0.

    Parameters
    ----------
    hypotheses : list of N strings, or (N, T) integers, or list of N integer arrays
        What is scored: strings, or token ids of any integer type (below 2**63 - 1).
    references : list of N strings, or list of N lists of strings
        ``references[i]`` is what ``hypotheses[i]`` is compared with: one text or several. For token ids (N, R)
        integers, or a list of N arrays, or a list of N lists of arrays.
    max_order : int
        The longest n-grams, in 1..32.
    smoothing : {"exp", "none", "floor", "add-k"}
        What is done about orders without a match: they count as half a match, a quarter, and so on; nothing, so that
        the score is 0; they count as 0.1 matches; all orders above 1 get one more match and n-gram.
    effective_order : bool, optional
        Leave out the orders that a text is too short for. None is on for sentences, and off for ``reduction="corpus"``.
    tokenize : {"13a", "none", "char"}
        How strings are cut: as WMT's mteval-v13a does; at whitespace; into characters. Token ids stay as they are.
    lowercase : bool
        Lower-case strings first.
    lengths : (N,) integers, optional
        How many ids of each hypothesis count; what lies beyond changes nothing.
    reference_lengths : (N,) integers, optional
        The same for references, one for each hypothesis.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean", "corpus"}
        The mean over N; the loss of each pair (three names for one thing); their sum; the mean; or the loss of the
        corpus, which is that of the summed statistics, as papers report it.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float, or float64 (N,) for "none", "sequence" and "sequence_mean".

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it. Strings must not be mixed with token ids.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> hypotheses = ["the cat sat on the mat", "a dog"]
    >>> references = ["the cat sat on the mat", ["a dog barks", "the dog"]]
    >>> seqloss_rs.bleu_loss(hypotheses, references, reduction="none")
    array([0., 0.])
    >>> round(seqloss_rs.bleu_loss(np.array([[5, 6, 7, 8]]), np.array([[5, 6, 7, 9]])), 6)
    0.405396

    References
    ----------
    Papineni et al. 2002, https://doi.org/10.3115/1073083.1073135; the numbers are sacrebleu 2.6.0's.
    """
    return _native.bleu(max_order, smoothing, effective_order, tokenize, lowercase).loss(
        hypotheses, references, lengths, reference_lengths, reduction, normalizer
    )


def rouge_loss(
    hypotheses: Texts,
    references: References,
    *,
    variant: Variant = "rougeL",
    measure: Measure = "f",
    stem: bool = False,
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    reduction: TextReduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """1 − ROUGE, in [0, 1]; a perfect match is exactly 0.

    Parameters
    ----------
    hypotheses : list of N strings, or (N, T) integers, or list of N integer arrays
        What is scored: strings, or token ids of any integer type (below 2**63 - 1).
    references : list of N strings, or list of N lists of strings
        ``references[i]`` is what ``hypotheses[i]`` is compared with: one text or several, of which the one with the
        best F counts. For token ids (N, R) integers, or a list of N arrays, or a list of N lists of arrays.
    variant : {"rouge1" to "rouge9", "rougeL", "rougeLsum"}
        What is counted: n-grams of that length; the longest common subsequence; the same line by line. Token ids have
        no lines, so "rougeLsum" is "rougeL" for them.
    measure : {"f", "precision", "recall"}
        Which of the three.
    stem : bool
        Compare the stems of words (Porter's, as NLTK has them).
    lengths : (N,) integers, optional
        How many ids of each hypothesis count; what lies beyond changes nothing.
    reference_lengths : (N,) integers, optional
        The same for references, one for each hypothesis.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean", "corpus"}
        The mean over N; the loss of each pair (three names for one thing); their sum; the mean; or 1 − the score of the
        corpus, which is the mean over N.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float, or float64 (N,) for "none", "sequence" and "sequence_mean".

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it. Strings must not be mixed with token ids.

    Examples
    --------
    >>> import seqloss_rs
    >>> round(seqloss_rs.rouge_loss(["the cat"], ["the cat sat"]), 6)
    0.2
    >>> seqloss_rs.rouge_loss(["the cats"], ["the cat sat"], measure="precision", stem=True)
    0.0

    References
    ----------
    Lin 2004, https://aclanthology.org/W04-1013/; the numbers are rouge-score 0.1.2's.
    """
    return _native.rouge(variant, measure, stem).loss(
        hypotheses, references, lengths, reference_lengths, reduction, normalizer
    )


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

    def corpus(
        self,
        hypotheses: Texts,
        references: References,
        *,
        lengths: Lengths | None = None,
        reference_lengths: Lengths | None = None,
    ) -> Score:
        """Score all pairs together."""
        return self._score(self._metric().corpus(hypotheses, references, lengths, reference_lengths))

    def sentences(
        self,
        hypotheses: Texts,
        references: References,
        *,
        lengths: Lengths | None = None,
        reference_lengths: Lengths | None = None,
    ) -> NDArray[np.float64]:
        """Score each pair: (N,)."""
        scores: NDArray[np.float64] = self._metric().sentences(hypotheses, references, lengths, reference_lengths)
        return scores

    def statistics(
        self,
        hypotheses: Texts,
        references: References,
        *,
        lengths: Lengths | None = None,
        reference_lengths: Lengths | None = None,
    ) -> NDArray[np.int64]:
        """Count each pair: (N, k), rows that can be kept, added and scored later."""
        rows: NDArray[np.int64] = self._metric().statistics(hypotheses, references, lengths, reference_lengths)
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
