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
from cases import FLOATS, LAYOUTS
from reference_policy import Array, N, differences, problem, spoiled
from seqloss_rs import grpo_loss, ppo_loss, reinforce_loss, value_and_grad, value_loss

# ---------------------------------------------------------------------------------------------------------------------
# GRPO and its advantages


@pytest.mark.parametrize("scale", ["group", "batch", None])
def test_advantages_of_trainers(scale: Any) -> None:
    rewards = np.random.default_rng(11).normal(size=(5, 4))
    own = seqloss_rs.group_advantages(rewards, scale=scale)
    np.testing.assert_allclose(own, trainers.trl_advantages(rewards, scale), rtol=1e-12)
    own = seqloss_rs.group_advantages(rewards, scale_epsilon=1e-6)
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
                    own = seqloss_rs.group_advantages(
                        np.full((3, count), reward), baseline=baseline, scale_epsilon=epsilon
                    )
                    np.testing.assert_array_equal(own, np.zeros((3, count)))
    alone = np.array([[1.0], [2.0]])
    np.testing.assert_array_equal(seqloss_rs.group_advantages(alone, baseline=None, scale=None), alone)


def test_what_has_no_deviation_is_not_divided() -> None:
    rewards = np.array([[1.0, 1.0], [0.0, 0.0]])
    for epsilon in (0.0, 1e-4):
        own = partial(seqloss_rs.group_advantages, scale_epsilon=epsilon)
        np.testing.assert_array_equal(own(rewards, baseline=[0.5, 0.5]), rewards - 0.5)
        np.testing.assert_array_equal(own(rewards[:, :1], baseline="batch_mean"), [[0.5], [-0.5]])
        np.testing.assert_array_equal(own(rewards[:1], baseline=0.25, scale="batch"), [[0.75, 0.75]])
        # verl sets the deviation of one that is alone to 1.
        alone = np.array([[3.0], [-2.0]])
        np.testing.assert_allclose(own(alone, baseline=None), trainers.verl_grpo_advantages(alone), rtol=2e-6)
    logits, actions = np.zeros((2, 3, 4)), np.zeros((2, 3), int)
    for given in ([1.0, 1.0], np.ones((2, 3))):
        plain = value_and_grad(reinforce_loss)(logits, actions, given)
        scaled = value_and_grad(reinforce_loss)(logits, actions, given, scale="group")
        assert scaled[0] == plain[0]
        np.testing.assert_array_equal(scaled[1], plain[1])


def test_lengths_of_0_weigh_the_same_and_negative_ones_are_refused() -> None:
    own: Any = partial(seqloss_rs.group_advantages, baseline="length_weighted", scale=None)
    rewards = [np.array([3.0]), np.array([1.0, 2.0]), np.array([1.0, 2.0])]
    for advantages, expected in zip(
        own(rewards, lengths=[[0], [0, 0], [0, 5]]), ([0], [-0.5, 0.5], [-1, 0]), strict=True
    ):
        np.testing.assert_array_equal(advantages, expected)
    with pytest.raises(ValueError, match=re.escape("lengths[1, 0] is -1, which is not a length")):
        own(np.zeros((2, 2)), lengths=[[0, 1], [-1, 2]])


def test_a_batch_that_does_not_say_what_is_a_group_is_refused() -> None:
    random = np.random.default_rng(30)
    log_probs, rewards = -random.exponential(size=(6, 5)), random.normal(size=6)
    message = re.escape(
        "rewards has shape (6,), expected (N, K), a row for each group: rewards.reshape(-1, group_size), "
        "or rewards[None] for one group"
    )
    options: list[Any] = [{}, {"baseline": "leave_one_out", "scale": None}, {"baseline": None, "scale": "group"}]
    for given in (log_probs, list(log_probs)):
        for of_groups in options:
            with pytest.raises(ValueError, match=message):
                grpo_loss(given, None, rewards, **of_groups)
            with pytest.raises(ValueError, match=message):
                seqloss_rs.group_advantages(rewards, **of_groups)
        # Where there is nothing of groups in it, one axis will do.
        for of_batch in ({"baseline": "batch_mean"}, {"baseline": 0.5}, {"baseline": rewards[::-1].copy()}):
            arguments: Any = {**of_batch, "scale": "batch"}
            own = value_and_grad(grpo_loss)(given, None, rewards, **arguments)
            advantages = seqloss_rs.group_advantages(rewards, **arguments)
            other = value_and_grad(ppo_loss)(given, None, advantages, reduction="mean_of_means")
            assert own[0] == other[0]
            np.testing.assert_array_equal(np.stack(own[1]), np.stack(other[1]))


