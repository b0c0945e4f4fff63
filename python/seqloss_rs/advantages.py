"""What rewards are worth: baselines of groups, episodes with a critic, and what else policies are trained with.

An advantage is a constant of the losses that take it. A baseline that does not depend on the action leaves their
gradient unbiased: a number, greedy decoding (pass its rewards as an array), the mean of the others. A mean that has the
reward itself in it makes the gradient (K − 1) / K of that, and a division by the deviation something else again.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._steps import real_number, real_numbers, whole_number
from ._types import Floats, Lengths, Mask

__all__ = ["MovingAverage", "gae", "group_advantages", "mixer_mask", "whiten"]

Baseline: TypeAlias = Literal["batch_mean", "group_mean", "leave_one_out", "length_weighted"]
"""A baseline that is computed from the rewards."""

Groups: TypeAlias = NDArray[Any] | Sequence[int] | Sequence[str]
"""The question that each answer is to."""

Scale: TypeAlias = Literal["group", "batch"]
"""Whose deviation advantages are divided by."""


def group_advantages(
    rewards: Floats,
    *,
    baseline: Baseline | float | Floats | None = "group_mean",
    scale: Scale | None = "group",
    scale_epsilon: float = 1e-4,
    lengths: Lengths | None = None,
    groups: Groups | None = None,
) -> Any:
    """Advantages of K answers to each of N questions: (r − baseline) / (σ + ε).

    The defaults are those of GRPO. RLOO is ``baseline="leave_one_out", scale=None``: with that baseline alone,
    advantages are still divided by the deviation of their group, which is neither of the two.

    Parameters
    ----------
    rewards : (N, K) array, or list of N arrays (Kₙ,); (B,) array or list with `groups`
        One for each answer, of float16, bfloat16, float32 or float64. NaN (in a list None, too) is no reward: such an
        answer is in no mean, and has the advantage 0. Trainers hand the rewards of all questions over as one axis,
        which does not say what is a group, and is taken only with `groups`, or where neither baseline nor scale is that
        of groups: ``rewards.reshape(-1, K)``, or ``rewards[None]`` for the answers to one question.
    baseline : {"group_mean", "batch_mean", "leave_one_out", "length_weighted"}, number, array or None
        What is subtracted: the mean of the group (GRPO [1]_) or of all rewards; that of the others (RLOO [2]_); that of
        the group with the lengths for weights (OPO [3]_); a number; one for each question (N,), such as the reward of
        greedy decoding (self-critical [4]_, ReMax [5]_), or for each answer (N, K).
    scale : {"group", "batch"}, optional
        Whose deviation is divided by, over n − 1; None for none (Dr. GRPO [6]_, RLOO). What has no deviation, because
        the rewards are equal or one is alone, is not divided.
    scale_epsilon : float
        ε, added to a deviation: 1e-4 as in TRL; verl has 1e-6. (What TRL calls epsilon is the clip of the ratio.)
    lengths : (N, K) integers, optional
        The length of each answer, for a length-weighted baseline; where all of a group are 0 they weigh the same.
    groups : (B,) integers or strings, optional
        The question that each answer is to, in any order and number: verl's ``index``. A baseline that is an array, and
        lengths, then are (B,) as well.

    Returns
    -------
    array or list of arrays
        Of the shape of `rewards`, float32 (float64 for float64 rewards). An answer that is alone has the advantage 0
        wherever a mean of its group is subtracted (verl leaves it its reward), and so have answers to which all rewards
        are equal, exactly.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> rewards = np.array([[1.0, 0.0, 0.5], [1.0, np.nan, 1.0]])
    >>> seqloss_rs.group_advantages(rewards, scale=None)
    array([[ 0.5, -0.5,  0. ],
           [ 0. ,  0. ,  0. ]])

    RLOO:

    >>> seqloss_rs.group_advantages(rewards, baseline="leave_one_out", scale=None)
    array([[ 0.75, -0.75,  0.  ],
           [ 0.  ,  0.  ,  0.  ]])

    Answers that stand as they came:

    >>> seqloss_rs.group_advantages([1.0, 1.0, 0.0, None, 0.5], scale=None, groups=[7, 3, 7, 3, 7])
    array([ 0.5,  0. , -0.5,  0. ,  0. ])

    References
    ----------
    .. [1] Shao et al., 2024, https://arxiv.org/abs/2402.03300.
    .. [2] Ahmadian et al., 2024, https://arxiv.org/abs/2402.14740.
    .. [3] Hao et al., 2025, https://arxiv.org/abs/2505.23585.
    .. [4] Rennie et al., 2017, https://arxiv.org/abs/1612.00563.
    .. [5] Li et al., 2023, https://arxiv.org/abs/2310.10505.
    .. [6] Liu et al., 2025, https://arxiv.org/abs/2503.20783.
    """
    rewards = _without_none(rewards)
    if groups is not None:
        return _of_groups(rewards, groups, baseline, lengths, scale=scale, scale_epsilon=scale_epsilon)
    return _native.policy_loss(
        "group_advantages", None, rewards, baseline=baseline, scale=scale, scale_epsilon=scale_epsilon, lengths=lengths
    )


def gae(
    rewards: Floats,
    values: Floats,
    *,
    discount: float = 1.0,
    decay: float = 0.95,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
) -> tuple[Any, Any]:
    """Generalized advantage estimation: Aₜ = δₜ + γ λ Aₜ₊₁ with δₜ = rₜ + γ Vₜ₊₁ − Vₜ, and the returns A + V.

    Parameters
    ----------
    rewards : (T,), (N, T) or (N, K, T) array, or list of N arrays
        One for each step.
    values : like `rewards`
        What a critic says of each step. Behind the last valid step the value is 0.
    discount : float
        γ in [0, 1].
    decay : float
        λ in [0, 1]: 0.95 as in TRL; verl and OpenRLHF have 1. All three whiten the advantages that they train by, and
        not the returns: call :func:`whiten` for that.
    lengths : (N,) integers, optional
        The valid steps of each sequence.
    mask : (N, T) booleans, optional
        The valid steps. Others are passed over as if they were not there, and not discounted: the value and the
        advantage behind them reach the step before, as in verl's GAE. (In verl's REINFORCE++ the rewards to go begin
        anew at a masked step instead; `discount` of :func:`reinforce_loss` passes over it, as here.)

    Returns
    -------
    (advantages, returns)
        Each of the shape of `rewards`, float32 (float64 for float64 rewards); 0 in steps that are not valid.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> advantages, returns = seqloss_rs.gae(np.array([0.0, 1.0]), np.array([0.5, 0.5]), decay=0.5)
    >>> advantages, returns
    (array([0.25, 0.5 ]), array([0.75, 1.  ]))

    References
    ----------
    Schulman et al., 2016, https://arxiv.org/abs/1506.02438.
    """
    both: tuple[Any, Any] = _native.policy_loss(
        "gae", None, rewards, values, discount=discount, decay=decay, lengths=lengths, mask=mask
    )
    return both


def whiten(
    values: Floats,
    *,
    shift_mean: bool = True,
    epsilon: float = 1e-8,
    lengths: Lengths | None = None,
    mask: Mask | None = None,
) -> Any:
    """Values of mean 0 and variance 1: (x − mean) / √(variance + ε), the variance over n − 1.

    Parameters
    ----------
    values : (T,), (N, T) or (N, K, T) array, or list of N arrays
        Such as the advantages of a batch.
    shift_mean : bool
        False: the mean is put back.
    epsilon : float
        ε: 1e-8 as in TRL, verl and OpenRLHF.
    lengths : (N,) integers, optional
        The valid steps of each sequence.
    mask : (N, T) booleans, optional
        The valid steps; others are 0. One valid number alone becomes 0.

    Returns
    -------
    array or list of arrays
        Of the shape of `values`, float32 (float64 for float64 values).

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> seqloss_rs.whiten(np.array([1.0, 2.0, 3.0])).round(6)
    array([-1.,  0.,  1.])

    References
    ----------
    ``masked_whiten`` of TRL and verl; Huang et al., 2024, https://arxiv.org/abs/2403.17031.
    """
    return _native.policy_loss(
        "whiten", None, values, shift_mean=shift_mean, epsilon=epsilon, lengths=lengths, mask=mask
    )


class MovingAverage:
    """A baseline that follows the mean reward: b ← decay · b + (1 − decay) · mean, from the first mean on.

    It does not depend on the actions that it is subtracted from, as long as it is asked before it is told of them. It
    goes where a loss takes its `baseline`, as a number does.

    Parameters
    ----------
    decay : float
        In [0, 1).
    value : float, optional
        The baseline to go on from, such as that of a checkpoint; by default the first update's mean is the baseline.

    Attributes
    ----------
    value : float
        The baseline; 0 before the first update.

    Raises
    ------
    ValueError, TypeError
        Where an argument does not fit; the message names it.

    Examples
    --------
    >>> import seqloss_rs
    >>> baseline = seqloss_rs.MovingAverage(decay=0.5)
    >>> log_probs = [[-1.0], [-2.0]]
    >>> for rewards in ([1.0, 3.0], [0.0, 0.0]):
    ...     loss = seqloss_rs.reinforce_loss(log_probs, None, rewards, baseline=baseline, scores="log_probs")
    ...     baseline.update(rewards)
    >>> baseline
    MovingAverage(decay=0.5, value=1.0)

    References
    ----------
    Williams, 1992, https://doi.org/10.1007/BF00992696.
    """

    def __init__(self, decay: float = 0.9, value: float | None = None) -> None:
        self.decay = real_number("decay", decay)
        if not 0 <= decay < 1:
            message = f"decay is {decay}, which is not in 0..1"
            raise ValueError(message)
        self._mean = None if value is None else real_number("value", value)

    @property
    def value(self) -> float:
        """The baseline; 0 before the first update."""
        return 0.0 if self._mean is None else self._mean

    def update(self, rewards: Floats) -> None:
        """Take in rewards of any shape, or a list of arrays; NaN (or None) is none, and infinity would stay forever."""
        if isinstance(rewards, (list, tuple)):
            each = [real_numbers(f"rewards[{place}]", part).reshape(-1) for place, part in enumerate(rewards)]
        else:
            each = [real_numbers("rewards", rewards).reshape(-1)]
        numbers = np.concatenate([*each, np.empty(0)])
        numbers = numbers[~np.isnan(numbers)]
        if numbers.size:
            with np.errstate(over="ignore", invalid="ignore"):
                mean = real_number("the mean of rewards", numbers.mean())
            self._mean = mean if self._mean is None else self.decay * self._mean + (1 - self.decay) * mean

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the baseline, where a number is wanted."""
        return np.array(self.value, dtype)

    def __repr__(self) -> str:
        return f"MovingAverage(decay={self.decay}, value={self.value})"


