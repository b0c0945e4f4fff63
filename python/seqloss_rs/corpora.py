"""What looks at all texts together: how much they repeat themselves and one another, and CIDEr-D."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._texts import References, Texts, Tokenize
from ._types import Lengths
from .metrics import Bleu

__all__ = ["DistinctNgrams", "cider_d", "distinct_ngrams", "self_bleu"]


@dataclass(frozen=True)
class DistinctNgrams:
    """How many n-grams differ.

    Attributes
    ----------
    score : float
        Different n-grams over all n-grams of all texts together: distinct-n, in [0, 1]; NaN where there are none.
    distinct, total : int
        These two.
    sentences : (N,) float64
        The same ratio of each text by itself; NaN for one that is too short.
    repetition : (N,) float64
        1 − that ratio: the part of a text that repeats itself; 0 for one that is too short.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.distinct_ngrams(["a a a a", "b c"], order=1).repetition
    array([0.75, 0.  ])
    """

    score: float
    distinct: int
    total: int
    sentences: NDArray[np.float64]
    repetition: NDArray[np.float64]


def distinct_ngrams(
    texts: Texts,
    *,
    order: int = 2,
    tokenize: Tokenize = "none",
    lowercase: bool = False,
    lengths: Lengths | None = None,
    offsets: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
) -> DistinctNgrams:
    """Tell how many n-grams of texts differ: distinct-n, and how much each text repeats itself.

    Parameters
    ----------
    texts : list of N strings, list of N lists of tokens, or token ids
        Token ids are (N, T), a list of N arrays, or flat with ``offsets``.
    order : int
        The length of the n-grams, in 1..32.
    tokenize, lowercase
        As in :func:`bleu_loss`.
    lengths, offsets, eos_id, pad_id
        How token ids lie in their arrays, as in :class:`Bleu`.

    Returns
    -------
    DistinctNgrams

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.distinct_ngrams(["the cat sat", "the cat ran"], order=2).score
    0.75

    References
    ----------
    Li et al. 2016, https://doi.org/10.18653/v1/N16-1014. They divide by tokens; here, as is usual, by n-grams.
    """
    if getattr(texts, "ndim", None) == 3:
        shape = getattr(texts, "shape", ())
        raise ValueError(f"texts has shape {tuple(shape)}, expected (N, T): reshape it, or take each set by itself")
    layout = {"lengths": lengths, "offsets": offsets, "eos_id": eos_id, "pad_id": pad_id}
    reader = Bleu(tokenize=tokenize, lowercase=lowercase)._metric()
    rows, _ = _native.distinct_ngrams(reader, texts, order, layout, "texts")
    *_, (distinct, total) = rows.tolist()
    different, all_ngrams = rows[:-1, 0], rows[:-1, 1]
    ratios = np.full(len(different), np.nan)
    np.divide(different, all_ngrams, out=ratios, where=all_ngrams > 0)
    repetition = np.where(all_ngrams > 0, 1 - ratios, 0.0)
    return DistinctNgrams(distinct / total if total else np.nan, distinct, total, ratios, repetition)


def self_bleu(
    texts: Texts,
    *,
    metric: Bleu | None = None,
    lengths: Lengths | None = None,
    offsets: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
) -> NDArray[np.float64]:
    """Score each text against all others by BLEU: the higher, the less the texts differ.

    The time it takes is in proportion to the length of all texts together.

    Parameters
    ----------
    texts : list of N strings, list of N lists of tokens, or token ids
        At least two. Token ids are (N, T), a list of N arrays, or flat with ``offsets``; or (N, K, T), N sets of K
        texts that are compared with those of their own set only.
    metric : Bleu, optional
        How BLEU is computed; ``Bleu()`` by default.
    lengths, offsets, eos_id, pad_id
        How token ids lie in their arrays, as in :class:`Bleu`.

    Returns
    -------
    (N,) or (N, K) float64
        On the scale of 100; their mean is what papers call self-BLEU.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> seqloss_rs.self_bleu(["a b c d", "a b c d", "x y z w"])
    array([100., 100.,   0.])

    References
    ----------
    Zhu et al. 2018, https://arxiv.org/abs/1802.01886; without the text itself among its references.
    """
    metric = Bleu() if metric is None else metric
    if not isinstance(metric, Bleu):
        raise TypeError(f"metric is {metric!r}, expected a Bleu")
    layout = {"lengths": lengths, "offsets": offsets, "eos_id": eos_id, "pad_id": pad_id}
    scores: NDArray[np.float64]
    if getattr(texts, "ndim", None) == 3:
        sets = np.asarray(texts)
        if lengths is not None and np.shape(lengths) != sets.shape[:2]:
            raise ValueError(f"lengths has shape {np.shape(lengths)}, expected {sets.shape[:2]}")
        scores = np.empty(sets.shape[:2])
        for index, own in enumerate(sets):
            layout["lengths"] = None if lengths is None else np.asarray(lengths)[index]
            scores[index] = _native.self_bleu(metric._metric(), own, layout)
        return scores
    scores = _native.self_bleu(metric._metric(), texts, layout)
    return scores


def cider_d(
    hypotheses: Texts,
    references: References,
    *,
    documents: Sequence[Any] | None = None,
    max_order: int = 4,
    sigma: float = 6.0,
    tokenize: Tokenize = "none",
    lowercase: bool = False,
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    rollouts: int | None = None,
) -> NDArray[np.float64]:
    """Score descriptions by CIDEr-D: shared n-grams weighted by how rare they are, in [0, 10].

    Parameters
    ----------
    hypotheses : list of N strings, list of N lists of tokens, or token ids
        What is scored; token ids are (N, T), (N, K, T) with K hypotheses for each item of the references, or a list of
        N arrays.
    references : list of N texts, or list of N lists of texts
        What each is compared with; the score is the mean over them.
    documents : list of sets of references, optional
        Where n-grams are counted: how many of these sets have each. None counts in ``references``; a single set then
        makes every n-gram worthless, so pass the references of a whole data set when scoring a few. Goes with
        hypotheses and references that are lists of strings, of lists of tokens or of arrays.
    max_order : int
        The longest n-grams, in 1..32.
    sigma : float
        How much the lengths may differ: the penalty is exp(−difference² / 2σ²).
    tokenize, lowercase
        As in :func:`bleu_loss`. The original takes text that is cut and lower-cased already.
    lengths, reference_lengths, eos_id, pad_id, rollouts
        How token ids lie in their arrays, as in :class:`Bleu`.

    Returns
    -------
    (N,) or (N, K) float64
        Their mean is the score of a corpus.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> hypotheses, references = ["a cat sat", "a dog ran"], [["a cat sat"], ["the dog ran off"]]
    >>> seqloss_rs.cider_d(hypotheses, references).round(3)
    array([7.5 , 2.43])

    References
    ----------
    Vedantam et al. 2015, https://arxiv.org/abs/1411.5726; the numbers are pycocoevalcap's.
    """
    layout = {
        "lengths": lengths,
        "reference_lengths": reference_lengths,
        "eos_id": eos_id,
        "pad_id": pad_id,
        "rollouts": rollouts,
    }
    first = None
    if documents is not None:
        if not isinstance(hypotheses, (list, tuple)) or not isinstance(references, (list, tuple)) or rollouts:
            raise TypeError("documents goes with lists of hypotheses and of references, one for each")
        if isinstance(documents, (str, bytes)) or not hasattr(documents, "__len__"):
            kind = type(documents).__name__
            raise TypeError(f"documents has type {kind}, expected a list of sets of references")
        if len(documents) == 0:
            raise ValueError("documents is empty, expected at least one set of references")
        first = len(references)
        if first != len(hypotheses):
            raise ValueError(f"references has length {first}, expected {len(hypotheses)}, as there are hypotheses")
        # Documents are sets of references without a hypothesis of their own.
        empty: Any = "" if first and isinstance(hypotheses[0], str) else []
        hypotheses = cast(Any, [*hypotheses, *[empty] * len(documents)])
        references = cast(Any, [*references, *documents])
    reader = Bleu(tokenize=tokenize, lowercase=lowercase)._metric()
    try:
        scores: NDArray[np.float64] = _native.cider_d(reader, hypotheses, references, first, max_order, sigma, layout)
    except (ValueError, TypeError) as error:
        place = re.match(r"references\[(\d+)\]", str(error))
        if first is None or place is None or int(place[1]) < first:
            raise
        raise type(error)(f"documents[{int(place[1]) - first}]{str(error)[place.end() :]}") from None
    return scores
