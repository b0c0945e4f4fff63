"""The tokenizer of mteval-v14."""

from .tokenizer_base import NativeTokenizer

__all__ = ["TokenizerV14International"]


class TokenizerV14International(NativeTokenizer):
    """Punctuation and symbols of Unicode stand alone, but for punctuation between numbers.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu.tokenizers.tokenizer_intl import TokenizerV14International
    >>> TokenizerV14International()("«Hello», world: 1,000 €.")
    '« Hello » , world : 1,000 € .'
    """

    _NAME = "intl"
