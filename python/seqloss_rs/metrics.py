"""Metrics of text: the classes that give scores and statistics.

Defaults and words live here; checks, tokenizers and numbers in the native module.
"""

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from . import _native, _signature
from ._texts import (
    Layout,
    Measure,
    MultipleReferences,
    Prefix,
    References,
    RougeTokenize,
    Smoothing,
    Texts,
    Tokenize,
    Variant,
)
from ._types import Integers

__all__ = [
    "AnswerScore",
    "Bleu",
    "BleuScore",
    "Chrf",
    "ChrfScore",
    "ExactMatch",
    "Gleu",
    "GleuScore",
    "NltkBleu",
    "NltkBleuScore",
    "PreparedReferences",
    "Rouge",
    "RougeScore",
    "Ter",
    "TerScore",
    "TokenF1",
]


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
        The n-grams of each order that match, and all of the hypotheses. With ``smoothing="add-k"`` sacrebleu shows k
        more of each in all orders above 1 (where anything matches); here they are what was counted.

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
class ChrfScore:
    """chrF of a corpus and how it was asked for.

    Attributes
    ----------
    score : float
        In [0, 100].
    char_order, word_order : int
        The longest n-grams of characters and of words.
    beta : float
        How much recall weighs.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.Chrf().corpus(["the cat"], ["the cat"])
    ChrfScore(score=100.0, char_order=6, word_order=0, beta=2)
    """

    score: float
    char_order: int
    word_order: int
    beta: float


@dataclass(frozen=True)
class TerScore:
    """TER of a corpus and what it is made of.

    Attributes
    ----------
    score : float
        100 · edits / reference_length; it can exceed 100. Without a word in any reference it is 100, or 0 if the
        hypotheses have none either.
    edits : int
        Insertions, deletions, replacements and shifts.
    reference_length : float
        In words; of several references the mean.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.Ter().corpus(["on the mat the cat sat"], [["the cat sat on the mat", "the cat was there"]])
    TerScore(score=20.0, edits=1, reference_length=5.0)
    """

    score: float
    edits: int
    reference_length: float


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

    @overload
    def sentences(
        self, hypotheses: Texts, references: References, *, prefix: Literal[False] = False, **layout: Unpack[Layout]
    ) -> NDArray[np.float64]: ...

    @overload
    def sentences(
        self, hypotheses: Texts, references: References, *, prefix: Prefix, **layout: Unpack[Layout]
    ) -> NDArray[np.float64] | list[NDArray[np.float64]]: ...

    def sentences(
        self, hypotheses: Texts, references: References, *, prefix: Prefix = False, **layout: Unpack[Layout]
    ) -> NDArray[np.float64] | list[NDArray[np.float64]]:
        """Score each pair: (N,), or (N, K) for K hypotheses for each item of the references.

        Parameters
        ----------
        hypotheses, references, **layout
            As in :meth:`corpus`.
        prefix : bool or "shaped"
            True scores every beginning of every hypothesis instead, of 1, 2, … tokens, each exactly as if it stood
            alone. "shaped" gives what each token adds, the first one its whole score, so that they sum to the score of
            the whole: rewards for single steps. Token ids in an array (N, T) or (N, K, T) have an array of that shape,
            NaN beyond their end; other hypotheses have a list of arrays, one for each. Tokens are the metric's own:
            words, or characters. All prefixes together take about as long as a few whole pairs; ROUGE-Lsum, TER and
            chrF with words have none.

        Examples
        --------
        >>> import numpy as np, seqloss_rs
        >>> rouge = seqloss_rs.Rouge(variant="rouge1")
        >>> rouge.sentences(np.array([[5, 6, 7]]), np.array([[5, 7]]), prefix=True).round(4)
        array([[0.6667, 0.5   , 0.8   ]])
        >>> rouge.sentences(["the cat"], ["a cat"], prefix="shaped")
        [array([0. , 0.5])]
        """
        if prefix is not False:
            every: NDArray[np.float64] | list[NDArray[np.float64]]
            every = _native.prefix_scores(self._metric(), hypotheses, references, layout, prefix)
            return every
        scores: NDArray[np.float64] = self._metric().sentences(hypotheses, references, layout)
        return scores

    def pairwise(self, hypotheses: Texts, references: Texts, **layout: Unpack[Layout]) -> NDArray[np.float64]:
        """Score every hypothesis against every reference: (H, R).

        Much faster than pair by pair: texts are read once, and n-grams of the references are looked up in an index.

        Parameters
        ----------
        hypotheses : H texts
            As in :meth:`corpus`.
        references : R texts
            The same kind, one text each.
        **layout
            All of :class:`Layout` but rollouts.

        Examples
        --------
        >>> import seqloss_rs
        >>> seqloss_rs.Rouge(variant="rouge1").pairwise(["the cat", "a dog", "sat"], ["the dog", "cat"]).round(4)
        array([[0.5   , 0.6667],
               [0.5   , 0.    ],
               [0.    , 0.    ]])
        """
        matrix: NDArray[np.float64] = _native.pairwise(self._metric(), hypotheses, references, layout)
        return matrix

    def statistics(self, hypotheses: Texts, references: References, **layout: Unpack[Layout]) -> NDArray[np.int64]:
        """Count each pair: (N, k) or (N, K, k), rows that can be kept, added and scored later.

        Parameters
        ----------
        hypotheses, references, **layout
            As in :meth:`corpus`.
        """
        rows: NDArray[np.int64] = self._metric().statistics(hypotheses, references, layout)
        return rows

    def prepare(self, references: References, **layout: Unpack[Layout]) -> "PreparedReferences[Score]":
        """Read references once, for many calls with other hypotheses.

        Parameters
        ----------
        references
            As in :meth:`corpus`; a list of strings among them is several references, so one reference that is cut into
            tokens is a list that holds it.
        **layout
            reference_lengths, reference_offsets; eos_id, pad_id, which then hold for hypotheses as well.

        Returns
        -------
        PreparedReferences
        """
        return PreparedReferences(self, references, layout)

    def from_statistics(self, rows: Integers) -> Score:
        """Score rows of :meth:`statistics`: (N, k), or one row (k,) that may be the sum of many."""
        return self._score(self._metric().score_statistics(rows))


