"""The tokenizer for Japanese, which needs MeCab."""

from importlib import import_module
from typing import Any

from .tokenizer_base import BaseTokenizer

__all__ = ["TokenizerJaMecab"]

# Of the dictionary whose tokens sacrebleu's are.
ENTRIES = 392126


class TokenizerJaMecab(BaseTokenizer):
    """Words as MeCab finds them with the dictionary ipadic.

    Raises
    ------
    ImportError
        Where its packages are not installed.
    ValueError
        Where the dictionary is another one.
    """

    def __init__(self) -> None:
        try:
            mecab, ipadic = import_module("MeCab"), import_module("ipadic")
        except ImportError as error:
            message = "tokenize is 'ja-mecab', which needs the packages mecab-python3 and ipadic"
            raise ImportError(message) from error
        self.tagger: Any = mecab.Tagger(ipadic.MECAB_ARGS + " -Owakati")
        dictionary = self.tagger.dictionary_info()
        if dictionary.size != ENTRIES or dictionary.next is not None:
            message = f"MeCab has a dictionary of {dictionary.size} entries, expected ipadic alone, of {ENTRIES}"
            raise ValueError(message)

    def signature(self) -> str:
        """Return the name that stands in signatures, with the version of MeCab."""
        return f"ja-mecab-{self.tagger.version()}-IPA"

    def __call__(self, line: str) -> str:
        """Return the words of a string with spaces between them."""
        words: str = self.tagger.parse(line.strip())
        return words.strip()
