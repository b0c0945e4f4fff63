"""Answers to questions: token F1 and exact match.

Words live here; numbers in the native module.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from . import _native, _signature
from ._metric import _Metric

__all__ = ["AnswerScore", "ExactMatch", "TokenF1"]

Normalize: TypeAlias = Literal["squad", "strip"]
"""What strings lose before they are compared."""


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
        return _native.answers(False, "squad")

    def _score(self, parts: tuple[Any, ...]) -> AnswerScore:
        return AnswerScore(*parts)

    def signature(self, references: int | None = None, *, short: bool = False) -> str:
        """Say in a line what the scores were computed with; see :meth:`Bleu.signature`."""
        return _signature.signature("F1", references, short, {"norm": ("nr", "squad")})


@dataclass(frozen=True, kw_only=True)
class ExactMatch(_Metric[AnswerScore]):
    """Whether an answer is a right one, as SQuAD compares them or as they stand: 0 or 1.

    Of several references any will do. Rows of :meth:`statistics` are those of :class:`TokenF1`.

    Parameters
    ----------
    normalize : {"squad", "strip"}
        What strings lose before they are compared: case, ASCII punctuation and articles, as in :class:`TokenF1`, which
        makes 35 of 3.5 and 5 of −5; or the whitespace around them and nothing else, which makes each one token. Tokens
        and ids stay as they are.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.ExactMatch().sentences(["The Eiffel Tower!", "3.5"], [["eiffel tower"], ["35"]])
    array([1., 1.])
    >>> seqloss_rs.ExactMatch(normalize="strip").sentences(["The Eiffel Tower!", " 3.5"], ["Eiffel Tower", "3.5"])
    array([0., 1.])

    References
    ----------
    Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; the evaluation script of SQuAD 2.0.
    """

    normalize: Normalize = "squad"

    def _metric(self) -> Any:
        return _native.answers(True, self.normalize)

    def _score(self, parts: tuple[Any, ...]) -> AnswerScore:
        return AnswerScore(*parts)

    def signature(self, references: int | None = None, *, short: bool = False) -> str:
        """Say in a line what the scores were computed with; see :meth:`Bleu.signature`."""
        return _signature.signature("EM", references, short, {"norm": ("nr", self.normalize)})
