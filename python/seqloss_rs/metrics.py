"""The metrics of translation: BLEU, chrF and TER, as classes that give scores and statistics.

Defaults and words live here; checks, tokenizers and numbers in the native module.
"""

from dataclasses import dataclass
from typing import Any

from . import _native, _signature
from ._metric import _Metric
from ._texts import Smoothing, Tokenize

__all__ = ["Bleu", "BleuScore", "Chrf", "ChrfScore", "Ter", "TerScore"]


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
