"""From sentences to error rates and alignments.

See https://jitsi.github.io/jiwer/reference/process/.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from ... import error_rate
from ..._texts import Unit
from .transformations import cer_default, wer_default
from .transforms import Compose

__all__ = ["AlignmentChunk", "CharacterOutput", "WordOutput", "process_characters", "process_words"]

Transform: TypeAlias = Callable[[Any], Any]
"""What makes a list of lists of words or characters of sentences."""


@dataclass
class AlignmentChunk:
    """Tokens in a row with which the same was done; ends are exclusive.

    Attributes
    ----------
    type : {"equal", "substitute", "insert", "delete"}
        "replace" becomes "substitute".
    ref_start_idx, ref_end_idx, hyp_start_idx, hyp_end_idx : int
        Which tokens of the reference, and which of the hypothesis.

    Raises
    ------
    ValueError
        If the type is another one, or an end is before its start.
    """

    type: str
    ref_start_idx: int
    ref_end_idx: int
    hyp_start_idx: int
    hyp_end_idx: int

    def __post_init__(self) -> None:
        if self.type == "replace":
            self.type = "substitute"
        if self.type not in error_rate.OPERATIONS:
            raise ValueError(f'type is "{self.type}", expected one of {", ".join(error_rate.OPERATIONS)}')
        if self.ref_start_idx > self.ref_end_idx:
            raise ValueError(
                f"ref_start_idx is {self.ref_start_idx}, which is larger than ref_end_idx, {self.ref_end_idx}"
            )
        if self.hyp_start_idx > self.hyp_end_idx:
            raise ValueError(
                f"hyp_start_idx is {self.hyp_start_idx}, which is larger than hyp_end_idx, {self.hyp_end_idx}"
            )


@dataclass
class WordOutput:
    """Sentences as words, their alignments, and what these say of all of them together."""

    references: list[list[str]]
    hypotheses: list[list[str]]
    alignments: list[list[AlignmentChunk]]
    wer: float
    mer: float
    wil: float
    wip: float
    hits: int
    substitutions: int
    insertions: int
    deletions: int


@dataclass
class CharacterOutput:
    """Sentences as characters, their alignments, and what these say of all of them together."""

    references: list[list[str]]
    hypotheses: list[list[str]]
    alignments: list[list[AlignmentChunk]]
    cer: float
    hits: int
    substitutions: int
    insertions: int
    deletions: int


def process_words(
    reference: str | list[str],
    hypothesis: str | list[str],
    reference_transform: Transform = wer_default,
    hypothesis_transform: Transform = wer_default,
) -> WordOutput:
    """Align words, and say how many errors there are.

    Parameters
    ----------
    reference, hypothesis : str, or list of N strings
        Sentences; what transforms make of both must have the same length.
    reference_transform, hypothesis_transform : callable
        What makes a list of lists of words of a list of sentences.

    Raises
    ------
    ValueError
        If lengths differ, or a transform makes something else.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> output = jiwer.process_words("the cat sat", "a cat sat down")
    >>> output.wer, output.alignments[0][0].type
    (0.6666666666666666, 'substitute')
    """
    references, hypotheses = _transformed(reference, hypothesis, reference_transform, hypothesis_transform)
    metric = error_rate.ErrorRate()
    with _named():
        aligned = metric.align(hypotheses, references)
    score = metric.from_statistics(aligned.statistics)
    chunks = [AlignmentChunk(error_rate.OPERATIONS[kind], *bounds) for kind, *bounds in aligned.chunks.tolist()]
    return WordOutput(
        references,
        hypotheses,
        [chunks[start:end] for start, end in pairwise(aligned.offsets.tolist())],
        wer=score.wer,
        mer=score.mer,
        wil=score.wil,
        wip=score.wip,
        hits=score.hits,
        substitutions=score.substitutions,
        insertions=score.insertions,
        deletions=score.deletions,
    )


def process_characters(
    reference: str | list[str],
    hypothesis: str | list[str],
    reference_transform: Transform = cer_default,
    hypothesis_transform: Transform = cer_default,
) -> CharacterOutput:
    """Align characters, and say how many errors there are; as :func:`process_words`, with other transforms.

    Examples
    --------
    >>> from seqloss_rs.compat import jiwer
    >>> jiwer.process_characters("kitten", "sitting").substitutions
    2
    """
    words = process_words(reference, hypothesis, reference_transform, hypothesis_transform)
    return CharacterOutput(
        words.references,
        words.hypotheses,
        words.alignments,
        cer=words.wer,
        hits=words.hits,
        substitutions=words.substitutions,
        insertions=words.insertions,
        deletions=words.deletions,
    )


_NATIVE: dict[Unit, tuple[Compose, tuple[Transform, ...]]] = {
    "word": (wer_default, tuple(wer_default.transforms)),
    "char": (cer_default, tuple(cer_default.transforms)),
}
"""The transforms that the native module knows, as long as nobody has changed them."""


def score(
    reference: str | list[str] | None,
    hypothesis: str | list[str] | None,
    reference_transform: Transform,
    hypothesis_transform: Transform,
) -> error_rate.ErrorRateScore:
    """Count errors only, which the native module does from strings, if they are cut as usual."""
    texts: list[Any] = [[text] if isinstance(text, str) else text for text in (reference, hypothesis)]
    for unit, (default, transforms) in _NATIVE.items():
        usual = reference_transform is hypothesis_transform is default and tuple(default.transforms) == transforms
        if usual and _are_alike(*texts):
            with _named():
                return error_rate.ErrorRate(unit=unit).corpus(texts[1], texts[0])
    references, hypotheses = _transformed(reference, hypothesis, reference_transform, hypothesis_transform)
    with _named():
        return error_rate.ErrorRate().corpus(hypotheses, references)


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Give arguments the names that they have here."""
    try:
        yield
    except ValueError as error:
        raise ValueError(re.sub(r"^(hypothes|referenc)es\b", _singular, str(error))) from None


def _singular(plural: re.Match[str]) -> str:
    return {"hypothes": "hypothesis", "referenc": "reference"}[plural[1]]


def _are_alike(references: Any, hypotheses: Any) -> bool:
    """Whether these are lists of as many strings; of none, a transform would make one empty sentence."""
    lists = isinstance(references, list) and isinstance(hypotheses, list) and len(references) == len(hypotheses) > 0
    return lists and all(isinstance(text, str) for texts in (references, hypotheses) for text in texts)


def _transformed(
    reference: Any, hypothesis: Any, reference_transform: Transform, hypothesis_transform: Transform
) -> tuple[list[list[str]], list[list[str]]]:
    """Make lists of tokens of both."""
    references = _tokens("reference", reference, reference_transform)
    hypotheses = _tokens("hypothesis", hypothesis, hypothesis_transform)
    if len(references) != len(hypotheses):
        raise ValueError(
            f"reference has {len(references)} sentences after its transform, and hypothesis {len(hypotheses)}, "
            "expected as many"
        )
    return references, hypotheses


def _tokens(name: str, sentences: Any, transform: Transform) -> list[list[str]]:
    tokens: list[list[str]] = transform([sentences] if isinstance(sentences, str) else sentences)
    lists = isinstance(tokens, list) and all(isinstance(sentence, list) for sentence in tokens)
    if not lists or not all(
        issubclass(kind, str) for kind in {type(token) for sentence in tokens for token in sentence}
    ):
        raise ValueError(f"{name}_transform made something else than a list of lists of strings")
    return tokens
