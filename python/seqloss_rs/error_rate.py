"""Error rates: how many words or characters differ, and which.

Defaults and words live here; checks and numbers in the native module.
"""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, Unpack

import numpy as np
from numpy.typing import NDArray

from . import _native, _signature
from ._metric import _Metric
from ._texts import Layout, References, Texts, Unit

__all__ = ["AlignmentChunk", "ErrorRate", "ErrorRateAlignment", "ErrorRateScore"]

ErrorMeasure: TypeAlias = Literal["wer", "mer", "wil", "wip"]
Operation: TypeAlias = Literal["equal", "substitute", "delete", "insert"]

OPERATIONS: tuple[Operation, ...] = ("equal", "substitute", "delete", "insert")


@dataclass(frozen=True)
class ErrorRateScore:
    """The error rate of a corpus and what it is made of.

    Attributes
    ----------
    score : float
        The measure that was asked for.
    hits, substitutions, deletions, insertions : int
        Of the alignments of least cost that rapidfuzz finds.

    Examples
    --------
    >>> import seqloss_rs
    >>> score = seqloss_rs.ErrorRate().corpus(["a x c d"], ["a b c"])
    >>> score
    ErrorRateScore(score=0.6666666666666666, hits=2, substitutions=1, deletions=0, insertions=1)
    >>> score.mer, score.wil, score.wip
    (0.5, 0.6666666666666667, 0.3333333333333333)
    """

    score: float
    hits: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def wer(self) -> float:
        """Word error rate: all errors over the tokens of the references; it can exceed 1.

        Where all references are empty it is the number of insertions.
        """
        return self._measured("wer")

    @property
    def mer(self) -> float:
        """Match error rate: all errors over errors and hits, in [0, 1]."""
        return self._measured("mer")

    @property
    def wil(self) -> float:
        """Word information lost: 1 − :attr:`wip`."""
        return self._measured("wil")

    @property
    def wip(self) -> float:
        """Word information preserved: hits over references times hits over hypotheses, in [0, 1]."""
        return self._measured("wip")

    def _measured(self, measure: ErrorMeasure) -> float:
        counts = [self.hits, self.substitutions, self.deletions, self.insertions]
        return ErrorRate(measure=measure).from_statistics(counts).score


class AlignmentChunk(NamedTuple):
    """Tokens in a row with which the same was done; ends are exclusive.

    Attributes
    ----------
    type : {"equal", "substitute", "delete", "insert"}
        What leads from the reference to the hypothesis; as many tokens are substituted as take their place.
    reference_start, reference_end : int
        Which tokens of the reference; none of them for "insert".
    hypothesis_start, hypothesis_end : int
        Which tokens of the hypothesis; none of them for "delete".
    """

    type: Operation
    reference_start: int
    reference_end: int
    hypothesis_start: int
    hypothesis_end: int


@dataclass(frozen=True, eq=False)
class ErrorRateAlignment:
    """Which operations lead from references to hypotheses; item i is the list of the chunks of pair i.

    Attributes
    ----------
    chunks : (M, 5) int64
        A row for each chunk, those of pair 0 first: the type (0 equal, 1 substitute, 2 delete, 3 insert), its start and
        end in the reference, and those in the hypothesis.
    offsets : (N + 1,) int64
        The chunks of pair i are rows ``offsets[i]`` to ``offsets[i + 1]``.
    references : (N,) int64, or (N, K)
        Which of its references each hypothesis is aligned with.
    statistics : (N, 4) int64, or (N, K, 4)
        The rows of :meth:`ErrorRate.statistics`.

    Examples
    --------
    >>> import seqloss_rs
    >>> alignment = seqloss_rs.ErrorRate().align(["a x c d"], ["a b c"])
    >>> [chunk.type for chunk in alignment[0]]
    ['equal', 'substitute', 'equal', 'insert']
    >>> alignment[0][3]
    AlignmentChunk(type='insert', reference_start=3, reference_end=3, hypothesis_start=3, hypothesis_end=4)
    >>> alignment.chunks[alignment.chunks[:, 0] > 0]
    array([[1, 1, 2, 1, 2],
           [3, 3, 3, 3, 4]])
    """

    chunks: NDArray[np.int64]
    offsets: NDArray[np.int64]
    references: NDArray[np.int64]
    statistics: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> list[AlignmentChunk]:
        pair = range(len(self))[operator.index(index)]
        rows = self.chunks[self.offsets[pair] : self.offsets[pair + 1]].tolist()
        return [AlignmentChunk(OPERATIONS[row[0]], *row[1:]) for row in rows]

    def __iter__(self) -> Iterator[list[AlignmentChunk]]:
        return map(self.__getitem__, range(len(self)))


@dataclass(frozen=True, kw_only=True)
class ErrorRate(_Metric[ErrorRateScore]):
    """Word or character error rate, and what is told beside it, as ratios.

    A row of :meth:`statistics` is hits, substitutions, deletions, insertions. Of several references the one with the
    least error counts.

    Parameters
    ----------
    unit : {"word", "char"}, or callable
        What is aligned: what spaces separate, or every character. Or what a function makes of a string: the string with
        spaces between its units, or a list of them. Tokens and token ids are units already.
    measure : {"wer", "mer", "wil", "wip"}
        The score: the error rate of words (or characters), the match error rate, or what is lost or preserved of the
        information; see :class:`ErrorRateScore`.
    lowercase : bool
        Lower-case strings first.
    remove_punctuation : bool
        Take all characters that are punctuation in Unicode out of strings, after lower-casing; not with a function.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.ErrorRate(unit="char").sentences(["kitten"], ["sitting"])
    array([0.42857143])
    >>> seqloss_rs.ErrorRate(lowercase=True, remove_punctuation=True).corpus(["Hello, world!"], ["hello world"]).score
    0.0

    References
    ----------
    Morris et al. 2004, https://doi.org/10.21437/Interspeech.2004-668; the numbers are jiwer 4's.
    """

    unit: Unit = "word"
    measure: ErrorMeasure = "wer"
    lowercase: bool = False
    remove_punctuation: bool = False

    def align(self, hypotheses: Texts, references: References, **layout: Unpack[Layout]) -> ErrorRateAlignment:
        """Say which operations lead from each reference to its hypothesis.

        Parameters
        ----------
        hypotheses, references, **layout
            As in :meth:`corpus`.

        Returns
        -------
        ErrorRateAlignment
            Of least cost, the one that rapidfuzz finds.
        """
        return ErrorRateAlignment(*_native.error_rate_align(self._metric(), hypotheses, references, layout))

    def _metric(self) -> Any:
        return _native.error_rate(self.unit, self.measure, self.lowercase, self.remove_punctuation)

    def _score(self, parts: tuple[Any, ...]) -> ErrorRateScore:
        score, row = parts
        return ErrorRateScore(score, *row)

    def signature(self, references: int | None = None, *, short: bool = False) -> str:
        """Say in a line what the scores were computed with; see :meth:`Bleu.signature`."""
        keys = {
            "case": ("c", _signature.case(self.lowercase)),
            "punct": ("pn", not self.remove_punctuation),
            "unit": ("u", _signature.tokenizer(self.unit)),
        }
        name = "CER" if (self.unit, self.measure) == ("char", "wer") else self.measure.upper()
        return _signature.signature(name, references, short, keys)
