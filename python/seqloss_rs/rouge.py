"""ROUGE as a class that gives scores and statistics, and several variants of it at once.

Defaults and words live here; checks, tokenizers and numbers in the native module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from . import _native, _signature
from ._metric import _Metric
from ._texts import Layout, Measure, MultipleReferences, References, RougeTokenize, Texts, Variant

__all__ = ["Rouge", "RougeScore", "rouge_scores"]


@dataclass(frozen=True)
class RougeScore:
    """ROUGE of a corpus: means over its pairs, in [0, 1].

    Attributes
    ----------
    score : float
        The measure that was asked for.
    precision, recall, f : float
        All three of them.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.Rouge(variant="rouge1").corpus(["the cat"], ["the cat sat on"]).recall
    0.5
    """

    score: float
    precision: float
    recall: float
    f: float


@dataclass(frozen=True, kw_only=True)
class Rouge(_Metric[RougeScore]):
    """ROUGE, as ratios.

    A row of :meth:`statistics` is hits, the count of the hypothesis, the count of the reference (tokens, or n-grams).
    The score of a corpus is the mean over its pairs, so rows must not be added. With ``multiple_references="mean"`` a
    row has these three for each reference, one after another, and -1 where a pair has fewer of them than another.

    Parameters
    ----------
    variant, measure, stem, tokenize, multiple_references
        As in :func:`rouge_loss`.

    Examples
    --------
    >>> import seqloss_rs
    >>> rouge = seqloss_rs.Rouge(variant="rougeL")
    >>> rouge.sentences(["the cat", "a dog"], ["the cat", "one dog"])
    array([1. , 0.5])
    >>> rouge.corpus(["the cat", "a dog"], ["the cat", "one dog"])
    RougeScore(score=0.75, precision=0.75, recall=0.75, f=0.75)
    >>> seqloss_rs.Rouge(multiple_references="mean").statistics(["the cat", "a"], [["the cat", "cats"], ["a b"]])
    array([[ 2,  2,  2,  0,  2,  1],
           [ 1,  1,  2, -1, -1, -1]])
    """

    variant: Variant = "rougeL"
    measure: Measure = "f"
    stem: bool = False
    tokenize: RougeTokenize = "ascii"
    multiple_references: MultipleReferences = "best"

    def _metric(self) -> Any:
        return _native.rouge(self.variant, self.measure, self.stem, self.tokenize, self.multiple_references)

    def _score(self, parts: tuple[Any, ...]) -> RougeScore:
        return RougeScore(*parts)

    def signature(self, references: int | None = None, *, short: bool = False) -> str:
        """Say in a line what the scores were computed with; see :meth:`Bleu.signature`."""
        keys = {
            "multiple": ("mr", self.multiple_references),
            "measure": ("m", self.measure),
            "tok": ("tok", _signature.tokenizer(self.tokenize)),
            "stem": ("st", self.stem),
        }
        return _signature.signature(f"ROUGE-{self.variant.removeprefix('rouge')}", references, short, keys)


def rouge_scores(
    hypotheses: Texts,
    references: References,
    variants: Sequence[Variant] = ("rouge1", "rouge2", "rougeL"),
    stem: bool = False,
    *,
    multiple_references: MultipleReferences = "best",
    **layout: Unpack[Layout],
) -> dict[Variant, NDArray[np.float64]]:
    """Score each pair by several variants of ROUGE; texts are cut into tokens once.

    Parameters
    ----------
    hypotheses, references
        As in :func:`rouge_loss`.
    variants : sequence of {"rouge1" to "rouge9", "rougeL", "rougeLsum"}
        What is counted.
    stem : bool
        Compare the stems of words (Porter's, as NLTK has them).
    multiple_references : {"best", "mean"}
        Of several references the one with the best F counts, for each variant its own; or the mean over them, for which
        texts are cut once for each number.
    **layout
        lengths, reference_lengths, offsets, reference_offsets, eos_id, pad_id, rollouts, as :class:`Layout` tells.

    Returns
    -------
    dict of float64 arrays
        For each variant (N, 3), or (N, K, 3) for K hypotheses for each item of the references: precision, recall and F,
        in [0, 1].

    Examples
    --------
    >>> import seqloss_rs
    >>> scores = seqloss_rs.rouge_scores(["the cat", "a dog"], ["the cat sat on", "one dog"])
    >>> scores["rouge1"]
    array([[1.        , 0.5       , 0.66666667],
           [0.5       , 0.5       , 0.5       ]])
    >>> scores["rouge2"][:, 2]
    array([0.5, 0. ])

    References
    ----------
    Lin 2004, https://aclanthology.org/W04-1013/; the numbers are rouge-score 0.1.2's.
    """
    if isinstance(variants, str):
        raise TypeError(f'variants is a single string, expected a sequence of them: ["{variants}"]')
    variants = tuple(variants)
    if multiple_references != "best":
        measures: tuple[Measure, ...] = ("precision", "recall", "f")
        found = {}
        for variant in variants:
            each = (
                Rouge(variant=variant, measure=measure, stem=stem, multiple_references=multiple_references)
                for measure in measures
            )
            found[variant] = np.stack([rouge.sentences(hypotheses, references, **layout) for rouge in each], axis=-1)
        return found
    metrics = [_native.rouge(variant, "f", stem, "ascii", "best") for variant in variants]
    return dict(zip(variants, _native.rouge_scores(metrics, hypotheses, references, layout), strict=True))
