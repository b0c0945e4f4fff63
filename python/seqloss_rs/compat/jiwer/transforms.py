"""Transforms of sentences, from strings to strings, and at the end to lists of words or of characters.

See https://jitsi.github.io/jiwer/reference/transforms/.
"""

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = [
    "AbstractTransform",
    "Compose",
    "ExpandCommonEnglishContractions",
    "ReduceToListOfListOfChars",
    "ReduceToListOfListOfWords",
    "ReduceToSingleSentence",
    "RemoveEmptyStrings",
    "RemoveKaldiNonWords",
    "RemoveMultipleSpaces",
    "RemovePunctuation",
    "RemoveSpecificWords",
    "RemoveWhiteSpace",
    "Strip",
    "SubstituteRegexes",
    "SubstituteWords",
    "ToLowerCase",
    "ToUpperCase",
]


class AbstractTransform:
    """What takes a string or a list of strings; a subclass has at least :meth:`process_string`."""

    def __call__(self, sentences: str | list[str]) -> Any:
        """Transform a string, or all of a list."""
        if isinstance(sentences, str):
            return self.process_string(sentences)
        if isinstance(sentences, list):
            return self.process_list(sentences)
        raise ValueError(f"sentences has type {type(sentences).__name__}, expected a string or a list of strings")

    def process_string(self, s: str) -> Any:
        """Transform one string."""
        raise NotImplementedError

    def process_list(self, inp: list[str]) -> Any:
        """Transform a list, one string after another unless a subclass says otherwise."""
        return [self.process_string(s) for s in inp]


class Compose:
    """Transforms, one after another.

    Parameters
    ----------
    transforms : list of transforms
        The last of them makes lists of words or of characters, where this is for an error rate.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> transform = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.ReduceToListOfListOfWords()])
    >>> transform("Hello, world!")
    [['hello', 'world']]
    """

    def __init__(self, transforms: list[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, text: Any) -> Any:
        """Transform a string or a list."""
        for transform in self.transforms:
            text = transform(text)
        return text


class BaseRemoveTransform(AbstractTransform):
    """Puts ``replace_token`` in the place of each of the ``tokens_to_remove``, one after another."""

    def __init__(self, tokens_to_remove: Iterable[str], replace_token: str = "") -> None:
        self.tokens_to_remove = tokens_to_remove
        self.replace_token = replace_token

    def process_string(self, s: str) -> str:
        """Transform one string."""
        for token in self.tokens_to_remove:
            s = s.replace(token, self.replace_token)
        return s


class _Reduce(AbstractTransform):
    """Makes a list of tokens of each string; of no strings one empty list."""

    def tokens(self, s: str) -> list[str]:
        """Cut one string."""
        raise NotImplementedError

    def process_string(self, s: str) -> list[list[str]]:
        """Transform one string."""
        return [self.tokens(s)]

    def process_list(self, inp: list[str]) -> list[list[str]]:
        """Transform a list."""
        return [tokens for s in inp for tokens in self.process_string(s)] or [[]]


class ReduceToListOfListOfWords(_Reduce):
    """Cuts at each ``word_delimiter``; nothing between two of them is no word."""

    def __init__(self, word_delimiter: str = " ") -> None:
        self.word_delimiter = word_delimiter

    def tokens(self, s: str) -> list[str]:
        """Cut one string."""
        return [word for word in s.split(self.word_delimiter) if word]


class ReduceToListOfListOfChars(_Reduce):
    """Takes every character, spaces too."""

    def tokens(self, s: str) -> list[str]:
        """Cut one string."""
        return list(s)


class ReduceToSingleSentence(AbstractTransform):
    """Joins all strings of a list that are not empty."""

    def __init__(self, word_delimiter: str = " ") -> None:
        self.word_delimiter = word_delimiter

    def process_string(self, s: str) -> str:
        """Transform one string."""
        return s

    def process_list(self, inp: list[str]) -> list[str]:
        """Transform a list."""
        filled = [s for s in inp if s]
        return [self.word_delimiter.join(filled)] if filled else []


class SubstituteRegexes(AbstractTransform):
    """Replaces what matches regular expressions, one after another."""

    def __init__(self, substitutions: Mapping[str, str]) -> None:
        self.substitutions = substitutions

    def process_string(self, s: str) -> str:
        """Transform one string."""
        for pattern, replacement in self.substitutions.items():
            s = re.sub(pattern, replacement, s)
        return s


class SubstituteWords(AbstractTransform):
    """Replaces words, where they are whole words."""

    def __init__(self, substitutions: Mapping[str, str]) -> None:
        self.substitutions = substitutions

    def process_string(self, s: str) -> str:
        """Transform one string."""
        for word, replacement in self.substitutions.items():
            s = re.sub(rf"\b{re.escape(word)}\b", replacement, s)
        return s


class RemoveSpecificWords(SubstituteWords):
    """Puts a space in the place of words, where they are whole words."""

    def __init__(self, words_to_remove: list[str]) -> None:
        super().__init__(dict.fromkeys(words_to_remove, " "))


class RemoveWhiteSpace(BaseRemoveTransform):
    """Removes ASCII whitespace, or makes spaces of it."""

    def __init__(self, replace_by_space: bool = False) -> None:
        super().__init__(list(string.whitespace), " " if replace_by_space else "")


class RemovePunctuation(AbstractTransform):
    """Removes what Unicode calls punctuation: the characters whose category begins with P, as this Python has them."""

    def process_string(self, s: str) -> str:
        """Transform one string."""
        return "".join(character for character in s if unicodedata.category(character)[0] != "P")


class RemoveMultipleSpaces(AbstractTransform):
    """Makes one space of two or more characters of whitespace."""

    def process_string(self, s: str) -> str:
        """Transform one string."""
        return re.sub(r"\s{2,}", " ", s)


class Strip(AbstractTransform):
    """Removes whitespace at both ends."""

    def process_string(self, s: str) -> str:
        """Transform one string."""
        return s.strip()


class RemoveEmptyStrings(AbstractTransform):
    """Removes the strings of a list that hold nothing but whitespace; strips a single string."""

    def process_string(self, s: str) -> str:
        """Transform one string."""
        return s.strip()

    def process_list(self, inp: list[str]) -> list[str]:
        """Transform a list."""
        return [s for s in inp if self.process_string(s)]


class ExpandCommonEnglishContractions(AbstractTransform):
    """Writes English contractions out: it's, won't, they'll, and others."""

    # Longer ones first, what is left of them after.
    expansions = (
        ("won't", "will not"),
        ("can't", "can not"),
        ("let's", "let us"),
        ("n't", " not"),
        ("'re", " are"),
        ("'s", " is"),
        ("'d", " would"),
        ("'ll", " will"),
        ("'t", " not"),
        ("'ve", " have"),
        ("'m", " am"),
    )

    def process_string(self, s: str) -> str:
        """Transform one string."""
        for contraction, expansion in self.expansions:
            s = s.replace(contraction, expansion)
        return s


class ToLowerCase(AbstractTransform):
    """Makes all characters lower case."""

    def process_string(self, s: str) -> str:
        """Transform one string."""
        return s.lower()


class ToUpperCase(AbstractTransform):
    """Makes all characters upper case."""

    def process_string(self, s: str) -> str:
        """Transform one string."""
        return s.upper()


class RemoveKaldiNonWords(AbstractTransform):
    """Removes what stands in ``[]`` or ``<>``, as Kaldi marks what is no word."""

    def process_string(self, s: str) -> str:
        """Transform one string."""
        return re.sub(r"[\[<][^\]>]*[\]>]", "", s)