class PreparedReferences(Generic[Score]):
    """References that were read, copied and checked once: what :meth:`Bleu.prepare` and its like return.

    It can be pickled, and shared by threads. ``len()`` is N, the number of items.

    Attributes
    ----------
    metric : Bleu, Rouge, ErrorRate, …
        What scores.

    Examples
    --------
    >>> import seqloss_rs
    >>> prepared = seqloss_rs.Rouge(variant="rouge1").prepare(["the cat", ["a dog", "one dog"]])
    >>> prepared.sentences(["the cat", "dog"]).round(4)
    array([1.    , 0.6667])
    >>> prepared.sentences(["the cat", "the", "one dog", "two"], rollouts=2).round(4)
    array([[1.    , 0.6667],
           [1.    , 0.    ]])
    """

    def __init__(self, metric: _Metric[Score], references: References, layout: Layout) -> None:
        self.metric = metric
        self._texts = metric._metric().prepare(references, layout)
        self._layout: Layout = {"eos_id": layout.get("eos_id"), "pad_id": layout.get("pad_id")}

    def __len__(self) -> int:
        return len(self._texts)

    def __repr__(self) -> str:
        return f"PreparedReferences({len(self)} for {self.metric})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.metric, self._texts.lists(), self._layout)

    def _with(self, layout: Layout) -> Layout:
        return {**self._layout, **layout}

    def corpus(self, hypotheses: Texts, **layout: Unpack[Layout]) -> Score:
        """Score all pairs together.

        Parameters
        ----------
        hypotheses
            As in :meth:`Bleu.corpus`: N of them, or K for each item of the references.
        **layout
            lengths, offsets, rollouts, as :class:`Layout` tells.
        """
        return self.metric.corpus(hypotheses, self._texts, **self._with(layout))

    @overload
    def sentences(
        self, hypotheses: Texts, *, prefix: Literal[False] = False, **layout: Unpack[Layout]
    ) -> NDArray[np.float64]: ...

    @overload
    def sentences(
        self, hypotheses: Texts, *, prefix: Prefix, **layout: Unpack[Layout]
    ) -> NDArray[np.float64] | list[NDArray[np.float64]]: ...

    def sentences(
        self, hypotheses: Texts, *, prefix: Prefix = False, **layout: Unpack[Layout]
    ) -> NDArray[np.float64] | list[NDArray[np.float64]]:
        """Score each pair: (N,), or (N, K) for K hypotheses for each item of the references.

        Parameters
        ----------
        hypotheses, prefix, **layout
            As in :meth:`corpus` and :meth:`Bleu.sentences`.
        """
        return self.metric.sentences(hypotheses, self._texts, prefix=prefix, **self._with(layout))

    def pairwise(self, hypotheses: Texts, **layout: Unpack[Layout]) -> NDArray[np.float64]:
        """Score every hypothesis against every reference: (H, N), as :meth:`Bleu.pairwise` does.

        Parameters
        ----------
        hypotheses, **layout
            As in :meth:`corpus`, but without rollouts.
        """
        return self.metric.pairwise(hypotheses, self._texts, **self._with(layout))

    def statistics(self, hypotheses: Texts, **layout: Unpack[Layout]) -> NDArray[np.int64]:
        """Count each pair: (N, k) or (N, K, k).

        Parameters
        ----------
        hypotheses, **layout
            As in :meth:`corpus`.
        """
        return self.metric.statistics(hypotheses, self._texts, **self._with(layout))