@pytest.mark.parametrize("baseline", ["group_mean", "leave_one_out", "length_weighted", "greedy"])
def test_rewards_say_what_is_a_group_of_a_flat_batch(baseline: Any) -> None:
    random = np.random.default_rng(31)
    log_probs, old = random.normal(-1, 0.3, (2, 3, 4, 5))
    lengths, rewards = random.integers(1, 6, (3, 4)), random.normal(size=(3, 4))
    options: Any = {"baseline": random.normal(size=3) if baseline == "greedy" else baseline}
    value, gradient = value_and_grad(grpo_loss)(log_probs, old, rewards, lengths=lengths, **options)
    flat: Any = partial(value_and_grad(grpo_loss), rewards=rewards, lengths=lengths.ravel(), **options)
    both = log_probs.reshape(12, 5), old.reshape(12, 5)
    for own in (flat(*both), flat(*map(list, both))):
        assert own[0] == value
        np.testing.assert_array_equal(np.stack(own[1]), gradient.reshape(12, 5))


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


def test_none_in_a_list_is_no_reward() -> None:
    for given in ([[1.0, None, 3.0], [None, None, 2.0]], [(1.0, None, 3.0), (None, None, 2.0)]):
        expected = seqloss_rs.group_advantages(np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 2.0]]))
        np.testing.assert_array_equal(seqloss_rs.group_advantages(given), expected)
    np.testing.assert_array_equal(seqloss_rs.group_advantages([[1.0, None, 3.0]], scale=None), [[-1, 0, 1]])


def grouped(groups: Any) -> tuple[Array, Array, list[Any]]:
    """Rewards and lengths of answers to these questions, and where those to the same one stand."""
    random = np.random.default_rng(54)
    rewards, lengths = random.normal(size=len(groups)), random.integers(0, 9, len(groups))
    rewards[random.random(len(groups)) < 0.2] = np.nan
    each = [[place for place, own in enumerate(groups) if own == group] for group in dict.fromkeys(groups)]
    return rewards, lengths, each


GROUPS: Any = np.random.default_rng(55).integers(-3, 4, 30).tolist()


@pytest.mark.parametrize("scale", [None, "group", "batch"])
@pytest.mark.parametrize(
    "baseline", ["group_mean", "leave_one_out", "batch_mean", "length_weighted", None, 0.25, "array"]
)
def test_groups_by_index_are_groups_in_a_list(baseline: Any, scale: Any) -> None:
    exact, lengths, each = grouped(GROUPS)
    below = np.random.default_rng(56).normal(size=len(GROUPS))
    with_lengths = baseline == "length_weighted"
    for rewards in (exact, exact.astype(np.float32)):
        own = seqloss_rs.group_advantages(
            rewards, baseline=below if baseline == "array" else baseline, scale=scale, groups=np.array(GROUPS),
            lengths=lengths if with_lengths else None,
        )  # fmt: skip
        rows = seqloss_rs.group_advantages(
            [rewards[places] for places in each], scale=scale,
            baseline=[below[places] for places in each] if baseline == "array" else baseline,
            lengths=[lengths[places] for places in each] if with_lengths else None,
        )  # fmt: skip
        assert own.dtype == rewards.dtype
        for places, row in zip(each, rows, strict=True):
            np.testing.assert_array_equal(own[places], row)


def test_groups_by_index_are_those_of_verl() -> None:
    """compute_grpo_outcome_advantage and compute_rloo_outcome_advantage, whose index is an array of names."""
    rewards, _, each = grouped(GROUPS)
    rewards = np.nan_to_num(rewards)
    names = np.array([f"question {group}" for group in GROUPS], object)
    grpo, rloo = np.empty(30), np.empty(30)
    for places in each:
        group = rewards[places]
        grpo[places] = (group - group.mean()) / (group.std(ddof=1) + 1e-6)
        rloo[places] = (group - group.mean()) * len(group) / (len(group) - 1)
    own = seqloss_rs.group_advantages(rewards, groups=names, scale_epsilon=1e-6)
    np.testing.assert_allclose(own, grpo, rtol=1e-11)
    own = seqloss_rs.group_advantages(rewards.tolist(), groups=names.tolist(), baseline="leave_one_out", scale=None)
    np.testing.assert_allclose(own, rloo, rtol=1e-11, atol=1e-14)
    whole = rewards[:28].reshape(7, 4)
    own = seqloss_rs.group_advantages(whole.ravel(), groups=np.repeat(np.arange(7), 4))
    np.testing.assert_array_equal(own.reshape(7, 4), seqloss_rs.group_advantages(whole))
    assert seqloss_rs.group_advantages(np.empty(0), groups=[]).shape == (0,)


