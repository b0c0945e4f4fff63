"""sacrebleu's tokenizers, as classes."""

from collections.abc import Mapping

from .tokenizer_13a import Tokenizer13a
from .tokenizer_base import BaseTokenizer
from .tokenizer_char import TokenizerChar
from .tokenizer_intl import TokenizerV14International
from .tokenizer_ja_mecab import TokenizerJaMecab
from .tokenizer_ko_mecab import TokenizerKoMecab
from .tokenizer_none import NoneTokenizer
from .tokenizer_spm import Flores101Tokenizer, Flores200Tokenizer, TokenizerSPM, spBLEU1KTokenizer
from .tokenizer_zh import TokenizerZh

__all__ = ["NATIVE", "TOKENIZERS", "BaseTokenizer"]

# By the names that BLEU knows.
TOKENIZERS: Mapping[str, type[BaseTokenizer]] = {
    "none": NoneTokenizer,
    "zh": TokenizerZh,
    "13a": Tokenizer13a,
    "intl": TokenizerV14International,
    "char": TokenizerChar,
    "ja-mecab": TokenizerJaMecab,
    "ko-mecab": TokenizerKoMecab,
    "spm": TokenizerSPM,
    "flores101": Flores101Tokenizer,
    "flores200": Flores200Tokenizer,
    "spBLEU-1K": spBLEU1KTokenizer,
}

# Those that need not be called, by the names that the native part knows; not what is derived from them.
NATIVE: Mapping[type[BaseTokenizer], str] = {TOKENIZERS[name]: name for name in ("none", "zh", "13a", "intl", "char")}
