"""What the tokenizers of mteval do about punctuation."""

import re

from .tokenizer_base import BaseTokenizer

__all__ = ["TokenizerRegexp"]

RULES = (
    # Punctuation of ASCII stands alone, but for apostrophes, commas, hyphens and points.
    (re.compile(r"""([!"#$%&()*+/:;<=>?@\[\\\]^_`{|}~])"""), r" \1 "),
    # Points and commas do unless digits are around them, and hyphens after a digit.
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])-"), r"\1 - "),
)


class TokenizerRegexp(BaseTokenizer):
    """Puts spaces around punctuation.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp
    >>> TokenizerRegexp()("Hello, world (1,000 times).")
    'Hello , world ( 1,000 times ) .'
    """

    def signature(self) -> str:
        """Return the name that stands in signatures."""
        return "re"

    def __call__(self, line: str) -> str:
        """Return the tokens of a string with spaces between them."""
        for rule, spaced in RULES:
            line = rule.sub(spaced, line)
        return " ".join(line.split())
