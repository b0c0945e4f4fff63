"""The losses of policies as trainers write them: TRL, verl and OpenRLHF, with their own constants.

A formula is written once, over the few operations of :class:`Numpy`; with torch in its place, its gradient is that of
autograd, through the same detached and clamped parts as in the trainer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
N, T = 6, 9


class Numpy:
    """What formulas are made of."""

    exp = staticmethod(np.exp)
    maximum = staticmethod(np.maximum)
    minimum = staticmethod(np.minimum)
    where = staticmethod(np.where)

    @staticmethod
    def clamp(x: Any, low: float | None, high: float | None) -> Any:
        return np.clip(x, low, high)

    @staticmethod
    def detach(x: Any) -> Any:
        return x

    @staticmethod
    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    @staticmethod
    def logsigmoid(x: Any) -> Any:
        return -np.logaddexp(0, -x)


# ---------------------------------------------------------------------------------------------------------------------
# Terms of steps


def verl_ppo(
    xp: Any, log_probs: Any, old: Any, advantages: Any, mask: Any, *, low: float, high: float, dual: float = 3.0
) -> Any:
    """verl's compute_policy_loss_vanilla: the log-ratio within ±20, dual clip."""
    ratio = xp.exp(xp.clamp(log_probs - old, -20.0, 20.0))
    first = -advantages * ratio
    clipped = xp.maximum(first, -advantages * xp.clamp(ratio, 1 - low, 1 + high))
    return xp.where(advantages < 0, xp.minimum(-advantages * dual, clipped), clipped)


def verl_gspo(xp: Any, log_probs: Any, old: Any, advantages: Any, mask: Any, *, low: float, high: float) -> Any:
    """verl's compute_policy_loss_gspo: the mean log-ratio, at most 10, with the gradient of each token's own."""
    counts = xp.clamp(mask.sum(-1), 1, None)
    mean = ((log_probs - old) * mask).sum(-1) / counts
    log_ratio = log_probs - xp.detach(log_probs) + xp.detach(mean)[:, None]
    ratio = xp.exp(xp.clamp(log_ratio, None, 10.0))
    return xp.maximum(-advantages * ratio, -advantages * xp.clamp(ratio, 1 - low, 1 + high))


def verl_cispo(xp: Any, log_probs: Any, old: Any, advantages: Any, mask: Any, *, low: float, high: float) -> Any:
    """verl's compute_policy_loss_cispo."""
    ratio = xp.exp(xp.clamp(log_probs - old, -20.0, 20.0))
    return -xp.detach(xp.clamp(ratio, 1 - low, 1 + high)) * advantages * log_probs


def trl_terms(
    xp: Any,
    log_probs: Any,
    old: Any,
    advantages: Any,
    mask: Any,
    *,
    kind: str = "grpo",
    level: str = "token",
    low: float = 0.2,
    high: float = 0.2,
    delta: float | None = None,
    reference: Any = None,
    beta: float = 0.0,
) -> Any:
    """GRPOTrainer of TRL before the aggregation, of advantages (B, 1); nothing is clamped before an exp."""
    log_ratio = log_probs - old
    if level == "sequence":
        log_ratio = ((log_ratio * mask).sum(-1) / xp.clamp(mask.sum(-1), 1.0, None))[:, None]
    ratio = xp.exp(log_ratio)
    if kind == "cispo":
        terms = -xp.detach(xp.clamp(ratio, None, high)) * advantages * log_probs
    elif kind == "sapo":
        gates = [xp.sigmoid(tau * (ratio - 1)) * 4 / tau for tau in (1.0, 1.05)]
        terms = -xp.where(advantages > 0, gates[0], gates[1]) * advantages
    else:
        first = ratio if delta is None else xp.clamp(ratio, None, delta)
        terms = -xp.minimum(first * advantages, xp.clamp(ratio, 1 - low, 1 + high) * advantages)
    if beta:
        terms = terms + beta * (xp.exp(reference - log_probs) - (reference - log_probs) - 1)
    return terms


