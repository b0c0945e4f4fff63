"""Advantages: those of trainers, what is unbiased by enumeration, episodes with a critic."""

import itertools
import math
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import reference_policy as trainers
import seqloss_rs
from reference_policy import Array, N, differences, problem, spoiled
from seqloss_rs import grpo_loss, ppo_loss, reinforce_loss, value_and_grad, value_loss

# ---------------------------------------------------------------------------------------------------------------------
# GRPO and its advantages


@pytest.mark.parametrize("scale", ["group", "batch", None])
def test_advantages_of_trainers(scale: Any) -> None:
    rewards = np.random.default_rng(11).normal(size=(5, 4))
    own = seqloss_rs.group_advantages(rewards, scale=scale)
    np.testing.assert_allclose(own, trainers.trl_advantages(rewards, scale), rtol=1e-12)
    own = seqloss_rs.group_advantages(rewards, epsilon=1e-6)
    np.testing.assert_allclose(own, trainers.verl_grpo_advantages(rewards), rtol=1e-12)
    own = seqloss_rs.group_advantages(rewards, baseline="leave_one_out", scale=None)
    np.testing.assert_allclose(own, trainers.verl_rloo_advantages(rewards), rtol=1e-12, atol=1e-15)
    lengths = np.random.default_rng(12).integers(1, 50, (5, 4))
    own = seqloss_rs.group_advantages(rewards, baseline="length_weighted", scale=None, lengths=lengths)
    np.testing.assert_allclose(own, trainers.verl_opo_advantages(rewards, lengths), rtol=1e-12, atol=1e-15)
    own = seqloss_rs.group_advantages(rewards, baseline=rewards[:, 0], scale=None)
    np.testing.assert_array_equal(own, rewards - rewards[:, :1])
    own = seqloss_rs.group_advantages(rewards, baseline="batch_mean", scale=None)
    np.testing.assert_allclose(own, rewards - rewards.mean(), rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(seqloss_rs.group_advantages(rewards, baseline=0.5, scale=None), rewards - 0.5)


def test_equal_rewards_and_single_answers_have_the_advantage_0() -> None:
    for reward in (0.1, 1 / 3, 1e300, -7e-300):
        for count in range(1, 12):
            for baseline in ("group_mean", "leave_one_out", "batch_mean"):
                for epsilon in (0.0, 1e-4):
                    own = seqloss_rs.group_advantages(np.full((3, count), reward), baseline=baseline, epsilon=epsilon)
                    np.testing.assert_array_equal(own, np.zeros((3, count)))
    alone = np.array([[1.0], [2.0]])
    np.testing.assert_array_equal(seqloss_rs.group_advantages(alone, baseline=None, scale=None), alone)


def test_nan_rewards_are_none() -> None:
    random = np.random.default_rng(13)
    rewards = random.normal(size=(4, 6))
    rewards[random.random(rewards.shape) < 0.3] = np.nan
    rewards[3] = np.nan
    there = ~np.isnan(rewards)
    for baseline in ("group_mean", "leave_one_out", "batch_mean"):
        for scale in ("group", None):
            own = seqloss_rs.group_advantages(rewards, baseline=baseline, scale=scale)
            rows = [row[keep] for row, keep in zip(rewards, there, strict=True)]
            expected = seqloss_rs.group_advantages(rows, baseline=baseline, scale=scale)
            for row, keep, other in zip(own, there, expected, strict=True):
                np.testing.assert_array_equal(row[keep], other)
                assert not np.any(row[~keep])


@pytest.mark.parametrize("baseline", ["group_mean", "leave_one_out", "length_weighted", None])
def test_grpo_is_ppo_of_its_advantages(baseline: Any) -> None:
    random = np.random.default_rng(14)
    log_probs, old = random.normal(-1, 0.3, (2, 3, 4, 5))
    lengths = random.integers(1, 6, (3, 4))
    rewards = random.normal(size=(3, 4))
    given: Any = {"lengths": lengths} if baseline == "length_weighted" else {}
    advantages = seqloss_rs.group_advantages(rewards, baseline=baseline, **given)
    own = value_and_grad(grpo_loss)(log_probs, old, rewards, baseline=baseline, lengths=lengths)
    other = value_and_grad(ppo_loss)(log_probs, old, advantages, lengths=lengths, reduction="mean_of_means")
    assert own[0] == other[0]
    np.testing.assert_array_equal(own[1], other[1])
    # Without groups, all are one.
    flat = value_and_grad(grpo_loss)(log_probs[0], old[0], rewards[0], baseline=baseline, lengths=lengths[0])
    one = value_and_grad(grpo_loss)(log_probs[:1], old[:1], rewards[:1], baseline=baseline, lengths=lengths[:1])
    assert flat[0] == one[0]
    np.testing.assert_array_equal(flat[1], one[1][0])
    # A list of groups.
    rows = value_and_grad(grpo_loss)(list(log_probs), list(old), rewards, baseline=baseline, lengths=lengths)
    assert rows[0] == own[0]
    np.testing.assert_array_equal(np.stack(rows[1]), own[1])


# ---------------------------------------------------------------------------------------------------------------------
# Unbiasedness, by enumeration of all sequences of four steps over three actions


def everything() -> tuple[Array, Array, Array, Array]:
    """Logits, all sequences, their probabilities and rewards."""
    random = np.random.default_rng(15)
    logits = random.normal(size=(4, 3))
    actions = np.array(list(itertools.product(range(3), repeat=4)))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    probabilities = np.exp(log_p[np.arange(4), actions].sum(1))
    return logits, actions, probabilities, random.normal(size=len(actions))


def true_gradient() -> Array:
    """The gradient of minus the expected reward, by central differences of its definition."""
    logits, actions, _, rewards = everything()

    def loss(x: Array) -> Any:
        log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
        return -np.exp(log_p[np.arange(4), actions].sum(1)) @ rewards

    return differences(loss, logits)


@pytest.mark.parametrize("baseline", [None, 0.7])
def test_reinforce_is_unbiased(baseline: Any) -> None:
    logits, actions, probabilities, rewards = everything()
    loss = partial(reinforce_loss, baseline=baseline, reduction="sequence")
    batch = np.broadcast_to(logits, (len(actions), 4, 3))
    gradient = value_and_grad(loss, grad_output=probabilities)(batch, actions, rewards)[1].sum(0)
    np.testing.assert_allclose(gradient, true_gradient(), rtol=1e-8, atol=1e-10)


def pairs() -> tuple[Array, Array, Array, Array]:
    logits, actions, probabilities, rewards = everything()
    own, other = (index.ravel() for index in np.meshgrid(*[np.arange(len(actions))] * 2))
    both = np.stack([own, other], 1)
    return logits, actions[both], probabilities[own] * probabilities[other], rewards[both]


@pytest.mark.parametrize(
    ("baseline", "factor"), [("leave_one_out", 1.0), ("group_mean", 0.5), ("length_weighted", 0.5)]
)
def test_baselines_of_groups_of_two(baseline: Any, factor: float) -> None:
    """Leave-one-out is unbiased; a mean with the reward in it makes (K − 1) / K of the gradient."""
    logits, actions, probabilities, rewards = pairs()
    batch = np.broadcast_to(logits, (*actions.shape[:2], 4, 3))
    weights = np.repeat(probabilities[:, None] / 2, 2, axis=1)
    loss = partial(reinforce_loss, baseline=baseline, reduction="sequence")
    gradient = value_and_grad(loss, grad_output=weights)(batch, actions, rewards)[1].sum((0, 1))
    np.testing.assert_allclose(gradient, factor * true_gradient(), rtol=1e-8, atol=1e-10)
    # The same through log-probabilities.
    log_probs = seqloss_rs.token_log_probs(batch, actions).log_probs
    surrogate = partial(grpo_loss, baseline=baseline, scale=None, reduction="sequence")
    coefficients = value_and_grad(surrogate, grad_output=weights)(log_probs, None, rewards)[1]
    gradient = seqloss_rs.policy_gradient_logits(batch, actions, coefficients).sum((0, 1))
    np.testing.assert_allclose(gradient, factor * true_gradient(), rtol=1e-8, atol=1e-10)


def test_the_mean_of_a_batch_of_two_is_biased_by_a_half() -> None:
    logits, actions, probabilities, rewards = pairs()
    batch = np.stack([logits, logits])
    loss = value_and_grad(partial(reinforce_loss, baseline="batch_mean", reduction="batch_mean"))
    gradient = sum(
        p * loss(batch, own, worth)[1].sum(0) for own, p, worth in zip(actions, probabilities, rewards, strict=True)
    )
    np.testing.assert_allclose(gradient, 0.5 * true_gradient(), rtol=1e-8, atol=1e-10)


def test_length_weighted_rewards_of_reinforce() -> None:
    random = np.random.default_rng(16)
    log_probs, rewards = -random.exponential(size=(3, 4, 6)), random.normal(size=(3, 4))
    lengths = random.integers(0, 7, (3, 4))
    lengths[2] = 0
    terms: Any = reinforce_loss(
        log_probs, None, rewards, baseline="length_weighted", scores="log_probs", lengths=lengths, reduction="none"
    )
    advantages = np.zeros((3, 4))
    advantages[:2] = trainers.verl_opo_advantages(rewards[:2], lengths[:2])
    expected = -advantages[:, :, None] * log_probs * (np.arange(6) < lengths[:, :, None])
    np.testing.assert_allclose(terms, expected, rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# Episodes with a critic


@pytest.mark.parametrize(("discount", "decay"), [(1.0, 0.95), (0.9, 1.0), (0.99, 0.5), (0.0, 0.0)])
def test_gae_of_verl(discount: float, decay: float) -> None:
    given = problem(17)
    mask = given["mask"]
    rewards, values = given["advantages"], given["old"]
    own = seqloss_rs.gae(spoiled(rewards, mask), spoiled(values, mask), discount=discount, decay=decay, mask=mask)
    expected = trainers.verl_gae(rewards, values, mask.astype(float), discount, decay)
    for one, other in zip(own, expected, strict=True):
        np.testing.assert_allclose(one, other * mask, rtol=1e-12, atol=1e-14)
    whole = seqloss_rs.gae(rewards, values, discount=discount, decay=decay, lengths=[3] * N)
    short = seqloss_rs.gae(rewards[:, :3], values[:, :3], discount=discount, decay=decay)
    for one, other in zip(whole, short, strict=True):
        np.testing.assert_array_equal(one[:, :3], other)
        assert not np.any(one[:, 3:])


@pytest.mark.parametrize("shift_mean", [True, False])
def test_whiten_of_verl(shift_mean: bool) -> None:
    given = problem(18)
    mask = given["mask"]
    own = seqloss_rs.whiten(spoiled(given["advantages"], mask), mask=mask, shift_mean=shift_mean)
    expected = trainers.verl_whiten(given["advantages"], mask.astype(float), shift_mean)
    np.testing.assert_allclose(own, expected * mask, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(seqloss_rs.whiten(np.full(3, 0.1)), np.zeros(3))
    assert np.all(np.isnan(seqloss_rs.whiten(np.array([1.0, np.nan]))))


@pytest.mark.parametrize("clip", [0.2, 0.5, math.inf])
def test_value_loss_of_verl(clip: float) -> None:
    given = problem(19)
    values, returns, old, mask = given["log_probs"], given["advantages"], given["old"], given["mask"]
    loss = partial(value_loss, old_values=spoiled(old, mask), clip=clip, mask=mask, reduction="none")
    terms, gradient = value_and_grad(loss)(spoiled(values, mask), spoiled(returns, mask))
    expected = trainers.verl_value(trainers.Numpy, values, returns, old, clip=clip)
    np.testing.assert_allclose(terms, expected * mask, rtol=1e-13)

    def total(x: Array) -> Any:
        return (trainers.verl_value(trainers.Numpy, x, returns, old, clip=clip) * mask).sum()

    np.testing.assert_allclose(gradient, differences(total, values), rtol=1e-6, atol=1e-8)
    plain = value_and_grad(partial(value_loss, reduction="none"))(values, returns)
    np.testing.assert_allclose(plain[0], 0.5 * (values - returns) ** 2, rtol=1e-14)
    np.testing.assert_array_equal(plain[1], values - returns)


# ---------------------------------------------------------------------------------------------------------------------
# What is written in Python


def test_moving_average() -> None:
    baseline = seqloss_rs.MovingAverage(decay=0.9)
    assert baseline.value == 0
    baseline.update([np.nan])
    assert baseline.value == 0
    baseline.update([1.0, np.nan, 3.0])
    assert baseline.value == 2
    baseline.update(np.zeros((2, 2)))
    assert baseline.value == pytest.approx(1.8, rel=1e-15)
    with pytest.raises(ValueError, match="decay is 1"):
        seqloss_rs.MovingAverage(decay=1)


def test_mixer() -> None:
    mask = seqloss_rs.mixer_mask([4, 2, 0], 2, steps=5)
    np.testing.assert_array_equal(mask.sum(1), [2, 0, 0])
    np.testing.assert_array_equal(mask[0], [False, False, True, True, False])
    with pytest.raises(ValueError, match=re.escape("lengths has 4, which is not a length in 0..=3")):
        seqloss_rs.mixer_mask([4], 0, steps=3)
    with pytest.raises(ValueError, match="cross_entropy_steps is -1"):
        seqloss_rs.mixer_mask([4], -1)
