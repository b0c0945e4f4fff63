"""BLEU for single sentences: GLEU, and the smoothings of NLTK.

Defaults and words live here; checks, tokenizers and numbers in the native module.
"""

from dataclasses import dataclass
from typing import Any

from . import _native, _signature
from ._metric import _Metric
from ._texts import Tokenize

__all__ = ["Gleu", "GleuScore", "NltkBleu", "NltkBleuScore"]


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

    def signature(self, references: int | None = None, *, short: bool = False) -> str:
        """Say in a line what the scores were computed with; see :meth:`Bleu.signature`."""
        keys = {
            "case": ("c", _signature.case(self.lowercase)),
            "tok": ("tok", _signature.tokenizer(self.tokenize)),
            "order": ("o", f"{self.min_order}-{self.max_order}"),
        }
        return _signature.signature("GLEU", references, short, keys)


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
        The n-grams of each order that match, and all of the hypotheses; of orders 1 to 5, or of as many as have a
        weight if these are more.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.NltkBleu(weights=(0.5, 0.5)).corpus(["a b c"], ["a b d"]).counts
    (2, 1, 0, 0, 0)
    """

    score: float
    hypothesis_length: int
    reference_length: int
    counts: tuple[int, ...]
    totals: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class NltkBleu(_Metric[NltkBleuScore]):
    """BLEU with the smoothings of Chen and Cherry, as NLTK computes it: a ratio.

    A row of :meth:`statistics` is that of :class:`Bleu` with ``max_order=5``, or with as many orders as have a weight
    if these are more. The score of a corpus is that of the summed rows; NLTK's is the same but for methods 5, 6 and 7,
    where it looks at the last hypothesis only.

    Parameters
    ----------
    weights : sequence of float
        What the logarithm of the precision of each order counts for: 1 to 32 of them, kept as a tuple.
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

    def __post_init__(self) -> None:
        # Equal weights make equal metrics, with a hash, whatever sequence they came in.
        object.__setattr__(self, "weights", _weights(self.weights))
        super().__post_init__()

    def _metric(self) -> Any:
        return _native.nltk_bleu(
            list(self.weights), self.method, self.epsilon, self.alpha, self.k, self.tokenize, self.lowercase
        )

    def _score(self, parts: tuple[Any, ...]) -> NltkBleuScore:
        score, row = parts
        middle = 1 + len(row) // 2
        return NltkBleuScore(score, row[0], row[1], row[2:middle], row[middle:])

    def signature(self, references: int | None = None, *, short: bool = False) -> str:
        """Say in a line what the scores were computed with; see :meth:`Bleu.signature`."""
        constant = {1: self.epsilon, 4: self.k, 6: self.alpha, 7: self.k}.get(self.method)
        keys = {
            "case": ("c", _signature.case(self.lowercase)),
            "tok": ("tok", _signature.tokenizer(self.tokenize)),
            "smooth": ("s", _signature.smoothing(f"method{self.method}", constant)),
            "weights": ("w", ",".join(map(_signature.number, self.weights))),
        }
        return _signature.signature("BLEU-NLTK", references, short, keys)


def _weights(weights: Any) -> tuple[float, ...]:
    try:
        # Adding refuses text, which float() would read.
        return tuple(float(0.0 + weight) for weight in weights)
    except TypeError:
        raise TypeError(f"weights is {weights!r}, expected a sequence of numbers, one for each order") from None