def mixer_mask(lengths: Lengths, cross_entropy_steps: int, *, steps: int | None = None) -> NDArray[np.bool_]:
    """MIXER's mask: the steps that are trained by their reward, after the first ones that cross-entropy trains.

    Parameters
    ----------
    lengths : (N,) or (N, K) integers, or one
        The steps of each sequence.
    cross_entropy_steps : int
        How many steps come before; it falls as training goes on.
    steps : int, optional
        T; the largest length by default.

    Returns
    -------
    (N, T), (N, K, T) or (T,) booleans
        The `mask` of :func:`reinforce_loss`. Its opposite, with the same lengths, is that of
        :func:`cross_entropy_loss`.

    Raises
    ------
    ValueError, TypeError
        Where a number is negative or not whole, or a length is beyond `steps`; the message names it.

    Examples
    --------
    >>> import numpy as np, seqloss_rs
    >>> mask = seqloss_rs.mixer_mask([3, 1], 1)
    >>> mask
    array([[False,  True,  True],
           [False, False, False]])

    The two losses over all valid steps:

    >>> logits, actions, lengths = np.zeros((2, 3, 4)), np.zeros((2, 3), int), [3, 1]
    >>> supervised = seqloss_rs.cross_entropy_loss(logits, actions, mask=~mask, lengths=lengths, normalizer=4)
    >>> rewarded = seqloss_rs.reinforce_loss(logits, actions, [2.0, 2.0], mask=mask, lengths=lengths, normalizer=4)
    >>> bool(np.isclose(supervised + rewarded, (2 * 1 + 2 * 2) / 4 * np.log(4)))
    True

    References
    ----------
    Ranzato et al., 2016, https://arxiv.org/abs/1511.06732.
    """
    try:
        each = np.asarray(lengths)
    except ValueError:
        raise TypeError("lengths holds lists of different lengths, expected (N,) or (N, K)") from None
    if each.size and each.dtype.kind not in "iu":
        message = f"lengths has dtype {each.dtype}, expected integers"
        raise TypeError(message)
    if each.ndim > 2:
        message = f"lengths has shape {each.shape}, expected (N,) or (N, K)"
        raise ValueError(message)
    cross_entropy_steps = whole_number("cross_entropy_steps", cross_entropy_steps, 0)
    steps = int(each.max(initial=0)) if steps is None else whole_number("steps", steps, 0)
    for place in np.argwhere((each < 0) | (each > steps)).tolist()[:1]:
        message = f"lengths{place or ''} is {each[tuple(place)]}, which is not a length in 0..={steps}"
        raise ValueError(message)
    step = np.arange(steps)
    mask: NDArray[np.bool_] = (step >= cross_entropy_steps) & (step < each[..., None])
    return mask


