"""Several variants of ROUGE at once.

Defaults and words live here; checks, tokenizers and numbers in the native module.
"""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._texts import Layout, References, Texts, Variant

__all__ = ["rouge_scores"]


def rouge_scores(
    hypotheses: Texts,
    references: References,
    variants: Sequence[Variant] = ("rouge1", "rouge2", "rougeL"),
    stem: bool = False,
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
    **layout
        lengths, reference_lengths, offsets, reference_offsets, eos_id, pad_id, rollouts, as :class:`Layout` tells.

    Returns
    -------
    dict of float64 arrays
        For each variant (N, 3), or (N, K, 3) for K hypotheses for each item of the references: precision, recall and F,
        in [0, 1]. Of several references the one with the best F counts, for each variant its own.

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
    metrics = [_native.rouge(variant, "f", stem, "ascii", "best") for variant in variants]
    return dict(zip(variants, _native.rouge_scores(metrics, hypotheses, references, layout), strict=True))
