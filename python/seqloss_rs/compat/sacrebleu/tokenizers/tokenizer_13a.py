"""The tokenizer of mteval-v13a."""

from .tokenizer_base import NativeTokenizer

__all__ = ["Tokenizer13a"]


class Tokenizer13a(NativeTokenizer):
    """What WMT cuts Western languages with.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    >>> Tokenizer13a()("Hello, world (1,000 times).")
    'Hello , world ( 1,000 times ) .'
    """

    _NAME = "13a"
