"""rouge-score 0.1.2: ROUGE of pairs of texts, and bootstrap intervals.

All names, argument orders and results are those of https://github.com/google-research/google-research/tree/master/rouge.
The target (reference) comes first, unlike in the rest of this package.
"""

from . import rouge_scorer, scoring, tokenize, tokenizers

__all__ = ["rouge_scorer", "scoring", "tokenize", "tokenizers"]
