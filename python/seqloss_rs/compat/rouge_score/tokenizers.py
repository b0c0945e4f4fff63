"""Tokenizers that a :class:`~seqloss_rs.compat.rouge_score.rouge_scorer.RougeScorer` takes."""

import abc
from typing import Any

from ... import _native
from .._strings import check_string

__all__ = ["DefaultTokenizer", "Tokenizer"]


class Tokenizer(abc.ABC):
    """What cuts a text into tokens."""

    @abc.abstractmethod
    def tokenize(self, text: str) -> Any:
        """Return the tokens of a text."""


class DefaultTokenizer(Tokenizer):
    """ROUGE's own: runs of ASCII letters and digits in lower case, or their stems.

    Parameters
    ----------
    use_stemmer : bool
        Stem tokens of more than three characters (Porter's stems, as NLTK has them).

    Examples
    --------
    >>> from seqloss_rs.compat.rouge_score import tokenizers
    >>> tokenizers.DefaultTokenizer(use_stemmer=True).tokenize("The friends had a meeting.")
    ['the', 'friend', 'had', 'a', 'meet']
    """

    def __init__(self, use_stemmer: bool = False) -> None:
        self.use_stemmer = bool(use_stemmer)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        check_string("text", text)
        tokens: list[str] = _native.rouge_tokens(text, self.use_stemmer)
        return tokens