def openrlhf_ppo(
    xp: Any, log_probs: Any, old: Any, advantages: Any, mask: Any, *, low: float, high: float, dual: float
) -> Any:
    """PolicyLoss of OpenRLHF with dual clip."""
    ratio = xp.exp(xp.clamp(log_probs - old, -20.0, 20.0))
    first, second = ratio * advantages, xp.clamp(ratio, 1 - low, 1 + high) * advantages
    least = xp.minimum(first, second)
    return -xp.where(advantages < 0, xp.maximum(least, dual * advantages), least)


def verl_kl(xp: Any, log_probs: Any, reference: Any, kind: str) -> Any:
    """verl's kl_penalty."""
    if kind == "abs":
        x = log_probs - reference
        forward = xp.where(x < 0, -x, x)
    elif kind in ("k1", "k1+"):
        forward = log_probs - reference
    elif kind == "k2":
        forward = 0.5 * (log_probs - reference) ** 2
    else:
        r = xp.clamp(reference - log_probs, -20.0, 20.0)
        forward = xp.clamp(xp.exp(r) - r - 1, -10.0, 10.0)
    if not kind.endswith("+"):
        return forward
    backward = 0.5 * (log_probs - reference) ** 2
    return backward - xp.detach(backward) + xp.detach(forward)


def openrlhf_kl(xp: Any, log_probs: Any, reference: Any, kind: str) -> Any:
    """compute_approx_kl of OpenRLHF."""
    x = log_probs - reference
    k = {"k1": x, "k2": 0.5 * x**2, "k3": xp.exp(-x) + x - 1}[kind]
    return xp.clamp(k, -10.0, 10.0)


def verl_value(xp: Any, values: Any, returns: Any, old: Any, *, clip: float) -> Any:
    """compute_value_loss of verl, before the aggregation."""
    held = xp.minimum(xp.maximum(values, old - clip), old + clip)
    return 0.5 * xp.maximum((values - returns) ** 2, (held - returns) ** 2)


# ---------------------------------------------------------------------------------------------------------------------
# Aggregations


def aggregate(kind: str, terms: Any, mask: Any, *, tokens: float = 1.0, longest: int = 1) -> Any:
    """TRL's loss types, and verl's modes."""
    counts = mask.sum(-1)
    sums = (terms * mask).sum(-1)
    if kind == "grpo":
        return (sums / counts.clip(1.0)).mean()
    if kind == "bnpo":
        return sums.sum() / mask.sum().clip(1.0)
    if kind == "dapo":
        return sums.sum() / tokens
    if kind == "dr_grpo":
        return sums.sum() / (len(mask) * longest)
    if kind == "token-mean":
        return sums.sum() / (mask.sum() + 1e-8)
    there = counts > 0
    if kind == "seq-mean-token-sum":
        return sums[there].sum() / there.sum()
    assert kind == "seq-mean-token-mean"
    return (sums / (counts + 1e-8))[there].sum() / there.sum()


def luspo(terms: Any, mask: Any) -> Any:
    """TRL's luspo: terms are (B, 1), one for each sequence."""
    return (terms * mask.sum(1)[:, None]).mean()


# ---------------------------------------------------------------------------------------------------------------------
# Advantages


def trl_advantages(rewards: Any, scale: str | None) -> Any:
    """TRL: deviations with Bessel's correction, ε = 1e-4."""
    mean = rewards.mean(1, keepdims=True)
    if scale is None:
        return rewards - mean
    deviation = rewards.std(1, ddof=1, keepdims=True) if scale == "group" else rewards.std(ddof=1)
    return (rewards - mean) / (deviation + 1e-4)


def verl_grpo_advantages(rewards: Any) -> Any:
    """verl's compute_grpo_outcome_advantage, one sample at a time; ε = 1e-6."""
    result = np.zeros(rewards.shape)
    for group, row in enumerate(rewards):
        mean, deviation = (0.0, 1.0) if len(row) == 1 else (row.mean(), row.std(ddof=1))
        for index, reward in enumerate(row):
            result[group, index] = (reward - mean) / (deviation + 1e-6)
    return result


def verl_rloo_advantages(rewards: Any) -> Any:
    """verl's compute_rloo_outcome_advantage."""
    count = rewards.shape[1]
    if count == 1:
        return rewards
    return rewards * count / (count - 1) - rewards.mean(1, keepdims=True) * count / (count - 1)


