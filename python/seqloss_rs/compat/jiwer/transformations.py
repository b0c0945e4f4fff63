"""The transforms that measures start with, and others that people ask for.

See https://jitsi.github.io/jiwer/reference/transformations/.
"""

from .transforms import (
    AbstractTransform,
    Compose,
    ExpandCommonEnglishContractions,
    ReduceToListOfListOfChars,
    ReduceToListOfListOfWords,
    ReduceToSingleSentence,
    RemoveKaldiNonWords,
    RemoveMultipleSpaces,
    RemoveWhiteSpace,
    Strip,
    ToLowerCase,
)

__all__ = [
    "cer_contiguous",
    "cer_default",
    "wer_contiguous",
    "wer_default",
    "wer_standardize",
    "wer_standardize_contiguous",
]


def _spaces() -> list[AbstractTransform]:
    return [RemoveMultipleSpaces(), Strip()]


def _standards() -> list[AbstractTransform]:
    return [
        ToLowerCase(),
        ExpandCommonEnglishContractions(),
        RemoveKaldiNonWords(),
        RemoveWhiteSpace(replace_by_space=True),
    ]


wer_default = Compose([*_spaces(), ReduceToListOfListOfWords()])
"""Words."""

wer_contiguous = Compose([*_spaces(), ReduceToSingleSentence(), ReduceToListOfListOfWords()])
"""Words of all sentences in a row, of which there may be other numbers on either side."""

wer_standardize = Compose([*_standards(), *_spaces(), ReduceToListOfListOfWords()])
"""Words in lower case, contractions written out."""

wer_standardize_contiguous = Compose([*_standards(), *_spaces(), ReduceToSingleSentence(), ReduceToListOfListOfWords()])
"""The same of all sentences in a row."""

cer_default = Compose([Strip(), ReduceToListOfListOfChars()])
"""Characters."""

cer_contiguous = Compose([Strip(), ReduceToSingleSentence(), ReduceToListOfListOfChars()])
"""Characters of all sentences in a row."""
