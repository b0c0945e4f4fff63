"""The losses of policies on log-probabilities: PPO and its family, the critic, preferences, minimum risk.

They take log-probabilities of tokens, as :func:`token_log_probs` returns them, and their gradient is what
:func:`policy_gradient_logits` takes back to the logits. What trainers disagree about is an option, and its default is
told. Advantages come from :mod:`seqloss_rs.advantages`.
"""

from typing import Literal, TypeAlias

from . import _native
from ._types import Floats, Integers, Lengths, Mask, PolicyReduction, Reduction, Value
from .advantages import Baseline, Scale

__all__ = ["dpo_loss", "grpo_loss", "mrt_loss", "mwer_loss", "ppo_loss", "value_loss"]

Objective: TypeAlias = Literal["clip", "cispo", "sapo"]
"""What becomes of a ratio and an advantage."""

Kl: TypeAlias = Literal["k1", "abs", "k2", "k3", "k1+", "k3+"]
"""How the distance from a reference is estimated."""


def ppo_loss(
    log_probs: Floats,
    old_log_probs: Floats | None,
    advantages: Floats,
    *,
    clip_low: float | None = 0.2,
    clip_high: float | None = 0.2,
    dual_clip: float | None = None,
    ratio: Literal["token", "sequence"] = "token",
    objective: Objective = "clip",
    temperature_positive: float = 1.0,
    temperature_negative: float = 1.05,
    log_ratio_limit: float | None = 20.0,
    reference_log_probs: Floats | None = None,
    kl: Kl | None = None,
    kl_coefficient: float | None = None,
    kl_log_ratio_limit: float | None = 20.0,
    kl_limit: float | None = None,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    reduction: PolicyReduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """PPO [1]_: ℓ = max(−A s, −A clip(s)) for each step, with the ratio s = π / π_old and the advantage A.

    A group axis K may follow N everywhere: K samples for each of N prompts. The gradient is with respect to
    `log_probs`; what is held at a limit has the slope 0. Where a limit is None or inf there is none. An option with a
    default of its own is not looked at where its objective or penalty is another one; what is None by default must not
    be given there.

    Parameters
    ----------
    log_probs : (T,), (N, T) or (N, K, T) array, or list of N arrays
        Log-probability of each action taken, of float16, bfloat16, float32 or float64; computed with in float64.
    old_log_probs : like `log_probs`, or None
        The same under the policy that took the actions; None where it is the same policy, whose ratio is 1.
    advantages : floats, (N,) or (N, T); with groups (N, K) or (N, K, T)
        One for each sequence, which every step of it gets, or one for each step.
    clip_low, clip_high : float, optional
        The ratio is clipped to 1 − `clip_low` and 1 + `clip_high`. Both are 0.2 in the paper and in the trainers, where
        TRL calls them epsilon and epsilon_high; DAPO [2]_ has 0.28 above, GSPO [3]_ 3e-4 and 4e-4. TRL's CISPO calls
        1 + `clip_high` epsilon_high, and has none below (``clip_low=1``). SAPO has no clip.
    dual_clip : float, optional
        c > 1: where A < 0 a step costs at most −A c [4]_ (3.0 in verl; the same as TRL's delta as long as that is above
        1 + `clip_high`). Goes with ``objective="clip"``.
    ratio : {"token", "sequence"}
        Of each step, or of the sequence: exp of the mean of ln π − ln π_old over its valid steps (GSPO). Each step then
        has the gradient s ∂ln π (GSPO-token), which for one advantage per sequence is that of GSPO.
    objective : {"clip", "cispo", "sapo"}
        PPO's; CISPO [5]_: −A clip(s) ln π, where clip(s) is a constant; SAPO [6]_: −A (4 / τ) σ(τ (s − 1)).
    temperature_positive, temperature_negative : float
        SAPO's τ for A > 0 and for other advantages.
    log_ratio_limit : float, optional
        ln π − ln π_old is held within ± this before the exp: 20 as in verl (10 for its GSPO) and OpenRLHF; TRL has no
        limit (None), and inf where a ratio overflows.
    reference_log_probs : like `log_probs`, optional
        Log-probabilities under the policy not to be left.
    kl : {"k1", "abs", "k2", "k3", "k1+", "k3+"}, optional
        The penalty, with r = ln π_ref − ln π: −r, |r|, ½ r², exp(r) − r − 1 [7]_; with "+" the gradient is that of k2,
        which is unbiased.
    kl_coefficient : float, optional
        β: `kl_coefficient` times the penalty is added to each step. A `kl` must have one; 0 leaves the penalty out.
    kl_log_ratio_limit : float, optional
        k3 holds r within ± this before the exp (20 as in verl); the others have no exp, and r as it is.
    kl_limit : float, optional
        The penalty is held within ± this: 10 in OpenRLHF, and in verl for k3. The gradient that a "+" asks for is not.
    lengths : (N,) integers, optional
        The valid steps of each sequence; what lies beyond is never read.
    mask : (N, T) booleans, optional
        The valid steps; NaN elsewhere changes nothing, and the gradient there is exactly 0.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean", "mean_of_means"}
        The mean over valid steps; every step; a sum for each sequence; the same over its valid steps; one sum; the same
        over the number of sequences; the mean of the means of sequences, of those that have valid steps.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer, and "mean_of_means" the sum of the means over it.

    Returns
    -------
    float or array
        A float for "mean" (NaN where no step is valid), "sum", "batch_mean" and "mean_of_means" (NaN likewise);
        otherwise float32 (float64 for float64 log-probabilities): (N,) or (N, K), or the shape of `log_probs`. The sum
        of a sequence without valid steps is 0, its mean NaN.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> old, advantages = np.log([[0.5, 0.5]]), np.array([[1.0, -1.0]])
    >>> new = np.log([[0.7, 0.25]])
    >>> seqloss_rs.ppo_loss(new, old, advantages, reduction="none").round(6)  # ratios 1.4 and 0.5
    array([[-1.2,  0.8]])
    >>> seqloss_rs.value_and_grad(seqloss_rs.ppo_loss)(new, old, advantages)[1]  # both are clipped
    array([[0., 0.]])

    References
    ----------
    Of verl's aggregations, token-mean is "mean" (with the global number of tokens for `normalizer`),
    seq-mean-token-mean "mean_of_means", and seq-mean-token-sum "sum" with the number of sequences that have valid steps
    for `normalizer` (where all have, "batch_mean"). TRL counts sequences without valid steps in the mean of means:
    ``normalizer=N``.

    .. [1] Schulman et al., 2017, https://arxiv.org/abs/1707.06347.
    .. [2] Yu et al., 2025, https://arxiv.org/abs/2503.14476.
    .. [3] Zheng et al., 2025, https://arxiv.org/abs/2507.18071.
    .. [4] Ye et al., 2020, https://arxiv.org/abs/1912.09729.
    .. [5] MiniMax, 2025, https://arxiv.org/abs/2506.13585.
    .. [6] Gao et al., 2025, https://arxiv.org/abs/2511.20347.
    .. [7] Schulman, 2020, http://joschu.net/blog/kl-approx.html.
    """
    return _native.policy_loss(
        "ppo",
        None,
        log_probs,
        old_log_probs,
        advantages,
        clip_low=clip_low,
        clip_high=clip_high,
        dual_clip=dual_clip,
        ratio=ratio,
        objective=objective,
        temperature_positive=temperature_positive,
        temperature_negative=temperature_negative,
        log_ratio_limit=log_ratio_limit,
        reference_log_probs=reference_log_probs,
        kl=kl,
        kl_coefficient=kl_coefficient,
        kl_log_ratio_limit=kl_log_ratio_limit,
        kl_limit=kl_limit,
        lengths=lengths,
        mask=mask,
        reduction=reduction,
        normalizer=normalizer,
    )


def grpo_loss(
    log_probs: Floats,
    old_log_probs: Floats | None,
    rewards: Floats,
    *,
    baseline: Baseline | float | Floats | None = "group_mean",
    scale: Scale | None = "group",
    scale_epsilon: float = 1e-4,
    clip_low: float | None = 0.2,
    clip_high: float | None = 0.2,
    dual_clip: float | None = None,
    ratio: Literal["token", "sequence"] = "token",
    objective: Objective = "clip",
    temperature_positive: float = 1.0,
    temperature_negative: float = 1.05,
    log_ratio_limit: float | None = 20.0,
    reference_log_probs: Floats | None = None,
    kl: Kl | None = None,
    kl_coefficient: float | None = None,
    kl_log_ratio_limit: float | None = 20.0,
    kl_limit: float | None = None,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    reduction: PolicyReduction = "mean_of_means",
    normalizer: float | None = None,
) -> Value:
    """GRPO [1]_: :func:`ppo_loss` with advantages within groups, (r − mean) / (σ + ε).

    ==========  =====================================================================================================
    trainers'   here
    ==========  =====================================================================================================
    grpo        ``reduction="mean_of_means"``, the default: the paper's. TRL counts sequences without valid steps in the
                mean: ``normalizer=N * K``
    bnpo        ``reduction="mean"``: over the tokens of the batch (of none NaN, and 0 in TRL)
    dapo        ``reduction="mean", normalizer=tokens``: over those of all devices and accumulated batches [2]_
    dr_grpo     ``reduction="sum", normalizer=N * K * max_length, scale=None`` [3]_
    luspo       ``reduction="batch_mean", ratio="sequence"``: each sequence times its length [4]_
    ==========  =====================================================================================================

    Parameters
    ----------
    log_probs : (N, K, T) or (N · K, T) array, or list of N arrays (K, T) or of N · K arrays (T,)
        Log-probability of each action taken, of K samples for each of N prompts.
    old_log_probs : like `log_probs`, or None
        As in :func:`ppo_loss`.
    rewards : (N, K) floats
        One for each sequence, a row for each group, also where the sequences have no axis K. Trainers hand all rewards
        over as one axis: ``rewards.reshape(-1, K)``; ``rewards[None]`` makes them one group. (One axis will do where
        neither baseline nor scale is that of groups.) NaN is no reward: such a sequence has the advantage 0, and the
        others do not see it.
    baseline, scale, scale_epsilon
        As in :func:`group_advantages`; the lengths of a length-weighted baseline are the valid steps. What TRL calls
        epsilon is `clip_low`.
    clip_low, clip_high, dual_clip, ratio, objective, temperature_positive, temperature_negative, log_ratio_limit
        As in :func:`ppo_loss`.
    reference_log_probs, kl, kl_coefficient, kl_log_ratio_limit, kl_limit
        As in :func:`ppo_loss`. The paper has k3 with β = 0.04; TRL's default is β = 0, verl's 0.001.
    lengths, mask, reduction, normalizer
        As in :func:`ppo_loss`.

    Returns
    -------
    float or array
        As in :func:`ppo_loss`.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> log_probs = np.log([[[0.5, 0.5], [0.25, 0.25]]])
    >>> value, grad = seqloss_rs.value_and_grad(seqloss_rs.grpo_loss)(log_probs, None, [[1.0, 0.0]], scale=None)
    >>> grad
    array([[[-0.125, -0.125],
            [ 0.125,  0.125]]])

    References
    ----------
    .. [1] Shao et al., 2024, https://arxiv.org/abs/2402.03300.
    .. [2] Yu et al., 2025, https://arxiv.org/abs/2503.14476.
    .. [3] Liu et al., 2025, https://arxiv.org/abs/2503.20783.
    .. [4] Liu et al., 2026, https://arxiv.org/abs/2602.05261; ``GRPOTrainer`` of TRL.
    """
    return _native.policy_loss(
        "grpo",
        None,
        log_probs,
        old_log_probs,
        rewards,
        baseline=baseline,
        scale=scale,
        scale_epsilon=scale_epsilon,
        clip_low=clip_low,
        clip_high=clip_high,
        dual_clip=dual_clip,
        ratio=ratio,
        objective=objective,
        temperature_positive=temperature_positive,
        temperature_negative=temperature_negative,
        log_ratio_limit=log_ratio_limit,
        reference_log_probs=reference_log_probs,
        kl=kl,
        kl_coefficient=kl_coefficient,
        kl_log_ratio_limit=kl_log_ratio_limit,
        kl_limit=kl_limit,
        lengths=lengths,
        mask=mask,
        reduction=reduction,
        normalizer=normalizer,
    )


def value_loss(
    values: Floats,
    returns: Floats,
    *,
    old_values: Floats | None = None,
    clip: float | None = 0.2,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
    reduction: PolicyReduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Loss of a critic: ℓ = ½ (V − R)²; with old values the larger of that and the same of V held near them.

    Parameters
    ----------
    values : (T,), (N, T) or (N, K, T) array, or list of N arrays
        What the critic says of each step.
    returns : like `values`
        What came, as :func:`gae` returns it.
    old_values : like `values`, optional
        What the critic said when the actions were taken.
    clip : float, optional
        How far from the old values V counts (0.2 in TRL and OpenRLHF, 0.5 in verl); None or inf for no limit. Without
        `old_values` there is nothing to clip.
    lengths, mask, reduction, normalizer
        As in :func:`ppo_loss`.

    Returns
    -------
    float or array
        As in :func:`ppo_loss`.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> values, returns = np.array([1.0, 0.5]), np.array([2.0, 2.0])
    >>> seqloss_rs.value_loss(values, returns, old_values=np.array([0.5, 0.5]), reduction="none")
    array([0.845, 1.125])

    References
    ----------
    Schulman et al., 2016, https://arxiv.org/abs/1506.02438; the clip is that of OpenAI's baselines (``ppo2``).
    """
    return _native.policy_loss(
        "value",
        None,
        values,
        returns,
        old_values=old_values,
        clip=clip,
        lengths=lengths,
        mask=mask,
        reduction=reduction,
        normalizer=normalizer,
    )


def dpo_loss(
    log_probs: Floats,
    reference_log_probs: Floats | None,
    *,
    beta: float = 0.1,
    objective: Literal["dpo", "ipo", "hinge"] = "dpo",
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """DPO [1]_: ℓ = −ln σ(β h), with the margin h = (x₁ − r₁) − (x₂ − r₂) of a chosen answer over a rejected one.

    Parameters
    ----------
    log_probs : (N, 2) or (2,) array
        Log-probability of the chosen answer and of the rejected one: the sums over their tokens (their means for IPO,
        as TRL has it), of float16, bfloat16, float32 or float64.
    reference_log_probs : like `log_probs`, or None
        The same under the reference; None for no reference.
    beta : float
        β > 0.
    objective : {"dpo", "ipo", "hinge"}
        The logistic loss; IPO [2]_: (h − 1 / 2β)²; SLiC's hinge [3]_: max(0, 1 − β h).
    label_smoothing : float
        ε in [0, 1]: −(1 − ε) ln σ(β h) − ε ln σ(−β h), conservative DPO. Goes with ``objective="dpo"``.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        The mean over pairs, which are the terms; the loss of each ("none" and both of sequences); their sum.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean" (NaN for no pairs), "sum" and "batch_mean"; otherwise (N,) float32 (float64 for float64).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> value, grad = seqloss_rs.value_and_grad(seqloss_rs.dpo_loss)(np.array([[-3.0, -3.0]]), None)
    >>> round(value, 6), grad
    (0.693147, array([[-0.05,  0.05]]))

    References
    ----------
    .. [1] Rafailov et al., 2023, https://arxiv.org/abs/2305.18290; ``DPOTrainer`` of TRL.
    .. [2] Azar et al., 2023, https://arxiv.org/abs/2310.12036.
    .. [3] Zhao et al., 2023, https://arxiv.org/abs/2305.10425.
    """
    return _native.policy_loss(
        "dpo",
        None,
        log_probs,
        reference_log_probs,
        beta=beta,
        objective=objective,
        label_smoothing=label_smoothing,
        reduction=reduction,
        normalizer=normalizer,
    )


def mrt_loss(
    log_probs: Floats,
    costs: Floats,
    *,
    alpha: float = 5e-3,
    subtract_mean: bool = False,
    mask: Mask | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Minimum risk training: ℓ = Σᵢ Qᵢ Δᵢ over the K answers to a question, with Q = softmax(α log_probs).

    Parameters
    ----------
    log_probs : (N, K) or (K,) array, or list of N arrays (Kₙ,)
        Log-probability of each answer as a whole, of float16, bfloat16, float32 or float64. Answers should be distinct.
    costs : like `log_probs`
        Δ, such as 1 − BLEU.
    alpha : float
        α > 0: how sharp Q is (5e-3 in the paper).
    subtract_mean : bool
        Subtracts the mean cost of the answers from the loss; the gradient is the same.
    mask : (N, K) booleans, optional
        The answers that there are. A question without any has loss 0.
    reduction : {"mean", "none", "sequence", "sequence_mean", "sum", "batch_mean"}
        The mean over questions, which are the terms; the loss of each ("none" and both of sequences); their sum.
    normalizer : float, optional
        Makes "mean" and "sum" Σ ℓ / normalizer.

    Returns
    -------
    float or array
        A float for "mean" (NaN for no questions), "sum" and "batch_mean"; otherwise (N,) float32 (float64 for float64).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> log_probs = np.log([[0.2, 0.6]])
    >>> value, grad = seqloss_rs.value_and_grad(seqloss_rs.mrt_loss)(log_probs, [[0.0, 1.0]], alpha=1.0)
    >>> round(value, 6), grad.round(6)
    (0.75, array([[-0.1875,  0.1875]]))

    References
    ----------
    Shen et al., 2016, https://arxiv.org/abs/1512.02433.
    """
    return _native.policy_loss(
        "mrt",
        None,
        log_probs,
        costs,
        alpha=alpha,
        subtract_mean=subtract_mean,
        mask=mask,
        reduction=reduction,
        normalizer=normalizer,
    )


def mwer_loss(
    log_probs: Floats,
    hypotheses: Integers | list[str] | list[list[str]] | None = None,
    references: Integers | list[str] | None = None,
    *,
    errors: Floats | None = None,
    alpha: float = 1.0,
    subtract_mean: bool = True,
    lengths: Lengths | None = None,
    reference_lengths: Lengths | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
    mask: Mask | None = None,
    reduction: Reduction = "mean",
    normalizer: float | None = None,
) -> Value:
    """Minimum word error rate: ℓ = Σᵢ P̂ᵢ (Wᵢ − mean W) over an n-best list, with P̂ = softmax(log_probs).

    Parameters
    ----------
    log_probs : (N, K) or (K,) array, or list of N arrays (Kₙ,)
        Log-probability of each of the K hypotheses as a whole, of float16, bfloat16, float32 or float64.
    hypotheses : (N, K, T) token ids, or a list of N lists of texts (strings or ids), or of their N · K texts
        What the errors W are counted of: substitutions, deletions and insertions of words, as :class:`ErrorRate` counts
        them. For (K,) log-probabilities: (K, T) ids, or K texts.
    references : (N, R) token ids, or a list of N texts
        What is right, one for each n-best list (or one for each hypothesis, list after list).
    errors : like `log_probs`, optional
        W, in the place of `hypotheses` and `references`.
    alpha : float
        P̂ is the softmax of α log_probs.
    subtract_mean : bool
        Whether the mean of W is subtracted, which is a constant: the gradient is P̂ᵢ (Wᵢ − Σⱼ P̂ⱼ Wⱼ) in any case.
    lengths, reference_lengths : (N, K) and (N,) integers, optional
        How many ids of each text count; those of a list of log-probabilities one after another.
    eos_id, pad_id : int, optional
        A text ends before the first `eos_id`; `pad_id` does not count at its end.
    mask : (N, K) booleans, optional
        The hypotheses that there are; what stands in the place of others is not looked at. A list without
        any has loss 0.
    reduction, normalizer
        As in :func:`mrt_loss`.

    Returns
    -------
    float or array
        As in :func:`mrt_loss`.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> hypotheses, references = np.array([[[4, 5, 6], [4, 5, 7]]]), np.array([[4, 5, 6]])
    >>> log_probs = np.log([[0.25, 0.25]])
    >>> seqloss_rs.value_and_grad(seqloss_rs.mwer_loss)(log_probs, hypotheses, references)
    (0.0, array([[-0.25,  0.25]]))

    References
    ----------
    Prabhavalkar et al., 2018, https://arxiv.org/abs/1712.01818, who add 0.01 times the cross-entropy.
    """
    return _native.policy_loss(
        "mwer",
        None,
        log_probs,
        hypotheses,
        references,
        errors=errors,
        alpha=alpha,
        subtract_mean=subtract_mean,
        lengths=lengths,
        reference_lengths=reference_lengths,
        eos_id=eos_id,
        pad_id=pad_id,
        mask=mask,
        reduction=reduction,
        normalizer=normalizer,
    )
