"""rouge-score 0.1.2: ROUGE of pairs of texts, and bootstrap intervals.

All names, argument orders and results are those of https://github.com/google-research/google-research/tree/master/rouge.
The target (reference) comes first, unlike in the rest of this package. What differs on purpose: a string with half of a
pair of surrogates, which is not a character, is refused, and so is a list of strings where a string belongs.
"""

from . import rouge_scorer, scoring, tokenize, tokenizers

__all__ = ["rouge_scorer", "scoring", "tokenize", "tokenizers"]
