"""Minimum Bayes risk: the candidate that is most like the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._metric import _Metric
from ._texts import Layout
from ._types import Integers, Lengths
from .answers import ExactMatch, TokenF1
from .error_rate import ErrorRate
from .gleu import Gleu, NltkBleu
from .metrics import Bleu, Chrf
from .rouge import Rouge

__all__ = ["MbrChoice", "mbr"]

Utility: TypeAlias = Bleu | Chrf | Rouge | ErrorRate | Gleu | NltkBleu | TokenF1 | ExactMatch
Candidates: TypeAlias = Sequence[Sequence[str]] | Sequence[Sequence[Sequence[str]]] | Integers
"""N sets of K texts: lists of strings, or token ids (N, K, T)."""


@dataclass(frozen=True)
class MbrChoice:
    """The best candidate of every set.

    Attributes
    ----------
    index : (N,) int64
        Which one it is; the first of equals.
    scores : (N, K) float64
        The expected utility of every candidate; NaN where a set has fewer than K.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.mbr([["a b", "a b c", "x"]], utility=seqloss_rs.Rouge(variant="rouge1")).scores.round(4)
    array([[0.6   , 0.6   , 0.3333]])
    """

    index: NDArray[np.int64]
    scores: NDArray[np.float64]


def mbr(
    candidates: Candidates,
    *,
    utility: Utility,
    weights: Any = None,
    references: Candidates | None = None,
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
) -> MbrChoice:
    """Choose the candidate with the highest expected utility, for every set: minimum Bayes risk decoding.

    The expected utility of candidate k is the mean of u(candidate k, reference j) over the references j of its set.
    Where no references are given, the candidates themselves are the references, each its own among them, as in Eikema
    and Aziz's estimate from samples and as in mbrs, which is given the same list twice.

    Parameters
    ----------
    candidates : list of N lists of strings or of lists of tokens, or token ids
        N sets of K candidates; lists may have different K. Token ids are (N, K, T), or N lists of K arrays.
    utility : Bleu, Chrf, Rouge, ErrorRate, Gleu, NltkBleu, TokenF1 or ExactMatch
        What compares a candidate with a reference. An error rate e is the utility -e (but wip is a
        utility itself). Ter is refused.
    weights : (N, K) floats, optional
        The weight of each reference, at least 0; they need not sum to 1. By default all are equal, as samples of a
        model are. What lies beyond the end of a shorter set is not read.
    references : as candidates, optional
        N sets of what candidates are compared with instead; weights then belong to these.
    lengths, reference_lengths : (N, K) integers, optional
        How many ids of each candidate, and of each reference, count.
    eos_id, pad_id : int, optional
        A text of ids ends before the first ``eos_id``, and ``pad_id`` does not count at its end.

    Returns
    -------
    MbrChoice

    Raises
    ------
    ValueError, TypeError
        Where sets, weights or lengths do not fit; the message names which.

    Examples
    --------
    >>> import seqloss_rs
    >>> sets = [["the cat sat", "the cat sat down", "a dog ran"], ["yes", "no", "no"]]
    >>> choice = seqloss_rs.mbr(sets, utility=seqloss_rs.Chrf())
    >>> choice.index
    array([1, 1])
    >>> choice.scores.round(2)
    array([[56.84, 67.03, 37.49],
           [33.33, 66.67, 66.67]])

    References
    ----------
    Kumar and Byrne 2004, https://aclanthology.org/N04-1022/; Eikema and Aziz 2022, https://arxiv.org/abs/2108.04718.
    """
    if not isinstance(utility, _Metric):
        given = f"the class {utility.__name__}" if isinstance(utility, type) else repr(utility)
        raise TypeError(f"utility is {given}, expected a metric such as Chrf()")
    _check_sets("candidates", candidates)
    _check_sets("references", references)
    if weights is not None:
        try:
            weights = np.asarray(weights, dtype=np.float64)
        except (ValueError, TypeError):
            raise ValueError(
                f"weights is {weights!r}, expected (N, K) numbers; rows of shorter sets may be filled up with 0"
            ) from None
        if weights.ndim != 2:
            raise ValueError(f"weights has shape {weights.shape}, expected (N, K)")
    layout: Layout = {
        "lengths": lengths,
        "reference_lengths": reference_lengths,
        "eos_id": eos_id,
        "pad_id": pad_id,
    }
    index, scores = _native.minimum_bayes_risk(utility._metric(), candidates, references, weights, layout)
    return MbrChoice(index, scores)


def _check_sets(name: str, sets: Any) -> None:
    """Refuse sets that are empty, and None in them: elsewhere it is a missing text, here it would shift the others."""
    if not isinstance(sets, (list, tuple)):
        return
    for index, texts in enumerate(sets):
        if not isinstance(texts, (list, tuple)):
            continue
        if not texts:
            raise ValueError(f"{name}[{index}] is empty, expected at least one text")
        for place, text in enumerate(texts):
            if text is None:
                raise TypeError(f"{name}[{index}][{place}] is None, expected a text")
