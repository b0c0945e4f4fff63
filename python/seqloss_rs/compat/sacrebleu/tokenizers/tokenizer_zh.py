"""The tokenizer for Chinese."""

from .tokenizer_base import NativeTokenizer

__all__ = ["TokenizerZh"]


class TokenizerZh(NativeTokenizer):
    """Every Chinese character stands alone, and the rest is cut as by mteval-v13a.

    Examples
    --------
    >>> from seqloss_rs.compat.sacrebleu.tokenizers.tokenizer_zh import TokenizerZh
    >>> TokenizerZh()("你好,world.")
    '你 好 , world .'
    """

    _NAME = "zh"