def verl_opo_advantages(rewards: Any, lengths: Any) -> Any:
    """verl's compute_opo_outcome_advantage."""
    return rewards - (lengths * rewards).sum(1, keepdims=True) / lengths.sum(1, keepdims=True)


def verl_gae(rewards: Any, values: Any, mask: Any, gamma: float, lam: float) -> tuple[Any, Any]:
    """verl's compute_gae_advantage_return, before it whitens."""
    following, last = np.zeros(len(rewards)), np.zeros(len(rewards))
    reversed_advantages = []
    for step in reversed(range(rewards.shape[1])):
        own = mask[:, step]
        delta = rewards[:, step] + gamma * following - values[:, step]
        now = delta + gamma * lam * last
        following = values[:, step] * own + (1 - own) * following
        last = now * own + (1 - own) * last
        reversed_advantages.append(last)
    advantages = np.stack(reversed_advantages[::-1], 1)
    return advantages, advantages + values


def verl_whiten(values: Any, mask: Any, shift_mean: bool) -> Any:
    """masked_whiten of verl (and TRL, and OpenRLHF)."""
    count = mask.sum()
    mean = (values * mask).sum() / count
    variance = ((values - mean) ** 2 * mask).sum() / count * count / (count - 1)
    whitened = (values - mean) / np.sqrt(variance + 1e-8)
    return whitened if shift_mean else whitened + mean


# ---------------------------------------------------------------------------------------------------------------------
# Sets of answers


def trl_dpo(xp: Any, log_probs: Any, reference: Any, *, kind: str, beta: float, smoothing: float) -> Any:
    """DPOTrainer.dpo_loss of TRL."""
    logits = (log_probs[:, 0] - log_probs[:, 1]) - (reference[:, 0] - reference[:, 1])
    if kind == "dpo":
        positive, negative = xp.logsigmoid(beta * logits), xp.logsigmoid(-beta * logits)
        return -positive * (1 - smoothing) - negative * smoothing
    if kind == "ipo":
        return (logits - 1 / (2 * beta)) ** 2
    return xp.clamp(1 - beta * logits, 0.0, None)


def minimum_risk(xp: Any, log_probs: Any, costs: Any, alpha: float) -> Any:
    """Σ Q Δ with Q ∝ P^α, from its definition."""
    weights = xp.exp(alpha * log_probs)
    return (weights * costs).sum(-1) / weights.sum(-1)


def edit_distance(hypothesis: Any, reference: Any) -> int:
    """Levenshtein's, from its recurrence."""
    row = list(range(len(reference) + 1))
    for i, own in enumerate(hypothesis, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(reference, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (own != other))
    return row[-1]


# ---------------------------------------------------------------------------------------------------------------------
# What is compared


def problem(seed: int = 0, spread: float = 0.4) -> dict[str, Array]:
    """Steps whose ratios lie on both sides of a clip, and which are masked here and there; one sequence is alone."""
    random = np.random.default_rng(seed)
    old = -random.exponential(size=(N, T))
    mask = random.random((N, T)) < 0.7
    mask[1] = False
    mask[2] = np.arange(T) == 4
    return {
        "log_probs": old + random.normal(scale=spread, size=(N, T)),
        "old": old,
        "reference": old + random.normal(scale=spread, size=(N, T)),
        "advantages": random.normal(size=(N, T)),
        "mask": mask,
    }


def spoiled(array: Array, mask: Array) -> Array:
    """The same numbers where they count, and NaN elsewhere."""
    return np.where(mask, array, np.nan)


def differences(function: Callable[[Array], Any], at: Array, step: float = 1e-4) -> Array:
    """Central differences of fourth order."""
    slope = np.zeros(at.shape)
    for place in np.ndindex(at.shape):
        sides = []
        for steps in (2, 1, -1, -2):
            moved = at.copy()
            moved[place] += steps * step
            sides.append(function(moved))
        slope[place] = (8 * (sides[1] - sides[2]) - (sides[0] - sides[3])) / (12 * step)
    return slope