def _without_none(rewards: Any) -> Any:
    """Return rewards with NaN for None, by which some say that there is none."""
    if not isinstance(rewards, (list, tuple)):
        return rewards
    return [math.nan if each is None else _without_none(each) for each in rewards]


def _of_groups(rewards: Any, groups: Groups, baseline: Any, lengths: Any, **options: Any) -> Any:
    """Advantages of answers that stand in any order."""
    answers, questions = np.asanyarray(rewards), np.asarray(groups)
    if answers.ndim != 1:
        message = f"rewards has shape {answers.shape}, expected (B,) with groups"
        raise ValueError(message)
    if questions.size and questions.dtype.kind not in "iuOTU":
        message = f"groups has dtype {questions.dtype}, expected integers or strings"
        raise TypeError(message)

    members: dict[Any, list[int]] = {}
    for place, question in enumerate(questions.reshape(-1).tolist()):
        members.setdefault(question, []).append(place)
    places = list(members.values())

    def by_group(name: str, given: Any) -> list[Any]:
        own = np.asanyarray(given)
        if own.shape != answers.shape:
            message = f"{name} has shape {own.shape}, expected {answers.shape}, that of rewards"
            raise ValueError(message)
        return [own[each] for each in places] or [own]

    by_group("groups", questions)
    grouped = group_advantages(
        by_group("rewards", answers),
        baseline=baseline if isinstance(baseline, str) or np.ndim(baseline) == 0 else by_group("baseline", baseline),
        lengths=None if lengths is None else by_group("lengths", lengths),
        **options,
    )
    advantages = np.concatenate(grouped)
    advantages[np.concatenate([*places, []]).astype(int)] = advantages.copy()
    return advantages
