"""chrF and chrF++."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....metrics import Chrf
from .base import Metric, Score, Streams

__all__ = ["CHRF", "CHRFScore"]


class CHRFScore(Score):
    """chrF, with the options that its name says.

    Parameters
    ----------
    score : float
        In [0, 100].
    char_order, word_order, beta
        As :class:`CHRF` takes them.
    """

    def __init__(self, score: float, char_order: int, word_order: int, beta: int) -> None:
        super().__init__(f"chrF{beta}" + "+" * word_order, score)
        self.char_order = char_order
        self.word_order = word_order
        self.beta = beta


class CHRF(Metric[CHRFScore]):
    """chrF, or chrF++ with ``word_order=2``.

    Parameters
    ----------
    char_order, word_order : int
        The longest n-grams of characters and of words, in 0..32.
    beta : int
        Recall weighs beta² times as much as precision.
    lowercase : bool
        Lower-case all strings first.
    whitespace : bool
        Count whitespace as characters.
    eps_smoothing : bool
        Average the F of all orders, as NLTK and Moses do, instead of precision and recall of those that are there.
    references : list of R lists of N strings, optional
        As :class:`Metric` takes them.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu import CHRF
    >>> CHRF().sentence_score("the cat sat", ["the cats sat"])
    chrF2 = 68.66
    """

    CHAR_ORDER = 6
    WORD_ORDER = 0
    BETA = 2

    def __init__(
        self,
        char_order: int = CHAR_ORDER,
        word_order: int = WORD_ORDER,
        beta: int = BETA,
        lowercase: bool = False,
        whitespace: bool = False,
        eps_smoothing: bool = False,
        references: Streams | None = None,
    ) -> None:
        self.char_order = char_order
        self.word_order = word_order
        self.order = char_order + word_order
        self.beta = beta
        self.lowercase = lowercase
        self.whitespace = whitespace
        self.eps_smoothing = eps_smoothing
        self._metric()
        super().__init__(references)

    def _metric(self) -> Chrf:
        return Chrf(
            char_order=self.char_order,
            word_order=self.word_order,
            beta=self.beta,
            lowercase=bool(self.lowercase),
            whitespace=bool(self.whitespace),
            eps_smoothing=bool(self.eps_smoothing),
        )

    def _aggregate_and_compute(self, stats: NDArray[np.int64]) -> CHRFScore:
        score = self._metric().from_statistics(stats).score
        return CHRFScore(score, self.char_order, self.word_order, self.beta)

    def _describe(self) -> Mapping[str, tuple[str, Any]]:
        return {
            "case": ("c", "lc" if self.lowercase else "mixed"),
            "eff": ("e", not self.eps_smoothing),
            "nc": ("nc", self.char_order),
            "nw": ("nw", self.word_order),
            "space": ("s", bool(self.whitespace)),
        }
