"""The n-grams of a text, for those who want to see them; the metrics count their own."""

from collections import Counter
from collections.abc import Sequence

__all__ = ["extract_char_ngrams", "extract_word_ngrams"]


def extract_word_ngrams(tokens: Sequence[str], n: int) -> Counter[str]:
    """Count the n-grams of tokens, joined by spaces.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu import extract_word_ngrams
    >>> extract_word_ngrams(["a", "b", "a", "b"], 2)
    Counter({'a b': 2, 'b a': 1})
    """
    return Counter(map(" ".join, zip(*(tokens[skipped:] for skipped in range(n)), strict=False)))


def extract_char_ngrams(line: str, n: int, include_whitespace: bool = False) -> Counter[str]:
    """Count the n-grams of characters, by default of those that are not whitespace.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu import extract_char_ngrams
    >>> extract_char_ngrams("ab ab", 2)
    Counter({'ab': 2, 'ba': 1})
    """
    text = line if include_whitespace else "".join(line.split())
    return Counter(map("".join, zip(*(text[skipped:] for skipped in range(n)), strict=False)))
