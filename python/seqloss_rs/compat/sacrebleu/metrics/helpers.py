"""The n-grams of a text, for those who want to see them; the metrics count their own."""

from collections import Counter
from collections.abc import Sequence

__all__ = ["extract_all_char_ngrams", "extract_all_word_ngrams", "extract_char_ngrams", "extract_word_ngrams"]


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


def extract_all_word_ngrams(line: str, min_order: int, max_order: int) -> tuple[Counter[tuple[str, ...]], int]:
    """Count the n-grams of words of all these orders, as tuples, and the words.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu.metrics.helpers import extract_all_word_ngrams
    >>> extract_all_word_ngrams("a b", 1, 2)
    (Counter({('a',): 1, ('b',): 1, ('a', 'b'): 1}), 2)
    """
    words = line.split()
    found: Counter[tuple[str, ...]] = Counter()
    for n in range(min_order, max_order + 1):
        found.update(zip(*(words[skipped:] for skipped in range(n)), strict=False))
    return found, len(words)


def extract_all_char_ngrams(line: str, max_order: int, include_whitespace: bool = False) -> list[Counter[str]]:
    """Count the n-grams of characters of each order from 1.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu.metrics.helpers import extract_all_char_ngrams
    >>> extract_all_char_ngrams("aab", 2)
    [Counter({'a': 2, 'b': 1}), Counter({'aa': 1, 'ab': 1})]
    """
    return [extract_char_ngrams(line, n, include_whitespace) for n in range(1, max_order + 1)]