@pytest.mark.parametrize(
    ("rewards", "options", "error", "message"),
    [
        (np.ones(()), {}, ValueError, "rewards has shape (), expected 1 to 2 axes"),
        (np.ones((1, 2, 3)), {}, ValueError, "rewards has shape (1, 2, 3), expected 1 to 2 axes"),
        (np.array(["a"]), {}, TypeError, "rewards has dtype <U1, expected real numbers"),
        ([[1.0, "a"]], {}, TypeError, "rewards has dtype <U32, expected real numbers"),
        (np.ma.ones((1, 2)), {}, TypeError, "rewards is a MaskedArray"),
        (np.ones((1, 2)), {"scale": "both"}, ValueError, 'scale is "both", expected one of "group", "batch"'),
        (np.ones((1, 2)), {"baseline": "mean"}, ValueError, 'baseline is "mean", expected one of "batch_mean"'),
        (np.ones((1, 2)), {"baseline": np.ones(3)}, ValueError, "baseline has shape (3,), expected (1,) or (1, 2)"),
        (np.ones((1, 2)), {"scale_epsilon": -1}, ValueError, "scale_epsilon is -1, expected a number"),
        (np.ones((1, 2)), {"scale_epsilon": None}, TypeError, "scale_epsilon is None, expected a number"),
        (np.ones((1, 2)), {"baseline": "length_weighted"}, ValueError, 'lengths and baseline="length_weighted"'),
        (np.ones((1, 2)), {"lengths": [[1, 2]]}, ValueError, 'lengths and baseline="length_weighted" go together'),
        (np.ones((1, 2)), {"groups": [0, 1]}, ValueError, "rewards has shape (1, 2), expected (B,) with groups"),
        (np.ones(2), {"groups": [0]}, ValueError, "groups has shape (1,), expected (2,), that of rewards"),
        (np.ones(2), {"groups": []}, ValueError, "groups has shape (0,), expected (2,), that of rewards"),
        (np.ones(2), {"groups": [0.0, 1.0]}, TypeError, "groups has dtype float64, expected integers or strings"),
        (np.ones(2), {"groups": [0, 1], "baseline": np.ones(3)}, ValueError, "baseline has shape (3,), expected (2,)"),
        (
            np.ones(2),
            {"groups": [0, 1], "baseline": "length_weighted", "lengths": [1]},
            ValueError,
            "lengths has shape (1,), expected (2,), that of rewards",
        ),
        (np.ma.ones(2), {"groups": [0, 1]}, TypeError, "rewards[0] is a MaskedArray"),
    ],
)
def test_what_group_advantages_cannot_take(rewards: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        seqloss_rs.group_advantages(rewards, **options)


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
    # All in one group.
    flat = value_and_grad(grpo_loss)(log_probs[0], old[0], rewards[:1], baseline=baseline, lengths=lengths[0])
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
# What REINFORCE makes of rewards


def worth(rewards: Array, steps: int, **options: Any) -> Array:
    """The advantage of every step: minus the loss of log-probabilities of 1, which are none but say it."""
    terms: Any = reinforce_loss(
        np.full((*rewards.shape[:2], steps), -1.0), None, rewards, scores="log_probs", reduction="none", **options
    )
    return np.asarray(terms)


def rewards_with_gaps(seed: int, *shape: int) -> Array:
    random = np.random.default_rng(seed)
    rewards = random.normal(size=shape)
    rewards[random.random(shape) < 0.3] = np.nan
    rewards[-1] = np.nan
    return rewards


BASELINES: Any = ["batch_mean", "group_mean", "leave_one_out", "length_weighted", None, 0.25, "greedy", "answers"]


@pytest.mark.parametrize("scale", [None, "group", "batch"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_every_baseline_is_that_of_groups(baseline: Any, scale: Any) -> None:
    rewards, random = rewards_with_gaps(21, 5, 4), np.random.default_rng(22)
    lengths = random.integers(0, 7, (5, 4))
    arrays = {"greedy": random.normal(size=5), "answers": random.normal(size=(5, 4))}
    given = {"lengths": lengths} if baseline == "length_weighted" else {}
    expected = seqloss_rs.group_advantages(
        rewards, baseline=arrays.get(baseline, baseline), scale=scale, scale_epsilon=1e-6, **given
    )
    own = worth(
        rewards, 6, baseline=arrays.get(baseline, baseline), scale=scale, scale_epsilon=1e-6, lengths=lengths
    )  # fmt: skip
    valid = np.arange(6) < lengths[..., None]
    np.testing.assert_allclose(own, expected[..., None] * valid, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scale", [None, "group", "batch"])
@pytest.mark.parametrize(
    "baseline", ["batch_mean", "group_mean", "leave_one_out", "length_weighted", None, 0.25, "array"]
)
def test_rewards_of_steps_are_compared_step_by_step(baseline: Any, scale: Any) -> None:
    rewards, random = rewards_with_gaps(23, 3, 4, 6), np.random.default_rng(24)
    lengths = random.integers(0, 7, (3, 4))
    mask = random.random((3, 4, 6)) < 0.8
    valid = mask & (np.arange(6) < lengths[..., None])
    below = random.normal(size=(3, 4, 6))
    spoilt = np.where(valid, rewards, random.choice([np.nan, 1e30, np.inf], size=valid.shape))
    own = worth(
        spoilt, 6, baseline=below if baseline == "array" else baseline, scale=scale, lengths=lengths, mask=mask
    )  # fmt: skip
    for step in range(6):
        column = np.where(valid[..., step], rewards[..., step], np.nan)
        given = {"lengths": valid.sum(-1)} if baseline == "length_weighted" else {}
        expected = seqloss_rs.group_advantages(
            column, baseline=below[..., step] if baseline == "array" else baseline, scale=scale, **given
        )
        np.testing.assert_allclose(own[..., step], expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("baseline", ["batch_mean", "leave_one_out", "length_weighted", None, "greedy"])
def test_steps_of_sequences_of_any_length_are_compared(baseline: Any) -> None:
    random = np.random.default_rng(32)
    lengths = np.array([3, 1, 0, 9, 1, 2])
    rows = [random.normal(size=(2, length)) for length in lengths]
    padded = np.full((6, 2, 9), np.nan)
    for row, into in zip(rows, padded, strict=True):
        into[:, : row.shape[1]] = row
    baseline = random.normal(size=6) if baseline == "greedy" else baseline
    loss: Any = partial(
        reinforce_loss, actions=None, scores="log_probs", baseline=baseline, scale="group", reduction="none"
    )
    own = loss([np.full(row.shape, -1.0) for row in rows], rewards=rows)
    expected = loss(np.full(padded.shape, -1.0), rewards=padded, lengths=np.repeat(lengths[:, None], 2, 1))
    for terms, others in zip(own, expected, strict=True):
        np.testing.assert_array_equal(terms, others[:, : terms.shape[1]])


def test_a_reward_that_is_nan_adds_nothing_to_go() -> None:
    none = np.nan
    rewards = np.array([[[1.0, none, 4.0, none], [none] * 4, [none, 8.0, none, 16.0]]])
    own = worth(rewards, 4, discount=0.5)
    np.testing.assert_array_equal(own[0], [[2, 2, 4, 0], [0, 0, 0, 0], [6, 12, 8, 16]])
    # Behind the last reward there is none, and so none in the mean.
    own = worth(rewards, 4, discount=0.5, baseline="batch_mean")
    np.testing.assert_array_equal(own[0], [[-2, -5, -2, 0], [0, 0, 0, 0], [2, 5, 2, 0]])
    masked = worth(rewards, 4, discount=0.5, mask=np.array([[[True, True, False, True]] * 3]))
    np.testing.assert_array_equal(masked[0], [[1, 0, 0, 0], [0, 0, 0, 0], [8, 16, 0, 16]])


def test_no_reward_is_none_in_any_layout_and_reduction() -> None:
    random = np.random.default_rng(25)
    logits, actions = random.normal(size=(4, 5, 3)), random.integers(0, 3, (4, 5))
    rewards, without = np.array([1.0, np.nan, 2.0, 4.0]), np.array([1.0, 2.0, 4.0])
    keep = [0, 2, 3]
    for baseline in ("batch_mean", "leave_one_out", "group_mean"):
        value, gradient = value_and_grad(reinforce_loss)(logits, actions, rewards, baseline=baseline)
        expected = value_and_grad(reinforce_loss)(
            logits[keep], actions[keep], without, baseline=baseline, normalizer=20
        )
        # Its steps are valid all the same: 20 of them are in the mean.
        assert value == pytest.approx(expected[0], rel=1e-13)
        np.testing.assert_allclose(gradient[keep], expected[1], rtol=1e-12, atol=1e-15)
        assert not np.any(gradient[1])
        rows = value_and_grad(reinforce_loss)(list(logits), list(actions), rewards, baseline=baseline)
        assert rows[0] == value
        np.testing.assert_array_equal(np.stack(rows[1]), gradient)


@pytest.mark.parametrize("baseline", [None, "leave_one_out"])
def test_whitening_is_that_of_verl_over_valid_steps(baseline: Any) -> None:
    rewards, random = rewards_with_gaps(26, 4, 3), np.random.default_rng(27)
    lengths = random.integers(1, 7, (4, 3))
    own = worth(rewards, 6, baseline=baseline, lengths=lengths, whiten=True)
    plain = worth(rewards, 6, baseline=baseline, lengths=lengths)
    there = (np.arange(6) < lengths[..., None]) & ~np.isnan(rewards)[..., None]
    expected = trainers.verl_whiten(plain.reshape(12, 6), there.reshape(12, 6).astype(float), True)
    np.testing.assert_allclose(own, expected.reshape(own.shape) * there, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(own, seqloss_rs.whiten(plain, mask=there), rtol=1e-12, atol=1e-14)
    per_step = random.normal(size=(4, 3, 6))
    own = worth(per_step, 6, lengths=lengths, whiten=True, discount=0.9)
    plain = worth(per_step, 6, lengths=lengths, discount=0.9)
    np.testing.assert_allclose(own, seqloss_rs.whiten(plain, lengths=lengths), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("reduction", ["mean", "sequence", "none", "batch_mean"])
def test_the_entropy_bonus(reduction: Any, dtype: str) -> None:
    random = np.random.default_rng(28)
    logits = random.normal(size=(2, 3, 4, 5)).astype(dtype)
    actions, rewards = random.integers(0, 5, (2, 3, 4)), random.normal(size=(2, 3))
    rewards[0, 1] = np.nan
    lengths = np.array([[4, 2, 0], [3, 4, 1]])
    valid = np.arange(4) < lengths[..., None]
    beta, upstream = 0.3, random.normal(size=(2, 3, 4))
    weights: Any = {"none": upstream, "sequence": upstream[..., 0], "mean": 2.0, "batch_mean": 2.0}[reduction]

    def loss(x: Array) -> Any:
        log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
        own = np.take_along_axis(log_p, actions[..., None], -1)[..., 0]
        entropy = -(np.exp(log_p) * log_p).sum(-1)
        advantages = seqloss_rs.group_advantages(rewards, baseline="leave_one_out", scale=None)
        terms = (-advantages[..., None] * own - beta * entropy) * valid
        reduced = {
            "none": terms,
            "sequence": terms.sum(-1),
            "mean": terms.sum() / valid.sum(),
            "batch_mean": terms.sum() / 6,
        }
        return reduced[reduction]

    given: Any = partial(reinforce_loss, baseline="leave_one_out", entropy=beta, lengths=lengths, reduction=reduction)
    value, gradient = value_and_grad(given, grad_output=weights)(logits, actions, rewards)
    exact = logits.astype(np.float64)
    few = dtype == "float32"
    np.testing.assert_allclose(value, loss(exact), rtol=1e-5 if few else 1e-12, atol=1e-6 if few else 1e-13)
    expected = differences(lambda x: (np.asarray(loss(x)) * weights).sum(), exact)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4 if few else 1e-6, atol=1e-6 if few else 1e-8)
    assert not np.any(gradient[~valid])


def test_an_entropy_bonus_keeps_what_it_does_not_reach() -> None:
    """NaN in masked steps; probabilities of 0; and the gradient over the logits themselves."""
    logits = np.array([[[0.0, -np.inf, 1.0], [np.nan] * 3, [0.0, 0.0, -np.inf]]])
    actions = np.array([[2, 7, 0]])
    loss = partial(reinforce_loss, entropy=0.5, mask=np.array([[True, False, True]]), reduction="sum")
    value, gradient = value_and_grad(loss)(logits, actions, [1.0])
    p = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    expected = -np.log(p[1]) + 0.5 * (p * np.log(p)).sum() + np.log(2) - 0.5 * np.log(2)
    assert value == pytest.approx(expected, rel=1e-14)
    assert np.all(np.isfinite(gradient))
    assert not np.any(gradient[0, 1])
    assert not np.any(gradient[~np.isfinite(logits)])
    other = logits.copy()
    assert value_and_grad(loss, out=other)(other, actions, [1.0])[1] is other
    np.testing.assert_array_equal(other, gradient)


def test_reinforce_on_any_number_of_threads() -> None:
    random = np.random.default_rng(29)
    logits = random.normal(size=(60, 4, 30, 50)).astype(np.float32)
    actions, per_step = random.integers(0, 50, (60, 4, 30)), random.normal(size=(60, 4, 30))
    per_step[random.random(per_step.shape) < 0.1] = np.nan
    before, results = seqloss_rs.get_num_threads(), []
    try:
        for threads in (1, 3):
            seqloss_rs.set_num_threads(threads)
            for given in ({"discount": 0.9, "baseline": "leave_one_out", "whiten": True}, {"scale": "batch"}):
                loss: Any = partial(reinforce_loss, entropy=0.1, **given)
                value, gradient = value_and_grad(loss)(logits, actions, per_step)
                results.append((threads, value, gradient.tobytes()))
            whole = value_and_grad(grpo_loss)(per_step[..., :20] * 0 - 1, per_step[..., :20], per_step[..., 0])
            results.append((threads, whole[0], whole[1].tobytes()))
            both = seqloss_rs.gae(np.nan_to_num(per_step), np.nan_to_num(per_step))
            results.append((threads, 0.0, both[0].tobytes() + both[1].tobytes()))
    finally:
        seqloss_rs.set_num_threads(before)
    half = len(results) // 2
    for (_, value, gradient), (_, other_value, other_gradient) in zip(results[:half], results[half:], strict=True):
        np.testing.assert_equal(value, other_value)
        assert gradient == other_gradient


def test_what_does_not_go_together_in_reinforce() -> None:
    log_probs: Any = np.full((2, 3), -1.0)
    rows: Any = np.full((2, 3, 4), -1.0)
    loss: Any = reinforce_loss
    message = re.escape('entropy is 0.1, which goes with scores="logits"')
    with pytest.raises(ValueError, match=message):
        loss(log_probs, None, [1.0, 2.0], scores="log_probs", entropy=0.1)
    with pytest.raises(ValueError, match=message):
        loss(rows, np.zeros((2, 3), int), [1.0, 2.0], scores="log_probs", entropy=0.1)
    with pytest.raises(ValueError, match=r"scale.*'?group'?"):
        loss(log_probs, None, [1.0, 2.0], scores="log_probs", scale="both")
    with pytest.raises(ValueError, match="scale_epsilon is -1, expected a number that is at least 0"):
        loss(log_probs, None, [1.0, 2.0], scores="log_probs", scale="batch", scale_epsilon=-1)
    with pytest.raises(TypeError, match="whiten is 'yes', expected True or False"):
        loss(log_probs, None, [1.0, 2.0], scores="log_probs", whiten="yes")
    with pytest.raises(ValueError, match=re.escape('temperature is 2.0, which goes with scores="logits"')):
        loss(log_probs, None, [1.0, 2.0], scores="log_probs", temperature=2.0)
    for name in ("rewards", "baseline"):
        given = {"rewards": [1.0, 2.0], name: np.zeros(4)}
        with pytest.raises(ValueError, match=re.escape(f"{name} has shape (4,), expected (2,) or (2, 3)")):
            loss(log_probs, None, scores="log_probs", **given)
    with pytest.raises(TypeError, match="rewards has None among its items, expected real numbers"):
        loss(log_probs, None, [1.0, None], scores="log_probs")


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_temperature_divides_the_logits(temperature: float) -> None:
    random = np.random.default_rng(33)
    logits, actions, rewards = random.normal(size=(4, 5, 3)), random.integers(0, 3, (4, 5)), random.normal(size=4)
    loss = value_and_grad(partial(reinforce_loss, entropy=0.2, baseline="leave_one_out"))
    value, gradient = loss(logits, actions, rewards, temperature=temperature)
    expected = loss(logits / temperature, actions, rewards)
    assert value == pytest.approx(expected[0], rel=1e-13)
    np.testing.assert_allclose(gradient, expected[1] / temperature, rtol=1e-12, atol=1e-15)


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


def test_an_old_value_that_is_nan_is_not_passed_over() -> None:
    old = np.array([np.nan, 0.0, np.inf])
    loss = partial(value_loss, old_values=old, reduction="none")
    terms, gradient = value_and_grad(loss)(np.ones(3), np.zeros(3))
    np.testing.assert_array_equal(terms, [np.nan, 0.5, np.inf])
    np.testing.assert_array_equal(gradient[:2], [np.nan, 1.0])
    masked = value_and_grad(partial(loss, mask=np.array([False, True, False])))(np.ones(3), np.zeros(3))
    np.testing.assert_array_equal(masked[0], [0, 0.5, 0])
    np.testing.assert_array_equal(masked[1], [0, 1, 0])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_episodes_of_every_dtype_and_layout(dtype: str, layout: str) -> None:
    """Half precision is read exactly, and the result is float32 of the float64 computation."""
    random = np.random.default_rng(52)
    rewards, values = (random.normal(size=(4, 7)).astype(FLOATS[dtype]) for _ in range(2))
    mask = random.random((4, 7)) < 0.8
    exact, valid = values.astype(np.float64), mask.astype(float)
    both = trainers.verl_gae(rewards.astype(np.float64), exact, valid, 0.9, 0.8)
    expected = [
        each * mask for each in (*both, *(trainers.verl_whiten(exact, valid, shift) for shift in (True, False)))
    ]
    laid_out, other = (LAYOUTS[layout](array) for array in (rewards, values))
    own = [*seqloss_rs.gae(laid_out, other, discount=0.9, decay=0.8, mask=mask), seqloss_rs.whiten(other, mask=mask)]
    own.append(seqloss_rs.whiten(other, mask=mask, shift_mean=False))
    for one, right in zip(own, expected, strict=True):
        assert one.dtype == (np.float64 if dtype == "float64" else np.float32)
        tolerance = 1e-12 if dtype == "float64" else 1e-6
        np.testing.assert_allclose(one, right, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"discount": 1.5}, ValueError, "discount is 1.5, which is not in 0..=1"),
        ({"discount": np.nan}, ValueError, "discount is NaN, which is not in 0..=1"),
        ({"discount": None}, TypeError, "discount is None, expected a number"),
        ({"decay": -0.1}, ValueError, "decay is -0.1, which is not in 0..=1"),
        ({"decay": np.inf}, ValueError, "decay is inf, which is not in 0..=1"),
        ({"decay": "x"}, TypeError, "decay is 'x', expected a number"),
        ({"values": np.ones((2, 4))}, ValueError, "values has shape (2, 4), expected (2, 3)"),
        ({"values": np.ones((2, 3), complex)}, TypeError, "values has dtype complex128, expected real numbers"),
        ({"values": np.ma.ones((2, 3))}, TypeError, "values is a MaskedArray"),
        ({"rewards": np.array([["a"] * 3] * 2)}, TypeError, "rewards has dtype <U1, expected real numbers"),
        ({"lengths": [3, 4]}, ValueError, "lengths[1] is 4, which is not a length in 0..=3"),
        ({"lengths": [3]}, ValueError, "lengths has shape (1,), expected (2,)"),
        ({"mask": np.ones((2, 4), bool)}, ValueError, "mask has shape (2, 4), expected (2, 3)"),
        ({"mask": np.ones((2, 3))}, TypeError, "mask has dtype float64, expected bool"),
    ],
)
def test_what_gae_cannot_take(options: Any, error: Any, message: str) -> None:
    given = {"rewards": np.ones((2, 3)), "values": np.ones((2, 3)), **options}
    with pytest.raises(error, match=re.escape(message)):
        seqloss_rs.gae(**given)


@pytest.mark.parametrize("discount", [0.0, 1.0])
@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_gae_at_the_ends_of_its_ranges(discount: float, decay: float) -> None:
    random = np.random.default_rng(53)
    rewards, values = random.normal(size=(2, 5)), random.normal(size=(2, 5))
    advantages, returns = seqloss_rs.gae(rewards, values, discount=discount, decay=decay)
    following = np.concatenate([values[:, 1:], np.zeros((2, 1))], 1)
    if discount and decay:
        expected = np.cumsum(rewards[:, ::-1], 1)[:, ::-1] - values
    else:
        expected = rewards + discount * following - values
    np.testing.assert_allclose(advantages, expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(returns, expected + values, rtol=1e-13, atol=1e-14)


# ---------------------------------------------------------------------------------------------------------------------
# What is written in Python


def test_moving_average() -> None:
    baseline = seqloss_rs.MovingAverage(decay=0.9)
    assert baseline.value == 0
    baseline.update([np.nan])
    assert baseline.value == 0
    baseline.update([1.0, np.nan, 3.0, None])
    assert baseline.value == 2
    baseline.update(np.zeros((2, 2)))
    assert baseline.value == pytest.approx(1.8, rel=1e-15)
    baseline.update([np.zeros(3), np.array([np.nan, 4.0])])
    assert baseline.value == pytest.approx(0.9 * 1.8 + 0.1, rel=1e-15)
    assert repr(seqloss_rs.MovingAverage(value=3)) == "MovingAverage(decay=0.9, value=3.0)"


def test_a_moving_average_is_a_baseline() -> None:
    baseline, log_probs, rewards = seqloss_rs.MovingAverage(value=0.5), np.array([[-1.0], [-2.0]]), np.array([1.0, 3.0])
    for loss in (partial(reinforce_loss, scores="log_probs"), partial(grpo_loss, scale=None)):
        own = value_and_grad(partial(loss, baseline=baseline))(log_probs, None, rewards)
        expected = value_and_grad(partial(loss, baseline=0.5))(log_probs, None, rewards)
        assert own[0] == expected[0]
        np.testing.assert_array_equal(own[1], expected[1])
    np.testing.assert_array_equal(seqloss_rs.group_advantages(rewards, baseline=baseline, scale=None), rewards - 0.5)


UNTYPED: Any = seqloss_rs


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: UNTYPED.MovingAverage(decay=1), ValueError, "decay is 1, which is not in 0..1"),
        (lambda: UNTYPED.MovingAverage(decay=np.nan), ValueError, "decay is nan, expected a finite number"),
        (lambda: UNTYPED.MovingAverage(decay="a"), TypeError, 'decay is "a", expected a number'),
        (lambda: UNTYPED.MovingAverage(value="x"), TypeError, 'value is "x", expected a number'),
        (lambda: UNTYPED.MovingAverage(value=np.inf), ValueError, "value is inf, expected a finite number"),
        (lambda: UNTYPED.MovingAverage().update("x"), TypeError, "rewards holds something else than numbers"),
        (lambda: UNTYPED.MovingAverage().update([1.0, "x"]), TypeError, "rewards[1] holds something else than numbers"),
        (lambda: UNTYPED.MovingAverage().update([[[1.0], [1.0, 2.0]]]), TypeError, "rewards[0] holds something else"),
        (
            lambda: UNTYPED.MovingAverage().update(np.ma.array([1.0], mask=[True])),
            TypeError,
            "rewards is a MaskedArray, whose mask would be lost",
        ),
        *[
            (
                lambda wrong=wrong: UNTYPED.MovingAverage().update(wrong),
                ValueError,
                "the mean of rewards is",
            )
            for wrong in ([1.0, np.inf], [np.inf, -np.inf], [1e308, 1e308])
        ],
    ],
)
def test_what_a_moving_average_cannot_take(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_what_is_wrong_leaves_a_moving_average_as_it_was() -> None:
    baseline = seqloss_rs.MovingAverage(value=2.0)
    with pytest.raises(ValueError, match="the mean of rewards is inf"):
        baseline.update([np.inf])
    assert baseline.value == 2


def test_mixer() -> None:
    mask = seqloss_rs.mixer_mask([4, 2, 0], 2, steps=5)
    np.testing.assert_array_equal(mask.sum(1), [2, 0, 0])
    np.testing.assert_array_equal(mask[0], [False, False, True, True, False])
    np.testing.assert_array_equal(seqloss_rs.mixer_mask(np.array([[4, 2], [0, 3]]), 2, steps=5)[:, 0], mask[[0, 2]])
    np.testing.assert_array_equal(seqloss_rs.mixer_mask(np.uint8(4), 2, steps=5), mask[0])
    assert seqloss_rs.mixer_mask([], 0).shape == (0, 0)
    assert seqloss_rs.mixer_mask([], 0, steps=3).shape == (0, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: UNTYPED.mixer_mask([1, 4], 0, steps=3), ValueError, "lengths[1] is 4, which is not a length in 0..=3"),
        (lambda: UNTYPED.mixer_mask([[1, -2]], 0), ValueError, "lengths[0, 1] is -2, which is not a length in 0..=1"),
        (lambda: UNTYPED.mixer_mask(-2, 0), ValueError, "lengths is -2, which is not a length in 0..=0"),
        (lambda: UNTYPED.mixer_mask(np.zeros((1, 1, 1), int), 0), ValueError, "lengths has shape (1, 1, 1), expected"),
        (lambda: UNTYPED.mixer_mask([1.5], 0), TypeError, "lengths has dtype float64, expected integers"),
        (lambda: UNTYPED.mixer_mask(None, 0), TypeError, "lengths has dtype object, expected integers"),
        (lambda: UNTYPED.mixer_mask("2", 0), TypeError, "lengths has dtype <U1, expected integers"),
        (lambda: UNTYPED.mixer_mask([[1], [1, 2]], 0), TypeError, "lengths holds lists of different lengths"),
        (lambda: UNTYPED.mixer_mask([4], -1), ValueError, "cross_entropy_steps is -1, expected 0 or more"),
        (lambda: UNTYPED.mixer_mask([4], 1.5), TypeError, "cross_entropy_steps is 1.5, expected a whole number"),
        (lambda: UNTYPED.mixer_mask([4], None), TypeError, "cross_entropy_steps is None, expected a whole number"),
        (lambda: UNTYPED.mixer_mask([4], 1, steps=-1), ValueError, "steps is -1, expected 0 or more"),
        (lambda: UNTYPED.mixer_mask([4], 1, steps="4"), TypeError, 'steps is "4", expected a whole number'),
    ],
)
def test_what_a_mixer_cannot_take(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


@pytest.mark.parametrize("cross_entropy_steps", [0, 2, 9])
def test_mixer_divides_the_steps_between_two_losses(cross_entropy_steps: int) -> None:
    """Against the sum of −log p over the first steps and of −r log p over the others, one by one."""
    random = np.random.default_rng(51)
    logits, actions, rewards = random.normal(size=(4, 6, 3)), random.integers(0, 3, (4, 6)), random.normal(size=4)
    lengths = np.array([6, 3, 0, 5])
    mask = seqloss_rs.mixer_mask(lengths, cross_entropy_steps, steps=6)
    given: Any = {"lengths": lengths, "normalizer": float(lengths.sum())}
    supervised = value_and_grad(partial(seqloss_rs.cross_entropy_loss, mask=~mask, **given))(logits, actions)
    rewarded = value_and_grad(partial(reinforce_loss, mask=mask, **given))(logits, actions, rewards)

    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    value, gradient = 0.0, np.zeros_like(logits)
    for row, length in enumerate(lengths):
        for step in range(length):
            weight = (1.0 if step < cross_entropy_steps else rewards[row]) / lengths.sum()
            value -= weight * np.log(probs[row, step, actions[row, step]])
            gradient[row, step] = weight * (probs[row, step] - np.eye(3)[actions[row, step]])
    assert supervised[0] + rewarded[0] == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(supervised[1] + rewarded[1], gradient, rtol=1e-12, atol=1e-15)
    assert not np.any((supervised[1] != 0) & (rewarded[1] != 0))
