"""Differentiable losses of texts: what BLEU, ROUGE and alignments come to when each step is a distribution over tokens.

They take logits or probabilities of every step and the token ids of references. Hypotheses are of fixed lengths, with
tokens that are independent of one another, as those of a non-autoregressive model are. The matches of n-grams that are
expected of them give ROUGE-N its expectation; the BLEU of expected matches is another number than the expected BLEU.

Of a sequence whose references have tokens the scores of those are read in every valid step, and all logits, for the
softmax. If any is NaN, then the loss of the sequence is NaN, and so is its gradient (of probabilities, that of those
tokens), whether or not it would change anything. Among them a probability that is not in [0, 1], or a log-probability
above 0, is an error; up to 1 + 1e-6 (1 + 1/128 in 16 bits) it counts as 1, for rounding. Nothing sums rows, as that
would take all C: where probabilities of a step sum to more than 1, losses may be below 0. If the references are empty
nothing is read, and the gradient is 0.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from . import _native
from ._texts import Measure, MultipleReferences
from ._types import Floats, Integers, Lengths, Reduction, Value

__all__ = ["eisl_loss", "expected_bleu_loss", "expected_rouge_loss", "soft_rouge_l_loss"]

Scores: TypeAlias = Literal["logits", "log_probs", "probs"]
"""What the first argument holds."""

Estimate: TypeAlias = Literal["exact", "bag_of_ngrams", "zhukov_kretov"]
"""How the expected matches of n-grams are counted."""

NgramVariant: TypeAlias = Literal[
    "rouge1", "rouge2", "rouge3", "rouge4", "rouge5", "rouge6", "rouge7", "rouge8", "rouge9"
]
"""ROUGE of n-grams."""


def expected_bleu_loss(
    logits: Floats,
    references: Integers,
    *,
    scores: Scores = "logits",
    estimate: Estimate = "exact",
    max_order: int = 4,
    smoothing: Literal["add-k", "none"] = "add-k",
    smoothing_value: float | None = None,
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """1 − BLEU of the expected matches, in [0, 1], with its gradient.

    BLEU = BP exp(1/N Σₙ ln(Eₙ / totalₙ)), where Eₙ = Σ_g E min(X_g, c_g) are the expected clipped matches of order n:
    X_g is how often the n-gram g occurs, and c_g the most that one reference has of it. Lengths are fixed, so totals
    and the brevity penalty are those of the metric. This is not 1 − E[BLEU], whose gradient REINFORCE estimates, as
    BLEU is no linear function of its matches. For probabilities of 0 and 1 it is :func:`bleu_loss` of those tokens with
    the same `smoothing` and `max_order`: that one's default is another smoothing.

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C tokens in each step, of float16, bfloat16, float32 or float64.
    references : (N, R) or (N, K, R) integers, or list of N arrays, or list of N lists of arrays
        Token ids, at least 0 and less than C, one reference or several for each sequence; of several the largest
        count of an n-gram counts, and the length that is closest (the shorter of two). For (T, C) logits they are (R,)
        or (K, R) ids, or a list of arrays. References and sequences may be empty: what has no match costs 1.
    scores : {"logits", "log_probs", "probs"}
        What `logits` holds. Log-probabilities and probabilities are taken as they are, of the tokens that the
        references have; all others share what these leave of 1, and are never read. For what is checked see
        :mod:`seqloss_rs.expected`.
    estimate : {"exact", "bag_of_ngrams", "zhukov_kretov"}
        How matches are counted. "exact" is the expectation itself: each n-gram by a recursion over the steps (by an
        automaton times a counter if it overlaps itself, as "a b a" does). "bag_of_ngrams" is min(E X_g, c_g), which is
        never less than the exact one (Jensen) and has no gradient where it is clipped [1]_. "zhukov_kretov" is
        Σ_i P_i min(1, c_g / (1 + E X_g − P_i)) over windows i with the probability P_i of g [2]_, which is no lower
        bound in general, for all that its paper is called.
    max_order : int
        The longest n-grams, from 1 to 32.
    smoothing : {"add-k", "none"}
        Orders above 1 have 1 more match and n-gram; or nothing is done, so that the loss is 1, with a gradient of 0, as
        soon as an order has no expected matches at all (fewer than 1e-300). So it is where the references are shorter
        than both the sequence and `max_order`. The other smoothings of :func:`bleu_loss` change with the number of
        matches by leaps.
    smoothing_value : float, optional
        What is added, at least 0. None is 1.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read, and its gradient is exactly 0. Orders that
        a sequence is too short for are left out, unless matches are added to them, as in sacrebleu.
    reference_lengths : (N,) integers, optional
        The same for references, one for each sequence, or (N, K) for an (N, K, R) array.
    eos_id : int, optional
        A reference ends before the first id like this.
    pad_id : int, optional
        Ids like this do not count at the end of a reference: -100 for labels that are padded so.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        The mean over N; the loss of each sequence (three names for one thing); their sum; the mean.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean" (NaN for no sequences), "sum" and "batch_mean"; otherwise (N,), float32 (float64 for float64
        logits).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it, as in
        ``references[3][7] is 32, which is not a class in 0..32`` or
        ``logits[0, 1, 2] is 1.3, expected a probability``.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> probs = np.array([[[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.1, 0.9]]])
    >>> round(seqloss_rs.expected_bleu_loss(probs, [[0, 1, 2]], scores="probs", max_order=2), 6)
    0.147639
    >>> logits = np.log([[0.9, 0.1], [0.2, 0.8]])
    >>> value, grad = seqloss_rs.value_and_grad(seqloss_rs.expected_bleu_loss)(logits, [0, 1])
    >>> grad.round(4)
    array([[-0.0169,  0.0169],
           [ 0.0366, -0.0366]])

    Of sure tokens it is the metric:

    >>> sure = np.eye(4)[[0, 1, 2, 3]]
    >>> round(seqloss_rs.expected_bleu_loss(sure, [0, 1, 2, 2], scores="probs"), 6)
    0.341963
    >>> round(seqloss_rs.bleu_loss([[0, 1, 2, 3]], [[0, 1, 2, 2]], smoothing="add-k"), 6)
    0.341963

    References
    ----------
    Papineni et al., 2002, https://doi.org/10.3115/1073083.1073135.

    .. [1] Shao et al., 2020, https://arxiv.org/abs/1911.09320.
    .. [2] Zhukov and Kretov, 2017, https://arxiv.org/abs/1709.05041.
    """
    return _native.expected_loss(
        "expected_bleu",
        None,
        logits,
        references,
        scores=scores,
        estimate=estimate,
        max_order=max_order,
        smoothing=smoothing,
        smoothing_value=smoothing_value,
        lengths=lengths,
        reference_lengths=reference_lengths,
        eos_id=eos_id,
        pad_id=pad_id,
        reduction=reduction,
        normalizer=normalizer,
    )


def expected_rouge_loss(
    logits: Floats,
    references: Integers,
    *,
    variant: NgramVariant = "rouge1",
    measure: Measure = "f",
    scores: Scores = "logits",
    estimate: Estimate = "exact",
    multiple_references: MultipleReferences = "mean",
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """1 − E[ROUGE-N], in [0, 1], with its gradient.

    As lengths are fixed, precision, recall and F are multiples of the matches, so with ``estimate="exact"`` this is the
    expectation of :func:`rouge_loss` itself, and its gradient what REINFORCE estimates by sampling. Of several
    references that is so for ``rouge_loss(..., multiple_references="mean")``, which is not the default there.

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C tokens in each step, of float16, bfloat16, float32 or float64.
    references : (N, R) or (N, K, R) integers, or list of N arrays, or list of N lists of arrays
        Token ids, at least 0 and less than C, one reference or several for each sequence. For (T, C) logits they
        are (R,) or (K, R) ids, or a list of arrays. References and sequences may be empty, or too short for an n-gram:
        they cost 1.
    variant : {"rouge1" to "rouge9"}
        The length of the n-grams that are counted; for the longest common subsequence see :func:`soft_rouge_l_loss`.
    measure : {"f", "precision", "recall"}
        Which of the three.
    scores : {"logits", "log_probs", "probs"}
        What `logits` holds. Log-probabilities and probabilities are taken as they are, of the tokens that the
        references have; all others share what these leave of 1, and are never read. For what is checked see
        :mod:`seqloss_rs.expected`.
    estimate : {"exact", "bag_of_ngrams", "zhukov_kretov"}
        How matches are counted: see :func:`expected_bleu_loss`.
    multiple_references : {"mean", "best"}
        Of several references the mean, whose expectation is exact; or the one with the largest expected F, which is
        less than the expected F of the best where that differs from sample to sample.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read, and its gradient is exactly 0.
    reference_lengths : (N,) integers, optional
        The same for references, one for each sequence, or (N, K) for an (N, K, R) array.
    eos_id : int, optional
        A reference ends before the first id like this.
    pad_id : int, optional
        Ids like this do not count at the end of a reference: -100 for labels that are padded so.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        The mean over N; the loss of each sequence (three names for one thing); their sum; the mean.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean" (NaN for no sequences), "sum" and "batch_mean"; otherwise (N,), float32 (float64 for float64
        logits).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> probs = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
    >>> seqloss_rs.expected_rouge_loss(probs, [0, 1], scores="probs")  # of four, one has both tokens
    0.375
    >>> seqloss_rs.expected_rouge_loss(probs, [0, 1], scores="probs", estimate="bag_of_ngrams")
    0.25

    Of sure tokens it is the metric:

    >>> sure, references = np.eye(3)[[0, 1]], [[0, 2], [2, 2]]
    >>> seqloss_rs.expected_rouge_loss(sure, references, scores="probs")
    0.75
    >>> seqloss_rs.rouge_loss([[0, 1]], [references], variant="rouge1", multiple_references="mean")
    0.75

    References
    ----------
    Lin, 2004, https://aclanthology.org/W04-1013/.
    """
    return _native.expected_loss(
        "expected_rouge",
        None,
        logits,
        references,
        variant=variant,
        measure=measure,
        scores=scores,
        estimate=estimate,
        multiple_references=multiple_references,
        lengths=lengths,
        reference_lengths=reference_lengths,
        eos_id=eos_id,
        pad_id=pad_id,
        reduction=reduction,
        normalizer=normalizer,
    )


def soft_rouge_l_loss(
    logits: Floats,
    references: Integers,
    *,
    gamma: float = 0.1,
    measure: Measure = "f",
    scores: Scores = "logits",
    multiple_references: MultipleReferences = "mean",
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """1 − ROUGE-L of a soft longest common subsequence, in [0, 1], with its gradient.

    The length of the subsequence is L = γ ln mean exp(matches / γ) over all alignments of the two texts, where a match
    of step i and token j adds the probability P(i, yⱼ). That is the recursion with a smooth maximum γ ln Σ exp(· / γ),
    less its value without any match, γ ln D(T, R), D the number of alignments. L is at most the longest common
    subsequence of sure tokens, and becomes it for γ → 0.

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C tokens in each step, of float16, bfloat16, float32 or float64.
    references : (N, R) or (N, K, R) integers, or list of N arrays, or list of N lists of arrays
        Token ids, at least 0 and less than C, one reference or several for each sequence. For (T, C) logits they
        are (R,) or (K, R) ids, or a list of arrays. Empty references and sequences cost 1.
    gamma : float
        γ, from 1e-6 to 1e6. For a small γ T sure tokens that all match cost γ ln D(T, T) / T, for the other alignments:
        from 1.10 γ for one token to 1.76 γ for many. For a large γ, where L is the small difference of two numbers of
        the size γ ln D(T, R), it is right to about 2e-16 of those.
    measure : {"f", "precision", "recall"}
        2 L / (T + R), L / T or L / R.
    scores : {"logits", "log_probs", "probs"}
        What `logits` holds. Log-probabilities and probabilities are taken as they are, of the tokens that the
        references have; no others are read. For what is checked see :mod:`seqloss_rs.expected`.
    multiple_references : {"mean", "best"}
        Of several references the mean, or the one with the largest F.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read, and its gradient is exactly 0.
    reference_lengths : (N,) integers, optional
        The same for references, one for each sequence, or (N, K) for an (N, K, R) array.
    eos_id : int, optional
        A reference ends before the first id like this.
    pad_id : int, optional
        Ids like this do not count at the end of a reference: -100 for labels that are padded so.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        The mean over N; the loss of each sequence (three names for one thing); their sum; the mean.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean" (NaN for no sequences), "sum" and "batch_mean"; otherwise (N,), float32 (float64 for float64
        logits).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> probs = np.eye(3)[[0, 1, 2]]
    >>> round(seqloss_rs.soft_rouge_l_loss(probs, [0, 2], scores="probs", gamma=1e-3), 2)  # 1 - 4/5
    0.2

    References
    ----------
    Mensch and Blondel, 2018, https://arxiv.org/abs/1802.03676; ROUGE-L: Lin, 2004, https://aclanthology.org/W04-1013/.
    """
    return _native.expected_loss(
        "soft_rouge_l",
        None,
        logits,
        references,
        gamma=gamma,
        measure=measure,
        scores=scores,
        multiple_references=multiple_references,
        lengths=lengths,
        reference_lengths=reference_lengths,
        eos_id=eos_id,
        pad_id=pad_id,
        reduction=reduction,
        normalizer=normalizer,
    )


def eisl_loss(
    logits: Floats,
    references: Integers,
    *,
    order_weights: Sequence[float] = (0.8, 0.2),
    temperature: float = 1.0,
    scores: Scores = "logits",
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Edit-invariant sequence loss, in [0, 20]: the log-likelihood of a reference's n-grams, wherever they may stand.

    ℓ = −Σₙ weightₙ meanⱼ Σᵢ wᵢⱼ Aᵢⱼ, where Aᵢⱼ = 1/n Σₖ max(ln P(i + k, yⱼ₊ₖ), −20) is the mean log-probability of the
    n-gram at j if it stands at i, and w is the softmax of A / τ over i. The authors' code adds Gumbel noise to A in the
    softmax, which makes it a random number, and mixes the cross-entropy in; this is the form without either.

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C tokens in each step, of float16, bfloat16, float32 or float64.
    references : (N, R) or (N, K, R) integers, or list of N arrays, or list of N lists of arrays
        Token ids, at least 0 and less than C, one reference or several (their mean) for each sequence. For (T, C)
        logits they are (R,) or (K, R) ids, or a list of arrays.
    order_weights : sequence of floats
        Weights of the orders 1, 2, …, up to 32 of them, divided by their sum. Orders that the sequence or the reference
        is too short for are left out; if no weight is left, the longest n that fits both counts alone, as in the
        authors' code. An empty reference costs 0, and a sequence without steps 20 for any other. The default is that of
        the authors' ``bleuloss.py`` for orders 1 and 2; their ``EISL_nat.py`` weighs all orders alike, and has no
        default ones.
    temperature : float
        τ, from 1e-6 to 1e6.
    scores : {"logits", "log_probs", "probs"}
        What `logits` holds. Log-probabilities and probabilities are taken as they are, of the tokens that the
        references have; no others are read. For what is checked see :mod:`seqloss_rs.expected`.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read, and its gradient is exactly 0.
    reference_lengths : (N,) integers, optional
        The same for references, one for each sequence, or (N, K) for an (N, K, R) array.
    eos_id : int, optional
        A reference ends before the first id like this.
    pad_id : int, optional
        Ids like this do not count at the end of a reference: -100 for labels that are padded so.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        The mean over N; the loss of each sequence (three names for one thing); their sum; the mean.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean" (NaN for no sequences), "sum" and "batch_mean"; otherwise (N,), float32 (float64 for float64
        logits).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> logits = np.log([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    >>> round(seqloss_rs.eisl_loss(logits, [0, 1], order_weights=[1.0]), 6)
    0.550158

    References
    ----------
    Liu et al., 2022, https://arxiv.org/abs/2106.15078; the authors' code is https://github.com/guangyliu/EISL.
    """
    return _native.expected_loss(
        "eisl",
        None,
        logits,
        references,
        order_weights=order_weights,
        temperature=temperature,
        scores=scores,
        lengths=lengths,
        reference_lengths=reference_lengths,
        eos_id=eos_id,
        pad_id=pad_id,
        reduction=reduction,
        normalizer=normalizer,
    )
