"""The losses of classes: cross-entropy, CTC and REINFORCE.

Every loss is a function of arrays with everything optional as keywords; :func:`value_and_grad` turns it into one that
returns its gradient as well. Defaults and words live here, checks and numbers in the native module.
"""

from collections.abc import Sequence
from typing import Literal

from . import _native
from ._types import Floats, Integers, Layout, Lengths, Mask, Reduction, Star, Value
from .advantages import Baseline, Scale

__all__ = ["cross_entropy_loss", "ctc_loss", "reinforce_loss"]


def cross_entropy_loss(
    logits: Floats,
    targets: Integers | Floats,
    *,
    scores: Literal["logits", "log_probs", "probs"] = "logits",
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    weights: Floats | None = None,
    class_weights: Floats | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    label_smoothing_over: Literal["all", "others", "finite"] = "all",
    z_loss: float = 0.0,
    softcap: float | None = None,
    temperature: float = 1.0,
    focal_gamma: float = 0.0,
    poly_epsilon: float = 0.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Cross-entropy of each step: ℓ = ln Σⱼ exp(xⱼ) − x_y, or Σ_c q_c (ln Σⱼ exp(xⱼ) − x_c) for a distribution q.

    The options from `z_loss` to `poly_epsilon` can be combined: of the logits cap · tanh(x / cap) / τ it is
    (1 − ε) w (−(1 − p)^γ ln p + ε₁ (1 − p)^(γ + 1)) + smoothing + ζ (ln Σⱼ exp(xⱼ))².

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C classes in each step, of float16, bfloat16, float32 or float64.
    targets : (T,) or (N, T) integers, or floats of the shape of `logits`; lists where `logits` is one
        The class of each step; or a distribution over the classes.
    scores : {"logits", "log_probs", "probs"}
        What `logits` holds. Log-probabilities and probabilities are taken as they are, never normalised again, and the
        gradient is with respect to them.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read.
    mask : (N, T) booleans, optional
        The valid steps; NaN or an impossible target elsewhere changes nothing, and the gradient there is exactly 0.
    weights : (N, T) floats, optional
        A factor for each step. A step of weight 0 is not valid, as if `mask` left it out.
    class_weights : (C,) floats, optional
        A factor for each class.
    ignore_index : int
        Steps with this target are not valid. Targets that are distributions have none: 0 or more is an error then.
    label_smoothing : float
        ε in [0, 1]: targets become (1 − ε) q + ε / C.
    label_smoothing_over : {"all", "others", "finite"}
        Which classes share ε evenly: all of them, as in torch; all but the target, which has 1 − ε, as in fairseq [1]_;
        or those whose logit is above −inf, for vocabularies that are masked with −inf (the others then cost nothing,
        where "all" gives inf as torch does).
    z_loss : float
        ζ ≥ 0: adds ζ (ln Σⱼ exp(xⱼ))² to each step [2]_; it is not multiplied by class weights.
    softcap : float, optional
        Caps the logits x at cap · tanh(x / cap), as Gemma 2 does [3]_; −inf becomes −cap.
    temperature : float
        τ > 0: the logits are divided by it, after they are capped. Like `softcap` it must be a normal number of the
        type that is computed with: from 1.2e-38 to 3.4e38, or for float64 from 2.3e-308.
    focal_gamma : float
        γ ≥ 0 of the focal loss [4]_: −(1 − p)^γ ln p for the target's −ln p. Goes with targets that are classes.
    poly_epsilon : float
        ε₁ of PolyLoss [5]_: adds ε₁ (1 − p)^(γ + 1) to the target's term. Goes with targets that are classes.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        Σ w ℓ / Σ w over valid steps, w the weight times the class weight of the target (for distributions the weight
        alone); every step; a sum for each sequence; the same over its valid steps; one sum; the same over N.
    normalizer : float, optional
        Makes "mean" and "sum" Σ w ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean" (NaN where no step is valid), "sum" and "batch_mean"; otherwise float32 (float64 for float64
        logits): (N,), or (N, T) (a list for a list).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it, as in
        ``targets[3, 7] is 32, which is not a class in 0..32``.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> logits = np.log([[[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]]])
    >>> round(seqloss_rs.cross_entropy_loss(logits, [[0, 1]]), 6)
    0.524911
    >>> seqloss_rs.cross_entropy_loss(logits, [[0, -100]], reduction="none").round(6)
    array([[0.356675, 0.      ]])

    References
    ----------
    ``torch.nn.functional.cross_entropy`` (PyTorch 2.13): the same numbers for all options that it has, except that a
    class with target 0 and probability 0 counts 0 here, not NaN.

    .. [1] ``label_smoothed_nll_loss`` (fairseq 0.12).
    .. [2] Chowdhery et al., 2022 (PaLM), https://arxiv.org/abs/2204.02311.
    .. [3] Gemma Team, 2024, https://arxiv.org/abs/2408.00118.
    .. [4] Lin et al., 2017, https://arxiv.org/abs/1708.02002.
    .. [5] Leng et al., 2022, https://arxiv.org/abs/2204.12511.
    """
    return _native.cross_entropy_loss(
        None,
        logits,
        targets,
        scores,
        lengths,
        mask,
        weights,
        class_weights,
        ignore_index,
        label_smoothing,
        label_smoothing_over,
        z_loss,
        softcap,
        temperature,
        focal_gamma,
        poly_epsilon,
        reduction,
        normalizer,
    )


def ctc_loss(
    logits: Floats,
    targets: Integers,
    input_lengths: Lengths | None = None,
    target_lengths: Lengths | None = None,
    *,
    blank: int = 0,
    scores: Literal["logits", "log_probs"] = "logits",
    layout: Layout = "NTC",
    zero_infinity: bool = False,
    merge_repeated: bool = True,
    temperature: float = 1.0,
    log_priors: Floats | None = None,
    prior_weight: float = 1.0,
    delay_penalty: float = 0.0,
    star: Star | Sequence[Star] | None = None,
    star_penalty: float = 0.0,
    entropy_weight: float = 0.0,
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
    consistency_with: Floats | None = None,
    consistency_weight: float = 0.2,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Connectionist temporal classification: minus the log-probability of the target, over all its alignments [1]_.

    The options from `merge_repeated` to `consistency_weight` are variants, which can be combined:
    (1 − ε) focal(ℓ) − β H + ε Σ KL(u ‖ p) + α Σ KL(p′ ‖ p).

    Parameters
    ----------
    logits : (T, C) or (N, T, C) array, or list of N arrays (Tₙ, C)
        Scores of C classes, the blank among them, in each of T frames; of float16, bfloat16, float32 or float64.
    targets : (L,) or (N, L) integers, a list of N arrays, or (ΣL,) concatenated with `target_lengths`
        The labels of each sequence.
    input_lengths : (N,) integers, optional
        The valid frames of each sequence; what lies beyond is never read.
    target_lengths : (N,) integers, optional
        The labels of each sequence.
    blank : int
        The class of the blank.
    scores : {"logits", "log_probs"}
        What `logits` holds. Log-probabilities are taken as they are, never normalised again, and those of classes that
        are not in the target are not looked at; the gradient with respect to them is minus the posterior (where
        ``torch.nn.functional.ctc_loss`` returns exp(x) − posterior).
    layout : {"NTC", "TNC"}
        "TNC" for time-major arrays (T, N, C), which are read in place.
    zero_infinity : bool
        Makes the loss of sequences without any alignment 0 instead of inf; their gradient is 0 in both cases.
    merge_repeated : bool
        False: a label lasts one frame and equal labels need no blank between them, so that paths give the target when
        blanks are dropped ("selfless" CTC, [2]_).
    temperature : float
        τ, from 1e-6 to 1e6: the softmax is that of logits / τ. Goes with ``scores="logits"``.
    log_priors : (C,) floats, optional
        Logarithms of the priors of the classes. Each frame of a path has p(c) / prior(c)^`prior_weight` for p(c), which
        makes alignments less peaky [3]_; the loss may then be negative. The gradient is p − γ as before.
    prior_weight : float
        The weight of `log_priors`; no weighted prior may be beyond ±500.
    delay_penalty : float
        λ: paths are multiplied by exp(−λ Σⱼ (tⱼ − (T−1)/2)), tⱼ the frame in which label j begins: late ones count less
        if λ > 0 [4]_. The loss may be negative.
    star : {"before", "between", "after"} or several of them, optional
        Where any class may be emitted, for targets that leave something out: before the first label, between labels,
        after the last [5]_. There a frame has q + w (1 − q) for the probability q of the blank. Goes with
        ``scores="logits"``; the loss may be negative, because a path may be counted in several ways.
    star_penalty : float
        −ln w, from 0 to 500.
    entropy_weight : float
        β: ℓ − β H, with H the entropy (in nats) of the posterior of paths, against peaky distributions [6]_. One
        frame and state at a time: 40 to 120 times slower, and the gradient keeps 24 bytes for each of T (2 L + 1)
        states.
    focal_gamma : float
        γ from 0 to 1000: (1 − exp(−ℓ))^γ ℓ for ℓ [7]_, and 0 for ℓ ≤ 0.
    label_smoothing : float
        ε in [0, 1): (1 − ε) ℓ + ε Σₜ KL(u ‖ pₜ), with u uniform over the C classes [8]_.
    consistency_with : like `logits`, optional
        Another view of the same sequences (in the form and layout of `logits`), for CR-CTC [9]_:
        `consistency_weight` Σₜ KL(p′ₜ ‖ pₜ) is added, where p′, the probabilities of the other view, is a constant.
        With both views in one batch, each beside the other, half the sum is the loss of the paper with its gradient.
    consistency_weight : float
        The weight of the consistency term, at least 0.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        The mean over N of each loss over its target length (at least 1); the loss of each sequence (both "none" and
        "sequence"); the same over its target length; one sum; the same over N.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean", "sum" and "batch_mean"; otherwise (N,) float32 (float64 for float64 logits).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; a label that is the blank, negative or not below C, and a length out of range,
        are named with their index before anything is computed.

    Examples
    --------
    Of the four paths of two frames over {blank, a}, three give "a":

    >>> import numpy as np, seqloss_rs
    >>> round(seqloss_rs.ctc_loss(np.zeros((1, 2, 2)), [[1]]), 6)  # −ln ¾
    0.287682
    >>> seqloss_rs.ctc_loss(np.zeros((1, 2, 2)), [[1, 1]], reduction="none")
    array([inf])

    CR-CTC of two views of two sequences:

    >>> one, other = np.random.default_rng(0).normal(size=(2, 2, 20, 5))
    >>> views, swapped = np.concatenate([one, other]), np.concatenate([other, one])
    >>> loss = seqloss_rs.ctc_loss(views, [[1, 2], [3, 3]] * 2, consistency_with=swapped, reduction="sum") / 2

    References
    ----------
    .. [1] Graves et al., 2006, https://doi.org/10.1145/1143844.1143891; ``torch.nn.functional.ctc_loss`` (PyTorch
       2.13).
    .. [2] Laptev et al., 2021, https://arxiv.org/abs/2110.03098.
    .. [3] Huang et al., 2024, https://arxiv.org/abs/2406.02560.
    .. [4] Kang et al., 2022, https://arxiv.org/abs/2211.00490; ``k2.ctc_loss``.
    .. [5] Cai et al., 2022 (W-CTC), https://openreview.net/forum?id=0RqDp8FCW5Z.
    .. [6] Liu et al., 2018 (EnCTC),
       https://papers.nips.cc/paper/2018/hash/e44fea3bec53bcea3b7513ccef5857ac-Abstract.html.
    .. [7] Feng et al., 2019, https://doi.org/10.1155/2019/9345861, with its α at 1.
    .. [8] Kim et al., 2018, https://arxiv.org/abs/1711.02212.
    .. [9] Yao et al., 2025, https://arxiv.org/abs/2410.05101.
    """
    return _native.ctc_loss(
        None,
        logits,
        targets,
        input_lengths,
        target_lengths,
        blank,
        scores,
        layout,
        zero_infinity,
        merge_repeated,
        temperature,
        log_priors,
        prior_weight,
        delay_penalty,
        star,
        star_penalty,
        entropy_weight,
        focal_gamma,
        label_smoothing,
        consistency_with,
        consistency_weight,
        reduction,
        normalizer,
    )