@dataclass(frozen=True, kw_only=True)
class Bleu(_Metric[BleuScore]):
    """BLEU on sacrebleu's scale of 100.

    A row of :meth:`statistics` is sacrebleu's: the length of the hypothesis, that of the reference, the matches of
    orders 1 to n, the n-grams of the hypothesis of orders 1 to n.

    Parameters
    ----------
    max_order, smoothing, smoothing_value, effective_order, tokenize, lowercase
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
    smoothing_value: float | None = None
    effective_order: bool | None = None
    tokenize: Tokenize = "13a"
    lowercase: bool = False

    def _metric(self) -> Any:
        return _native.bleu(
            self.max_order, self.smoothing, self.smoothing_value, self.effective_order, self.tokenize, self.lowercase
        )

    def _score(self, parts: tuple[Any, ...]) -> BleuScore:
        score, precisions, brevity_penalty, row = parts
        middle = 2 + self.max_order
        return BleuScore(score, precisions, brevity_penalty, row[0], row[1], row[2:middle], row[middle:])

    def signature(self, references: int | None = None, *, sentences: bool = False, short: bool = False) -> str:
        """Say in a line what the scores were computed with, in sacrebleu's form.

        Parameters
        ----------
        references : int, optional
            How many references each hypothesis has; None where that varies.
        sentences : bool
            Whether it is scores of sentences, for which ``effective_order=None`` is on.
        short : bool
            With short names for the keys.

        Examples
        --------
        >>> import seqloss_rs
        >>> print(seqloss_rs.Bleu(smoothing="floor").signature(1).replace(seqloss_rs.__version__, "0.1.0"))
        BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:floor[0.10]|version:seqloss_rs.0.1.0
        """
        keys = {
            "case": ("c", _signature.case(self.lowercase)),
            "eff": ("e", sentences if self.effective_order is None else self.effective_order),
            "tok": ("tok", _signature.tokenizer(self.tokenize)),
            "smooth": ("s", _signature.smoothing(self.smoothing, self.smoothing_value)),
            # sacrebleu has no key for it.
            "order": ("o", self.max_order if self.max_order != 4 else None),
        }
        return _signature.signature("BLEU", references, short, keys)


@dataclass(frozen=True, kw_only=True)
class Chrf(_Metric[ChrfScore]):
    """chrF, or chrF++ with ``word_order=2``, on sacrebleu's scale of 100.

    A row of :meth:`statistics` is sacrebleu's: for each order, first of characters and then of words, the n-grams of
    the hypothesis (0 where the reference has none of that order), those of the reference, and those that match. Of
    several references the one with the highest score makes the row, the first of equals.

    Parameters
    ----------
    char_order : int
        The longest n-grams of characters, in 0..32. Token ids count as characters.
    word_order : int
        The longest n-grams of words, in 0..32; a punctuation mark at the end of a word, or else at its beginning, is a
        word. Token ids have no words, so it must be 0 for them.
    beta : float
        Recall weighs beta² times as much as precision.
    lowercase : bool
        Lower-case strings first; not for token ids.
    whitespace : bool
        Count whitespace as characters. No token id is whitespace, so for them this changes nothing.
    eps_smoothing : bool
        Average the F of all orders, with 1e-16 for a ratio without a divisor, as NLTK and Moses do. Otherwise precision
        and recall are averaged over the orders that both texts have n-grams of.

    Raises
    ------
    ValueError, TypeError
        Where an option does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> chrf = seqloss_rs.Chrf(char_order=2)
    >>> chrf.sentences(["the cat", "a dog"], ["the cats", "a dog"]).round(4)
    array([ 87.2236, 100.    ])
    >>> chrf.statistics(["the cat"], ["the cats"])
    array([[6, 7, 6, 5, 6, 5]])
    >>> chrf.from_statistics([6, 7, 6, 5, 6, 5]) == chrf.corpus(["the cat"], ["the cats"])
    True
    >>> import numpy as np
    >>> round(seqloss_rs.Chrf(char_order=2).corpus(np.array([[5, 6, 7]]), np.array([[5, 6, 8]])).score, 4)
    58.3333

    References
    ----------
    Popović 2015, https://doi.org/10.18653/v1/W15-3049, and 2017, https://doi.org/10.18653/v1/W17-4770; the numbers are
    sacrebleu 2.6.0's.
    """

    char_order: int = 6
    word_order: int = 0
    beta: float = 2
    lowercase: bool = False
    whitespace: bool = False
    eps_smoothing: bool = False

    def _metric(self) -> Any:
        return _native.chrf(
            self.char_order, self.word_order, self.beta, self.lowercase, self.whitespace, self.eps_smoothing
        )

    def _score(self, parts: Any) -> ChrfScore:
        return ChrfScore(parts, self.char_order, self.word_order, self.beta)

    def signature(self, references: int | None = None, *, short: bool = False) -> str:
        """Say in a line what the scores were computed with; see :meth:`Bleu.signature`."""
        keys = {
            "case": ("c", _signature.case(self.lowercase)),
            "eff": ("e", not self.eps_smoothing),
            "nc": ("nc", self.char_order),
            "nw": ("nw", self.word_order),
            "space": ("s", self.whitespace),
        }
        return _signature.signature(f"chrF{self.beta:g}{'+' * self.word_order}", references, short, keys)


@dataclass(frozen=True, kw_only=True)
class Ter(_Metric[TerScore]):
    """Translation edit rate on sacrebleu's scale of 100: the lower, the better.

    A row of :meth:`statistics` is the edits, and the length of the reference in whole words and in parts of a word, of
    which 9,311,702,400 make one. Of several references the fewest edits count, and the mean of their lengths, which
    needs the parts, so that rows add up without rounding. Where the number of references does not divide the parts (it
    is 23, 27, 29, 31 or another above 32), a mean may be rounded, by less than 1e-10 of a word.

    Parameters
    ----------
    normalized : bool
        Turn markup into characters, join lines, and let punctuation stand alone; not for token ids.
    no_punct : bool
        Leave punctuation out; not for token ids.
    asian_support : bool
        With ``normalized``, let each Chinese character and mark stand alone; with ``no_punct``, leave such marks out.
    case_sensitive : bool
        Do not lower-case strings. Token ids have no case.

    Raises
    ------
    ValueError, TypeError
        Where an option does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> ter = seqloss_rs.Ter()
    >>> hypotheses, references = ["on the mat the cat sat", "a dog"], ["the cat sat on the mat", "the dog"]
    >>> ter.corpus(hypotheses, references)
    TerScore(score=25.0, edits=2, reference_length=8.0)
    >>> ter.statistics(hypotheses, references)
    array([[1, 6, 0],
           [1, 2, 0]])
    >>> ter.from_statistics([2, 8, 0]) == ter.corpus(hypotheses, references)
    True

    References
    ----------
    Snover et al. 2006, https://aclanthology.org/2006.amta-papers.25/; the numbers are sacrebleu 2.6.0's.
    """

    normalized: bool = False
    no_punct: bool = False
    asian_support: bool = False
    case_sensitive: bool = False

    def _metric(self) -> Any:
        return _native.ter(self.normalized, self.no_punct, self.asian_support, self.case_sensitive)

    def _score(self, parts: tuple[Any, ...]) -> TerScore:
        return TerScore(*parts)

    def signature(self, references: int | None = None, *, short: bool = False) -> str:
        """Say in a line what the scores were computed with; see :meth:`Bleu.signature`."""
        keys = {
            "case": ("c", _signature.case(not self.case_sensitive)),
            "tok": ("t", "tercom"),
            "norm": ("nr", self.normalized),
            "punct": ("pn", not self.no_punct),
            "asian": ("as", self.asian_support),
        }
        return _signature.signature("TER", references, short, keys)


@dataclass(frozen=True, kw_only=True)
class Rouge(_Metric[RougeScore]):
    """ROUGE, as ratios.

    A row of :meth:`statistics` is hits, the count of the hypothesis, the count of the reference (tokens, or n-grams).
    The score of a corpus is the mean over its pairs, so rows must not be added. With ``multiple_references="mean"`` a
    row has these three for each reference, one after another, and -1 where a pair has fewer of them than another.

    Parameters
    ----------
    variant, measure, stem, tokenize, multiple_references
        As in :func:`rouge_loss`.

    Examples
    --------
    >>> import seqloss_rs
    >>> rouge = seqloss_rs.Rouge(variant="rougeL")
    >>> rouge.sentences(["the cat", "a dog"], ["the cat", "one dog"])
    array([1. , 0.5])
    >>> rouge.corpus(["the cat", "a dog"], ["the cat", "one dog"])
    RougeScore(score=0.75, precision=0.75, recall=0.75, f=0.75)
    >>> seqloss_rs.Rouge(multiple_references="mean").statistics(["the cat", "a"], [["the cat", "cats"], ["a b"]])
    array([[ 2,  2,  2,  0,  2,  1],
           [ 1,  1,  2, -1, -1, -1]])
    """

    variant: Variant = "rougeL"
    measure: Measure = "f"
    stem: bool = False
    tokenize: RougeTokenize = "ascii"
    multiple_references: MultipleReferences = "best"

    def _metric(self) -> Any:
        return _native.rouge(self.variant, self.measure, self.stem, self.tokenize, self.multiple_references)

    def _score(self, parts: tuple[Any, ...]) -> RougeScore:
        return RougeScore(*parts)

    def signature(self, references: int | None = None, *, short: bool = False) -> str:
        """Say in a line what the scores were computed with; see :meth:`Bleu.signature`."""
        keys = {
            "multiple": ("mr", self.multiple_references),
            "measure": ("m", self.measure),
            "tok": ("tok", _signature.tokenizer(self.tokenize)),
            "stem": ("st", self.stem),
        }
        return _signature.signature(f"ROUGE-{self.variant.removeprefix('rouge')}", references, short, keys)


@dataclass(frozen=True)
class GleuScore:
    """GLEU of a corpus and what it is made of.

    Attributes
    ----------
    score : float
        matches / ngrams, in [0, 1]; 0 where there are no n-grams.
    matches : int
        The n-grams that hypotheses share with their references.
    ngrams : int
        All n-grams of hypotheses or of references, of each pair those of the text that has more.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.Gleu(max_order=2).corpus(["a b c"], ["a b d"])
    GleuScore(score=0.6, matches=3, ngrams=5)
    """

    score: float
    matches: int
    ngrams: int


@dataclass(frozen=True, kw_only=True)
class Gleu(_Metric[GleuScore]):
    """GLEU, Google's BLEU for single sentences, as a ratio.

    The n-grams of all orders are counted together; the score is the smaller of precision and recall, so it needs no
    smoothing and no brevity penalty. A row of :meth:`statistics` is matches and n-grams; of several references the one
    with the highest ratio counts.

    Parameters
    ----------
    min_order, max_order : int
        The lengths of n-grams, in 1..32.
    tokenize, lowercase
        As in :func:`bleu_loss`. NLTK leaves both to the caller: pass lists of tokens for its numbers.

    Examples
    --------
    >>> import seqloss_rs
    >>> hypothesis, reference = "the cat sat on a mat".split(), "the cat sat on the mat".split()
    >>> seqloss_rs.Gleu().sentences([hypothesis], [reference])
    array([0.61111111])

    References
    ----------
    Wu et al. 2016, https://arxiv.org/abs/1609.08144, section 4.3; the numbers are those of nltk 3.9's ``sentence_gleu``
    and ``corpus_gleu``.
    """

    min_order: int = 1
    max_order: int = 4
    tokenize: Tokenize = "13a"
    lowercase: bool = False

    def _metric(self) -> Any:
        return _native.gleu(self.min_order, self.max_order, self.tokenize, self.lowercase)

    def _score(self, parts: tuple[Any, ...]) -> GleuScore:
        score, row = parts
        return GleuScore(score, *row)


@dataclass(frozen=True)
class NltkBleuScore:
    """BLEU of a corpus as NLTK computes it, and what it is made of.

    Attributes
    ----------
    score : float
        In [0, 1], but for smoothing by method 5 or 7, which can exceed 1.
    hypothesis_length, reference_length : int
        In tokens; of several references the one whose length is closest.
    counts, totals : tuple of int
        The n-grams of each order that match, and all of the hypotheses; of one order more than there are weights.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.NltkBleu(weights=(0.5, 0.5)).corpus(["a b c"], ["a b d"]).counts
    (2, 1, 0)
    """

    score: float
    hypothesis_length: int
    reference_length: int
    counts: tuple[int, ...]
    totals: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class NltkBleu(_Metric[NltkBleuScore]):
    """BLEU with the smoothings of Chen and Cherry, as NLTK computes it: a ratio.

    A row of :meth:`statistics` is that of :class:`Bleu`, with one order more than there are weights. The score of a
    corpus is that of the summed rows; NLTK's is the same but for methods 5 and 7, where it looks at the last hypothesis
    only.

    Parameters
    ----------
    weights : sequence of float
        What the logarithm of the precision of each order counts for.
    method : int
        The smoothing, 0..7: none; add epsilon to counts of 0; add one to orders above 1; halve for each order without a
        match (NIST); the same by the length; average with the neighbouring orders; interpolate with a prior; 4 and then
        5. Method 6 is defined by its formula also where no trigram matches, which NLTK refuses.
    epsilon, alpha, k : float
        The constants of methods 1, 6 and 4.
    tokenize, lowercase
        As in :func:`bleu_loss`. NLTK leaves both to the caller: pass lists of tokens for its numbers.

    Examples
    --------
    >>> import seqloss_rs
    >>> hypothesis, reference = "the cat sat on a mat".split(), "the cat sat on the mat".split()
    >>> float(seqloss_rs.NltkBleu(method=1).sentences([hypothesis], [reference])[0].round(6))
    0.537285

    References
    ----------
    Chen and Cherry 2014, https://doi.org/10.3115/v1/W14-3346; the numbers are those of nltk 3.9's ``sentence_bleu``.
    """

    weights: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)
    method: int = 0
    epsilon: float = 0.1
    alpha: float = 5.0
    k: float = 5.0
    tokenize: Tokenize = "13a"
    lowercase: bool = False

    def _metric(self) -> Any:
        return _native.nltk_bleu(
            list(self.weights), self.method, self.epsilon, self.alpha, self.k, self.tokenize, self.lowercase
        )

    def _score(self, parts: tuple[Any, ...]) -> NltkBleuScore:
        score, row = parts
        middle = 3 + len(self.weights)
        return NltkBleuScore(score, row[0], row[1], row[2:middle], row[middle:])


@dataclass(frozen=True)
class AnswerScore:
    """The mean over answers.

    Attributes
    ----------
    score : float
        In [0, 1]; NaN for no answers.
    count : int
        How many there are.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.ExactMatch().corpus(["The cat", "a dog"], ["cat!", "cat"])
    AnswerScore(score=0.5, count=2)
    """

    score: float
    count: int


@dataclass(frozen=True, kw_only=True)
class TokenF1(_Metric[AnswerScore]):
    """The words that an answer shares with the right one, as SQuAD counts them: F1, a ratio.

    Strings are lower-cased, and lose ASCII punctuation and the articles a, an, the; tokens and ids stay as they are. Of
    several references the best counts. An answer without words is right where the reference has none either. A row of
    :meth:`statistics` is words in common, words of the hypothesis, of the reference, and 1 where both are the same;
    the score of a corpus is the mean over its pairs, so rows must not be added.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.TokenF1().sentences(["in the Eiffel Tower"], [["Eiffel tower", "Paris"]])
    array([0.8])

    References
    ----------
    Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; the evaluation script of SQuAD 2.0.
    """

    def _metric(self) -> Any:
        return _native.answers(False)

    def _score(self, parts: tuple[Any, ...]) -> AnswerScore:
        return AnswerScore(*parts)


@dataclass(frozen=True, kw_only=True)
class ExactMatch(_Metric[AnswerScore]):
    """Whether an answer has the same words as a right one, as SQuAD compares them: 0 or 1.

    Strings are treated as in :class:`TokenF1`, and rows of :meth:`statistics` are the same.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.ExactMatch().sentences(["The Eiffel Tower!", "Paris"], [["eiffel tower"], ["London"]])
    array([1., 0.])

    References
    ----------
    Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; the evaluation script of SQuAD 2.0.
    """

    def _metric(self) -> Any:
        return _native.answers(True)

    def _score(self, parts: tuple[Any, ...]) -> AnswerScore:
        return AnswerScore(*parts)