def reinforce_loss(
    logits: Floats,
    actions: Integers | None,
    rewards: Floats,
    *,
    baseline: Baseline | float | Floats | None = None,
    scale: Scale | None = None,
    scale_epsilon: float = 1e-4,
    discount: float | None = None,
    whiten: bool = False,
    entropy: float = 0.0,
    temperature: float = 1.0,
    scores: Literal["logits", "log_probs"] = "logits",
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """REINFORCE: ℓ = −A log π(action) − β H for each step, with the advantage A = (reward − baseline) / (σ + ε).

    A group axis K may follow N everywhere: K samples for each of N prompts.

    ==========================  =======================================================================================
    known as                    here
    ==========================  =======================================================================================
    plain, with a constant      ``baseline=None``, a number
    with a moving average       ``baseline=average.value`` of a :class:`MovingAverage`
    self-critical, ReMax        ``baseline=rewards_of_greedy_decoding``, (N,), also where there are groups
    RLOO                        ``baseline="leave_one_out"``
    Dr. GRPO                    ``baseline="group_mean"``
    GRPO                        ``baseline="group_mean", scale="group"``
    OPO                         ``baseline="length_weighted"``
    REINFORCE++                 ``whiten=True``
    ==========================  =======================================================================================

    Parameters
    ----------
    logits : (T, C), (N, T, C) or (N, K, T, C) array, or list of N arrays
        Scores of C actions in each step, of float16, bfloat16, float32 or float64. With ``actions=None`` and
        ``scores="log_probs"``: the log-probability of each action taken, without the axis C.
    actions : (T,), (N, T) or (N, K, T) integers, or list of N arrays, or None
        The action of each step.
    rewards : floats, (N,) or (N, T); with groups (N, K) or (N, K, T)
        A reward for each sequence, which every step of it gets, or one for each step. NaN is no reward: it is in no
        mean and no deviation, and has the advantage 0. Its steps are still valid: they count in a mean, and their
        entropy counts; mask them where they should not.
    baseline : None, float, floats like `rewards`, "batch_mean", "group_mean", "leave_one_out" or "length_weighted"
        What is subtracted from the reward: a number; one for each sequence, step or group; the mean over the batch;
        over the group (without groups, the batch); over the others of the group; over the group with the valid steps of
        each sequence for its weight. With rewards of steps, means are taken step by step over the sequences that have
        the step. A sequence that is alone has advantage 0 wherever a mean of its group is subtracted.
    scale : {"group", "batch"}, optional
        Divides by the deviation of the rewards of the group, or of the batch, over n − 1; step by step for rewards of
        steps. What has no deviation, because the rewards are equal or one is alone, is not divided.
    scale_epsilon : float
        ε ≥ 0, added to that deviation: 1e-4 as in TRL; verl has 1e-6.
    discount : float, optional
        γ in [0, 1]: rewards of steps become rewards to go, Gₜ = rₜ + γ Gₜ₊₁. Masked steps are no actions: G passes over
        them, whereas verl's begins anew before a masked step. A reward of NaN adds nothing; behind the last reward
        there is none to go.
    whiten : bool
        In the end makes the advantages of all valid steps with a reward (A − mean) / √(variance + 1e-8), as
        :func:`whiten` does; so long sequences weigh more, as in verl. For one advantage a sequence, whiten them first
        and pass them as rewards.
    entropy : float
        β, the coefficient of the bonus: adds −β H to each step, the entropy of its distribution in nats, in the same
        pass over the logits, so that β > 0 makes the policy more random. (In :func:`policy_gradient_logits`, whose
        `entropy` is the derivative of the loss with respect to H, the same is −β.) Goes with ``scores="logits"``.
    temperature : float
        τ > 0: the policy is the softmax of logits / τ. Goes with ``scores="logits"``.
    scores : {"logits", "log_probs"}
        What `logits` holds; log-probabilities are taken as they are.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read.
    mask : (N, T) booleans, optional
        The valid steps.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        The mean over valid steps; every step; a sum for each sequence; the same over its valid steps; one sum; the same
        over the number of sequences.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean", "sum" and "batch_mean"; otherwise float32 (float64 for float64 logits): (N,) or (N, K), or
        the shape of `actions`.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> logits = np.log([[[0.5, 0.5]], [[0.25, 0.75]]])
    >>> seqloss_rs.reinforce_loss(logits, [[0], [0]], [1.0, 3.0], baseline="batch_mean", reduction="none").round(6)
    array([[-0.693147],
           [ 1.386294]])
    >>> seqloss_rs.reinforce_loss(logits, [[0], [0]], [1.0, np.nan], entropy=1.0, reduction="none").round(6)
    array([[ 0.      ],
           [-0.562335]])

    References
    ----------
    Williams, 1992, https://doi.org/10.1007/BF00992696; leave-one-out: Kool et al., 2019,
    https://openreview.net/forum?id=r1lgTGL5DE; length-weighted: Hao et al., 2025, https://arxiv.org/abs/2505.23585; the
    others are those of :func:`group_advantages`.
    """
    return _native.reinforce_loss(
        None,
        logits,
        actions,
        rewards,
        baseline,
        scale,
        scale_epsilon,
        discount,
        whiten,
        entropy,
        temperature,
        scores,
        lengths,
        mask,
        reduction,
        normalizer,
    )
